//! The real binary as a process of its own: what it acknowledged survives `kill -9`, and SIGTERM leaves nobody hanging.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::digest::Digest;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_holdpoint");
/// Tag of the digest that names a policy.
const SNAPSHOT_TAG: &str = "holdpoint/policy/v1";

/// A directory that goes with the test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("holdpoint-binary-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running service; killed when it is dropped.
struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(dir: &Path) -> Self {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(dir).env("RUST_LOG", "warn");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect(&line).to_owned();
        Self { child, url }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn holdpoint(args: &[&str]) -> (bool, String) {
    let output = Command::new(BINARY).args(args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), text)
}

fn token(dir: &Path, role: &str, subject: &str) -> String {
    let dir = dir.to_str().unwrap();
    let mut args = vec!["token", "create", "--data-dir", dir, "--role", role, "--subject", subject];
    args.extend(["--group", "sre", "--output", "json"]);
    let output = Command::new(BINARY).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["token"].as_str().unwrap().to_owned()
}

/// Registers a policy and opens an approval that cites it; the approval as it was answered.
async fn open(http: &reqwest::Client, url: &str, enforcer: &str) -> Value {
    let canonical = "{}";
    let snapshot_id = Digest::tagged(SNAPSHOT_TAG, canonical.as_bytes());
    let policy = http.put(format!("{url}/v1/policies/{snapshot_id}")).bearer_auth(enforcer).body(canonical);
    assert!(policy.send().await.unwrap().status().is_success());
    let call_text = "{\"agent\":null,\"issuer\":\"https://idp\",\"method\":\"tools/call\",\"params\":{\"arguments\":\
                     {\"title\":\"a\u{202e}b\",\"n\":12345678901234567890123}},\"server\":\"github\",\"subject\":\"bob\",\
                     \"tenant\":null}";
    let body = json!({
        "hold_id": uuid::Uuid::now_v7().simple().to_string(), "gateway": "edge", "call_text": call_text,
        "call_digest": Digest::tagged(CALL_DIGEST_TAG, call_text.as_bytes()),
        "principal": {"issuer": "https://idp", "subject": "bob", "actor_type": "agent"},
        "server": "github", "method": "tools/call", "target": "create_issue",
        "envelope": {"topic": "job.mcp.tool", "labels": {}, "meta": {"actor_id": "bob", "actor_type": "agent"}},
        "reasons": [{"rule_id": "writes", "text": "a person looks at writes"}],
        "requirement": {"all_of": [{"group": "sre", "min": 1}], "decide_within_ms": 600_000, "claim_within_ms": 60_000},
        "constraints": {"max_runtime_ms": 30_000}, "snapshot_id": snapshot_id, "basis": snapshot_id,
    });
    let answer = http.post(format!("{url}/v1/approvals")).bearer_auth(enforcer).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json().await.unwrap()
}

#[tokio::test]
async fn pending_approval_survives_kill_9_and_is_decided_from_the_command_line() {
    let dir = Dir::new();
    let service = Service::start(&dir.0);
    let edge = token(&dir.0, "enforcer", "edge");
    let alice = token(&dir.0, "approver", "alice");
    let http = reqwest::Client::new();
    let opened = open(&http, &service.url, &edge).await;
    service.signal("KILL");
    drop(service);

    let service = Service::start(&dir.0);
    let id = opened["id"].as_str().unwrap();
    let at = ["--server", &service.url, "--token", &alice];
    let run = |args: &[&str]| holdpoint(&[&["approvals"], args, &at].concat());
    let (_, listed) = run(&["list"]);
    assert!(listed.contains(id) && listed.contains("bob wants tools/call `create_issue` on github"), "{listed}");
    let (_, shown) = run(&["show", &id[24..]]);
    for part in [
        "rule         writes: a person looks at writes",
        "\"title\": \"a\\u{202e}b\"",
        "\"n\": 12345678901234567890123",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let (done, text) = run(&["approve", id]);
    assert!(done && text.contains("is approved"), "{text}");
    let (done, text) = run(&["deny", id, "--reason", "too late"]);
    assert!(!done && text.contains("the approval is approved already"), "{text}");
    let state: Value = http
        .get(format!("{}/v1/approvals/{id}", service.url))
        .bearer_auth(&edge)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(state["status"], "approved");
    let (whole, text) = holdpoint(&["audit", "verify", "--data-dir", dir.0.to_str().unwrap()]);
    assert!(whole && text.contains("the record is whole"), "{text}");
}

/// How long the poll would wait by itself; the longest that the service allows.
const WAIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn sigterm_answers_long_polls_at_once() {
    let dir = Dir::new();
    let mut service = Service::start(&dir.0);
    let edge = token(&dir.0, "enforcer", "edge");
    // HTTP/2 with prior knowledge, as gateways come.
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let opened = open(&http, &service.url, &edge).await;
    let path = format!("{}/v1/approvals/{}", service.url, opened["id"].as_str().unwrap());
    let poll =
        tokio::spawn(http.get(path).bearer_auth(&edge).header("prefer", format!("wait={}", WAIT.as_secs())).send());
    // The poll must be there before the signal; there is nothing outside that could tell when.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    service.signal("TERM");
    let answer: Value = poll.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["status"], "pending");
    assert!(service.child.wait().unwrap().success());
    assert!(started.elapsed() < WAIT / 2, "answered by the signal, not by its own time: {:?}", started.elapsed());
}

#[test]
fn address_that_others_can_reach_is_refused_until_asked_for() {
    let dir = Dir::new();
    let (done, text) = holdpoint(&["serve", "--listen", "0.0.0.0:0", "--data-dir", dir.0.to_str().unwrap()]);
    assert!(!done && text.contains("--insecure-listen"), "{text}");
}

#[test]
fn tenant_is_refused_where_it_would_narrow_nothing() {
    let dir = Dir::new();
    let data = dir.0.join("data");
    let create = |role| {
        let data = data.to_str().unwrap();
        holdpoint(&["token", "create", "--data-dir", data, "--role", role, "--subject", "x", "--tenant", "acme"])
    };
    for role in ["enforcer", "admin"] {
        let (ok, said) = create(role);
        assert!(!ok && said.contains("acts for all tenants"), "{role}: {said}");
    }
    for role in ["approver", "break-glass", "auditor"] {
        let (ok, said) = create(role);
        assert!(ok, "{role}: {said}");
    }
}

#[test]
fn policy_check_tells_every_problem_or_the_snapshot_id() {
    let dir = Dir::new();
    let file = dir.0.join("policy.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        holdpoint(&["policy", "check", file.to_str().unwrap()])
    };
    let (good, text) = check("version: \"2026-01-27\"\nrules: []\n");
    assert!(good && text.contains("snapshot sha256:"), "{text}");
    let (good, text) = check("version: \"2026-01-27\"\nrulez: []\ndefault_decision: maybe\n");
    assert!(!good && text.contains("rulez") && text.contains("maybe"), "{text}");
}

/// What a command printed, line by line, each of which must be JSON.
fn printed_json(args: &[&str]) -> Vec<Value> {
    let output = Command::new(BINARY).args(args).args(["--output", "json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let problem = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.is_empty(), "`{}` printed nothing: {problem}", args.join(" "));
    let read = |line: &str| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("`{}` printed `{line}`: {error}", args.join(" ")))
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn every_command_prints_json_when_asked() {
    let dir = Dir::new();
    let at = dir.0.to_str().unwrap();
    let service = Service::start(&dir.0);
    let edge = token(&dir.0, "enforcer", "edge");
    let alice = token(&dir.0, "approver", "alice");
    let http = reqwest::Client::new();
    let id = open(&http, &service.url, &edge).await["id"].as_str().unwrap().to_owned();
    let approvals = |words: &[&str]| {
        let to = ["--server", &service.url, "--token", &alice];
        printed_json(&[&["approvals"], words, &to[..]].concat())
    };
    assert_eq!(approvals(&["list"])[0]["approvals"][0]["id"], id.as_str());
    assert_eq!(approvals(&["show", &id])[0]["target"], "create_issue");
    assert_eq!(approvals(&["approve", &id])[0]["status"], "approved");
    assert_eq!(approvals(&["revoke", &id])[0]["status"], "revoked");
    let second = open(&http, &service.url, &edge).await;
    let second = second["id"].as_str().unwrap();
    assert_eq!(approvals(&["deny", second, "--reason", "no"])[0]["status"], "denied");
    let dir_word = ["--data-dir", at];
    let local = |words: &[&str]| printed_json(&[words, &dir_word].concat());
    let tokens = local(&["token", "list"]);
    let token_id = tokens[0]["tokens"][0]["id"].as_str().unwrap();
    assert_eq!(local(&["token", "revoke", token_id])[0]["revoked"], true);
    assert!(local(&["keys", "show"])[0]["service_key"].is_string());
    assert!(local(&["login", "--subject", "alice", "--group", "sre"])[0]["url"].is_string());
    assert_eq!(local(&["audit", "verify"])[0]["findings"], json!([]));
    assert!(local(&["audit", "tail", "-n", "5"]).iter().all(|line| line["entry"]["kind"].is_string()));
    let policy = dir.0.join("policy.yaml");
    std::fs::write(&policy, "version: \"2026-01-27\"\nrules: []\n").unwrap();
    let (done, checked) = holdpoint(&["policy", "check", policy.to_str().unwrap(), "--format", "json"]);
    let checked: Value = serde_json::from_str(&checked).unwrap();
    assert!(done && checked["files"][0]["policies"][0]["snapshot_id"].is_string(), "{checked}");
}

#[test]
fn reader_that_has_seen_enough_ends_a_command_without_a_panic() {
    let dir = Dir::new();
    token(&dir.0, "enforcer", "edge");
    let at = dir.0.to_str().unwrap();
    for args in [&["audit", "tail", "--data-dir", at][..], &["--help"], &["token", "list", "--data-dir", at]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(BINARY).args(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        assert!(output.status.code().is_some_and(|code| code != 101), "{args:?}: {}", output.status);
    }
}

/// A record with one held and approved call, written by a real service that has ended since.
async fn recorded() -> Dir {
    let dir = Dir::new();
    let service = Service::start(&dir.0);
    let edge = token(&dir.0, "enforcer", "edge");
    let alice = token(&dir.0, "approver", "alice");
    let opened = open(&reqwest::Client::new(), &service.url, &edge).await;
    let id = opened["id"].as_str().unwrap();
    let (done, text) = holdpoint(&[
        "approvals",
        "approve",
        id,
        "--server",
        &service.url,
        "--token",
        &alice,
        "--reason",
        "looked at it",
    ]);
    assert!(done, "{text}");
    dir
}

#[tokio::test]
async fn one_entry_is_proven_to_whoever_has_the_public_key() {
    let dir = recorded().await;
    let data = dir.0.to_str().unwrap();
    let (_, keys) = holdpoint(&["keys", "show", "--data-dir", data]);
    let key = keys.split_whitespace().find(|word| word.starts_with("ed25519:")).expect(&keys);
    let (done, proof) = holdpoint(&["audit", "prove", "1", "--data-dir", data]);
    assert!(done && proof.starts_with("c2sp.org/tlog-proof@v1\n"), "{proof}");
    let file = dir.0.join("1.proof");
    std::fs::write(&file, &proof).unwrap();
    let file = file.to_str().unwrap();
    let (done, text) = holdpoint(&["audit", "verify-proof", file, "--key", key]);
    assert!(done && text.starts_with("entry 1 is in the log `holdpoint/"), "{text}");
    std::fs::write(file, proof.replace("\nindex 1\n", "\nindex 0\n")).unwrap();
    let (done, text) = holdpoint(&["audit", "verify-proof", file, "--key", key]);
    assert!(!done && text.starts_with("not proven: the entry is not in the signed log"), "{text}");
    let (done, text) = holdpoint(&["audit", "prove", "999", "--data-dir", data]);
    assert!(!done && text.contains("there is no entry 999"), "{text}");
}

#[tokio::test]
async fn export_verifies_without_the_database_and_shows_every_change() {
    let dir = recorded().await;
    let data = dir.0.to_str().unwrap();
    let (_, keys) = holdpoint(&["keys", "show", "--data-dir", data]);
    let key = keys.split_whitespace().find(|word| word.starts_with("ed25519:")).expect(&keys);
    let file = dir.0.join("record.ndjson");
    let name = file.to_str().unwrap();
    let (done, text) = holdpoint(&["audit", "export", "--data-dir", data, "--out", name]);
    assert!(done && text.contains("entries in `"), "{text}");
    let whole = std::fs::read_to_string(&file).unwrap();
    let check = |text: &str, expected: &str| {
        std::fs::write(&file, text).unwrap();
        let (done, found) = holdpoint(&["audit", "verify", "--file", name, "--key", key]);
        assert_eq!(done, expected.starts_with("the record is whole"), "{found}");
        assert!(found.contains(expected), "{found}");
    };
    check(&whole, "the record is whole");
    check(&whole.replace("looked at it", "looked away"), "the checkpoint at its end was signed for other entries");
    let lines: Vec<&str> = whole.lines().collect();
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != at).map(|(_, line)| format!("{line}\n"));
        kept.collect::<String>()
    };
    check(&without(1), "entries 1 to 1 are missing");
    check(&without(lines.len() - 1), "there is no checkpoint at its end");
    check(&without(lines.len() - 2), "and the log has only");
}

#[tokio::test]
async fn checkpoint_that_was_kept_finds_a_database_that_was_put_back() {
    let dir = recorded().await;
    let data = dir.0.to_str().unwrap();
    // The copy is older than the checkpoint that is kept.
    let old = Dir::new();
    for entry in std::fs::read_dir(&dir.0).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, old.0.join(path.file_name().unwrap())).unwrap();
    }
    token(&dir.0, "auditor", "carol");
    let (_, proof) = holdpoint(&["audit", "prove", "0", "--data-dir", data]);
    let kept = dir.0.join("kept.note");
    std::fs::write(&kept, proof.split_once("\n\n").unwrap().1).unwrap();
    let kept = kept.to_str().unwrap();
    let (done, text) = holdpoint(&["audit", "verify", "--data-dir", data, "--checkpoint", kept]);
    assert!(done, "{text}");
    let (done, text) = holdpoint(&["audit", "verify", "--data-dir", old.0.to_str().unwrap(), "--checkpoint", kept]);
    assert!(!done && text.contains("the end was cut off, or an old copy put back"), "{text}");
}

#[tokio::test]
async fn record_is_searched_reported_and_exported_for_others() {
    let dir = recorded().await;
    let data = dir.0.to_str().unwrap();
    let (done, found) = holdpoint(&["audit", "search", "--data-dir", data, "--kind", "review", "--output", "json"]);
    let lines: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(done && lines.len() == 1 && lines[0]["entry"]["detail"] == "for group `sre`: looked at it", "{found}");
    let (done, text) = holdpoint(&["audit", "search", "--data-dir", data, "--on", "elsewhere"]);
    assert!(done && text == "no entry fits\n", "{text}");
    let (done, text) = holdpoint(&["audit", "search", "--data-dir", data, "--since", "yesterday"]);
    assert!(!done && text.contains("`yesterday` is no time"), "{text}");

    let (done, report) = holdpoint(&["audit", "report", "--data-dir", data]);
    assert!(done && report.contains("Who approved and denied what"), "{report}");
    assert!(report.contains("approved  create_issue on github for bob"), "{report}");
    let (_, page) = holdpoint(&["audit", "report", "--data-dir", data, "--format", "html"]);
    assert!(page.starts_with("<!doctype html>") && page.contains("looked at it"), "{page}");
    let (_, text) = holdpoint(&["audit", "report", "--data-dir", data, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["reviews"][0]["verdict"], "approve");

    let (_, ocsf) = holdpoint(&["audit", "export", "--data-dir", data, "--format", "ocsf", "--kind", "review"]);
    let event: Value = serde_json::from_str(&ocsf).unwrap();
    assert_eq!((&event["class_uid"], &event["type_uid"]), (&json!(6003), &json!(600_399)));
    let (_, otlp) = holdpoint(&["audit", "export", "--data-dir", data, "--format", "otlp", "--kind", "review"]);
    let request: Value = serde_json::from_str(&otlp).unwrap();
    let records = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    assert_eq!(records.as_array().unwrap().len(), 1);
    let has_tool = json!({"key": "gen_ai.tool.name", "value": {"stringValue": "create_issue"}});
    assert!(records[0]["attributes"].as_array().unwrap().contains(&has_tool), "{otlp}");
}

/// Returns once the service that runs has signed something of its record.
fn checkpointed(dir: &Path) {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let (_, text) = holdpoint(&["audit", "verify", "--data-dir", dir.to_str().unwrap(), "--output", "json"]);
        let verified: Value = serde_json::from_str(text.trim()).expect(&text);
        if verified["checkpoints"].as_u64() > Some(0) {
            return;
        }
        assert!(Instant::now() < until, "{text}");
    }
}

/// A restoration into a fresh folder, with the keys of `from`.
fn restore(copy: &Path, keys: &Path, into: &Path, more: &[&str]) -> (bool, String) {
    let (copy, keys, into) = (copy.to_str().unwrap(), keys.to_str().unwrap(), into.to_str().unwrap());
    holdpoint(&[&["restore", copy, "--data-dir", into, "--keys", keys], more].concat())
}

#[tokio::test]
async fn backup_of_a_running_service_is_restored_and_goes_on() {
    let dir = Dir::new();
    let service = Service::start(&dir.0);
    let (edge, root) = (token(&dir.0, "enforcer", "edge"), token(&dir.0, "admin", "root"));
    let http = reqwest::Client::new();
    let held = open(&http, &service.url, &edge).await;
    let freeze = json!({"scope": {"server": "tracker"}, "reason": "incident 7"});
    let stop = http.post(format!("{}/v1/freezes", service.url)).bearer_auth(&root).json(&freeze);
    assert_eq!(stop.send().await.unwrap().status(), 201);

    checkpointed(&dir.0);
    let places = Dir::new();
    let copy = places.0.join("copy.db");
    let words = ["backup", copy.to_str().unwrap(), "--data-dir", dir.0.to_str().unwrap()];
    let (done, text) = holdpoint(&words);
    assert!(done && text.contains("the service key is not in it"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&copy).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "only its owner reads it");
    let (done, text) = holdpoint(&words);
    assert!(!done && text.contains("is there already"), "{text}");

    // What comes after the copy: another freeze, which gateways hear of.
    let freeze = json!({"scope": {"server": "wiki"}, "reason": "incident 8"});
    let stop = http.post(format!("{}/v1/freezes", service.url)).bearer_auth(&root).json(&freeze);
    assert_eq!(stop.send().await.unwrap().status(), 201);
    let version = |url: String| {
        let ask = http.get(format!("{url}/v1/freezes")).bearer_auth(&edge);
        async move { ask.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let known = version(service.url.clone()).await;
    assert_eq!(known["freezes"].as_array().map(Vec::len), Some(2));
    drop(service);

    let new = places.0.join("new");
    let (done, text) = restore(&copy, &dir.0, &new, &[]);
    assert!(done && text.contains("the record is whole"), "{text}");
    let left: Vec<_> = std::fs::read_dir(&new).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "a database and a key, and nothing that was on the way: {left:?}");
    let again = restore(&copy, &dir.0, &new, &[]);
    assert!(!again.0 && again.1.contains("has a database"), "{}", again.1);

    let service = Service::start(&new);
    let now = version(service.url.clone()).await;
    assert_eq!(now["freezes"].as_array().map(Vec::len), Some(1), "{now}");
    assert!(now["version"].as_u64() > known["version"].as_u64(), "gateways take the list: {now} after {known}");
    let url = format!("{}/v1/approvals/{}", service.url, held["id"].as_str().unwrap());
    let pending = http.get(url).bearer_auth(&edge).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(pending["status"], "pending", "{pending}");
    let (done, text) = holdpoint(&["audit", "verify", "--data-dir", new.to_str().unwrap()]);
    assert!(done, "{text}");
    let (_, text) = holdpoint(&["audit", "search", "--data-dir", new.to_str().unwrap(), "--kind", "freeze_changed"]);
    assert!(text.contains("put back from a copy"), "{text}");
}

#[tokio::test]
async fn copy_that_was_changed_or_signed_by_another_key_is_not_put_in_place() {
    let dir = recorded().await;
    let service = Service::start(&dir.0);
    checkpointed(&dir.0);
    drop(service);
    let places = Dir::new();
    let copy = places.0.join("copy.db");
    let (done, text) = holdpoint(&["backup", copy.to_str().unwrap(), "--data-dir", dir.0.to_str().unwrap()]);
    assert!(done, "{text}");
    let refused = |name: &str, file: &Path, keys: &Path, more: &[&str], says: &str| {
        let into = places.0.join(name);
        let (done, text) = restore(file, keys, &into, more);
        assert!(!done && text.contains(says), "{name}: {text}");
        assert!(!into.join("holdpoint.db").exists() && !into.join("service-key.hex").exists(), "{name}");
    };
    let other = Dir::new();
    token(&other.0, "auditor", "carol");
    refused("other-key", &copy, &other.0, &[], "nothing was put in place");
    refused("no-key", &copy, &places.0, &[], "--keys");

    let mut changed = std::fs::read(&copy).unwrap();
    // The reviewer's words as the entry of the record has them.
    let words = b"\"detail\":\"for group `sre`: looked at it";
    let at = changed.windows(words.len()).position(|window| window == words).expect("the entry");
    let end = at + words.len();
    changed[end - 12..end - 6].copy_from_slice(b"glance");
    let file = places.0.join("changed.db");
    std::fs::write(&file, changed).unwrap();
    refused("changed", &file, &dir.0, &[], "was changed");
    std::fs::write(&file, b"no database at all").unwrap();
    refused("strange", &file, &dir.0, &[], "is no copy of a database");

    // Nothing was signed yet: whole, but it could be anybody's.
    let unsigned = places.0.join("unsigned.db");
    let (done, text) = holdpoint(&["backup", unsigned.to_str().unwrap(), "--data-dir", other.0.to_str().unwrap()]);
    assert!(done, "{text}");
    refused("unsigned", &unsigned, &other.0, &[], "nothing in this copy was ever signed");

    // A checkpoint from after the copy: the copy is old, and whoever asks is told.
    token(&dir.0, "auditor", "carol");
    let (_, proof) = holdpoint(&["audit", "prove", "0", "--data-dir", dir.0.to_str().unwrap()]);
    let kept = places.0.join("kept.note");
    std::fs::write(&kept, proof.split_once("\n\n").unwrap().1).unwrap();
    let words = ["--checkpoint", kept.to_str().unwrap()];
    refused("old", &copy, &dir.0, &words, "the end was cut off, or an old copy put back");
}

#[tokio::test]
async fn what_a_restored_copy_has_open_is_listed_and_revoked_as_the_operators_page_says() {
    let dir = recorded().await;
    let service = Service::start(&dir.0);
    checkpointed(&dir.0);
    drop(service);
    let places = Dir::new();
    let (copy, new) = (places.0.join("copy.db"), places.0.join("new"));
    let (done, text) = holdpoint(&["backup", copy.to_str().unwrap(), "--data-dir", dir.0.to_str().unwrap()]);
    assert!(done, "{text}");
    let (done, text) = restore(&copy, &dir.0, &new, &[]);
    assert!(done, "{text}");
    let service = Service::start(&new);
    let root = token(&new, "admin", "root");
    let at = ["--server", &service.url, "--token", &root];
    let (_, waiting) = holdpoint(&[&["approvals", "list"], &at[..]].concat());
    let (_, all) = holdpoint(&[&["approvals", "list", "--all"], &at[..]].concat());
    let open: Vec<&str> = all.lines().filter(|line| line.contains("  approved ")).collect();
    assert!(!waiting.contains("approved") && open.len() == 1, "{waiting}{all}");
    let id = open[0].split_whitespace().next().unwrap();
    let (done, text) = holdpoint(&[&["approvals", "revoke", id, "--reason", "restored"], &at[..]].concat());
    assert!(done && text.contains("is revoked"), "{text}");
}

#[test]
fn second_service_on_one_directory_does_not_start_and_commands_go_on() {
    let dir = Dir::new();
    let at = dir.0.to_str().unwrap();
    let service = Service::start(&dir.0);
    let (done, said) = holdpoint(&["serve", "--listen", "127.0.0.1:0", "--data-dir", at]);
    let address = service.url.trim_start_matches("http://");
    let expected = format!("another service (pid {}) serves `{at}` at {address}: ", service.child.id());
    assert!(!done && said.contains(&expected) && said.contains("PostgreSQL"), "{said}");
    token(&dir.0, "approver", "alice");
    let (done, link) = holdpoint(&["login", "--data-dir", at, "--subject", "alice", "--group", "sre"]);
    assert!(done && link.starts_with(&service.url), "the first one's address stays: {link}");
    let (done, text) = holdpoint(&["audit", "verify", "--data-dir", at]);
    assert!(done, "{text}");
    // As a crash would.
    drop(service);
    Service::start(&dir.0);
}

#[test]
fn files_that_commands_of_root_make_belong_to_the_user_of_the_service() {
    let (dir, places) = (Dir::new(), Dir::new());
    let new = places.0.join("new");
    std::fs::create_dir(&new).unwrap();
    if chown(&dir.0, Some(12_345), Some(12_345)).and_then(|()| chown(&new, Some(12_345), Some(12_345))).is_err() {
        eprintln!("skipped: files that commands of root make, because only root may give files away");
        return;
    }
    let owned = |dir: &Path, after: &str| {
        for file in std::fs::read_dir(dir).unwrap() {
            let file = file.unwrap();
            let known = file.metadata().unwrap();
            assert_eq!((known.uid(), known.gid()), (12_345, 12_345), "{:?} after {after}", file.file_name());
        }
    };
    token(&dir.0, "approver", "alice");
    owned(&dir.0, "the first token");
    let at = dir.0.to_str().unwrap();
    let (done, text) = holdpoint(&["keys", "rotate", "--data-dir", at]);
    assert!(done, "{text}");
    owned(&dir.0, "a rotation");
    let (done, text) = holdpoint(&["login", "--data-dir", at, "--subject", "alice", "--group", "sre"]);
    assert!(done, "{text}");
    owned(&dir.0, "a sign-in link");
    let service = Service::start(&dir.0);
    checkpointed(&dir.0);
    owned(&dir.0, "a service");
    drop(service);
    let copy = places.0.join("copy.db");
    let (done, text) = holdpoint(&["backup", copy.to_str().unwrap(), "--data-dir", at]);
    assert!(done, "{text}");
    let (done, text) = restore(&copy, &dir.0, &new, &[]);
    assert!(done, "{text}");
    owned(&new, "a restoration");
}

#[test]
fn first_token_says_that_it_made_a_database_and_an_approver_of_no_group_what_that_means() {
    let dir = Dir::new();
    let make = |group: &[&str]| {
        let words = ["token", "create", "--data-dir", dir.0.to_str().unwrap(), "--role", "approver", "--subject", "al"];
        let output = Command::new(BINARY).args(words).args(group).output().unwrap();
        assert!(output.status.success() && output.stdout.starts_with(b"hp_approver_"), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let (new, group) = (format!("made a new database in `{}`", dir.0.display()), "without `--group`");
    let said = make(&["--group", "sre"]);
    assert!(said.contains(&new) && !said.contains(group), "{said}");
    let said = make(&[]);
    assert!(!said.contains(&new) && said.contains(group), "{said}");
}

#[tokio::test]
async fn what_was_typed_wrong_is_answered_by_what_to_type() {
    let dir = Dir::new();
    let service = Service::start(&dir.0);
    let admin = token_of_admin(&dir.0);
    let at = ["--server", &service.url, "--token", &admin];
    let data = dir.0.to_str().unwrap();
    let host = service.url.trim_start_matches("http://");
    let to_type = |args: &[&str], expected: &str| {
        let (done, said) = holdpoint(args);
        assert!(!done && said.contains(expected), "{args:?}: {expected} in {said}");
    };
    to_type(&["approvals", "list", "--server", host, "--token", &admin], &format!("write `http://{host}`"));
    to_type(
        &[&["freeze", "add", "--reason", "x"], &at[..]].concat(),
        "`--for-server`, `--for-tool` or `--for-principal`",
    );
    to_type(&["audit", "search", "--data-dir", data, "--kind", "descision"], "expected one of `decision`");
    let make = ["token", "create", "--data-dir", data, "--role", "auditor", "--subject", "eve", "--expires-in"];
    to_type(&[&make[..], &["soon"]].concat(), "write `90m`, `12h` or `90d`");
    let (done, _) = holdpoint(&[&make[..], &["14d"]].concat());
    let (_, listed) = holdpoint(&["token", "list", "--data-dir", data]);
    assert!(done && listed.lines().any(|line| line.contains("eve") && line.contains(" until ")), "{listed}");

    let (_, none) = holdpoint(&[&["freeze", "list"], &at[..]].concat());
    assert!(none.contains("nothing is stopped"), "{none}");
    let add = ["freeze", "add", "--for-server", "trakcer", "--reason", "x"];
    let (done, said) = holdpoint(&[&add[..], &at[..]].concat());
    let doubt = "no gateway has told of a server `trakcer` (known: none yet); is it spelt so?";
    assert!(done && said.contains("stopped: ") && said.contains(doubt), "{said}");
}

fn token_of_admin(dir: &Path) -> String {
    let at = dir.to_str().unwrap();
    let (done, text) = holdpoint(&["token", "create", "--data-dir", at, "--role", "admin", "--subject", "root"]);
    assert!(done, "{text}");
    text.split_whitespace().next().unwrap().to_owned()
}
