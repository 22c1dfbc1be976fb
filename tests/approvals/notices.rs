//! Who waits is told: by signed webhooks that others can verify, again until they arrive, and never where they must not go.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::asker::Asker;
use holdpoint_tests::service::Service;
use holdpoint_tests::upstream::{Answer, Received, Upstream};
use holdpoint_tests::{installed, ports, probe, python, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A service that tells, and the files that say whom.
pub(crate) struct Teller {
    pub(crate) service: Service,
    pub(crate) asker: Asker,
    dir: TempDir,
}

impl Teller {
    /// `notify` is the notify file; `DIR` in it becomes a directory with the files `secret`, `next` and `token`.
    pub(crate) async fn start(notify: &str) -> anyhow::Result<Self> {
        let dir = files(notify)?;
        let port = ports::free()?;
        let (url, file) = (format!("http://127.0.0.1:{port}"), dir.path().join("notify.yaml"));
        let arguments = ["--public-url", &url, "--notify", &file.to_string_lossy()];
        let service = Service::start_with(port, &arguments).await?;
        let asker = Asker::new(&service).await?;
        Ok(Self { service, asker, dir })
    }

    /// `holdpoint notify …` as an administrator; what it printed.
    pub(crate) fn notify(&self, words: &[&str]) -> anyhow::Result<String> {
        let file = self.dir.path().join("admin.token");
        if !file.exists() {
            std::fs::write(&file, self.service.token("admin", "root", &[])?)?;
        }
        let url = self.service.url("");
        let (url, file) = (url.trim_end_matches('/'), file.to_string_lossy().into_owned());
        let words = [&["notify"], words, &["--server", url, "--token-file", &file, "--output", "json"]].concat();
        self.service.cli(&words)
    }

    /// Waits until `count` notices are in `state`, and tells all of them.
    pub(crate) async fn until(&self, state: &str, count: usize) -> anyhow::Result<Vec<Value>> {
        let auditor = Person::auditor(&self.service)?;
        probe::until(&format!("{count} notices are {state}"), probe::PATIENCE, async || {
            let page = auditor.get(&format!("/v1/notices?state={state}")).await.ok()?;
            let notices = page["notices"].as_array()?.clone();
            (notices.len() >= count).then_some(notices)
        })
        .await
    }
}

fn files(notify: &str) -> anyhow::Result<TempDir> {
    let dir = tempfile::Builder::new().prefix("holdpoint-notify-").tempdir()?;
    for (name, text) in [("secret", SECRET), ("next", NEXT_SECRET), ("token", "xoxb-token"), ("signing", "shh")] {
        std::fs::write(dir.path().join(name), text)?;
    }
    std::fs::write(dir.path().join("notify.yaml"), notify.replace("DIR", &dir.path().to_string_lossy()))?;
    Ok(dir)
}

/// A notify file with one webhook that hears everything, tried quickly and `tries_max` times.
fn one_hook(port: u16, tries_max: u32) -> String {
    format!(
        "channels:\n  hook: {{webhook: {{url: 'http://127.0.0.1:{port}/in', allow_private: true, \
         secrets: [{{file: DIR/next}}, {{file: DIR/secret}}]}}}}\nroutes:\n- {{channels: [hook]}}\n\
         delivery: {{tries_max: {tries_max}, pause_ms_first: 20, pause_ms_max: 200, answer_ms_max: 2000}}\n"
    )
}

fn status(status: u16) -> Answer {
    Answer::Json { status, body: "{}".to_owned() }
}

/// What the reference library says of each message under this secret.
fn verdicts(python: &Path, messages: &[Received], secret: &str) -> anyhow::Result<Vec<String>> {
    let script = repository::path("tests/approvals/verify_webhook.py");
    let mut command = Command::new(python);
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    for message in messages {
        let header = |name: &str| message.header(name).unwrap_or_default().to_owned();
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: serde_json::Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), json!(header(name)))).collect();
        let line = json!({"secret": secret, "body": String::from_utf8_lossy(&message.body), "headers": headers});
        writeln!(input, "{line}")?;
    }
    drop(input);
    let output = child.wait_with_output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn library() -> anyhow::Result<Option<PathBuf>> {
    let brought = python::programs("standardwebhooks", &["standardwebhooks==1.0.1"]);
    Ok(installed::or_skip("the reference library of Standard Webhooks", brought)?
        .map(|programs| programs.join("python")))
}

#[tokio::test]
async fn webhooks_are_verified_by_somebody_elses_library_under_either_secret() -> anyhow::Result<()> {
    let Some(python) = tokio::task::spawn_blocking(library).await?? else { return Ok(()) };
    let receiver = Upstream::start().await?;
    let teller = Teller::start(&one_hook(receiver.port(), 3)).await?;
    let bob = Person::approver(&teller.service, "bob", &["sre"])?;
    let id = teller.asker.hold("create_issue", json!({"title": "only for approvers"})).await?;
    bob.approve(&bob.show(&id).await?).await?;
    let messages = receiver.wait_for(2).await?;
    for secret in [SECRET, NEXT_SECRET] {
        assert_eq!(verdicts(&python, &messages, secret)?, ["ok", "ok"], "a key and its successor both count");
    }
    let stranger = verdicts(&python, &messages, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")?;
    assert!(stranger.iter().all(|line| line.starts_with("refused")), "{stranger:?}");
    let types: Vec<Value> = messages.iter().map(|message| message.json()["type"].clone()).collect();
    assert_eq!(types, ["dev.holdpoint.approval.opened", "dev.holdpoint.approval.decided"]);
    let decided = messages[1].json();
    assert_eq!((&decided["data"]["status"], &decided["data"]["decided_by"]), (&json!("approved"), &json!("local bob")));
    assert_eq!(decided["data"]["url"], json!(teller.service.url(&format!("/approvals/{id}"))));
    assert!(messages.iter().all(|message| !String::from_utf8_lossy(&message.body).contains("only for approvers")));
    Ok(())
}

#[tokio::test]
async fn service_killed_before_a_notice_is_marked_delivers_it_again_under_the_same_id() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    // The first try is never answered: the service dies while it waits.
    let tries = AtomicUsize::new(0);
    receiver.answer_with(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => (Duration::from_secs(600), status(200)),
        _ => (Duration::ZERO, status(200)),
    });
    let mut teller = Teller::start(&one_hook(receiver.port(), 3).replace("2000", "60000")).await?;
    let id = teller.asker.hold("create_issue", json!({"n": 1})).await?;
    receiver.wait_for(1).await?;
    teller.service.kill();
    teller.service.restart().await?;
    let messages = receiver.wait_for(2).await?;
    let ids: Vec<Option<&str>> = messages.iter().map(|message| message.header("webhook-id")).collect();
    assert!(ids[0].is_some_and(|id| id.starts_with("msg_")) && ids[0] == ids[1], "{ids:?}");
    let delivered = teller.until("delivered", 1).await?;
    assert_eq!((&delivered[0]["approval_id"], receiver.count()), (&json!(id), 2));
    Ok(())
}

#[tokio::test]
async fn receiver_that_fails_is_tried_again_and_one_that_goes_on_failing_is_given_up() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    let tries = AtomicUsize::new(0);
    receiver.answer_with(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => (Duration::ZERO, status(500)),
        1 => (Duration::ZERO, Answer::Drop),
        // Longer than anybody waits for an answer.
        2 => (Duration::from_secs(8), status(200)),
        _ => (Duration::ZERO, status(204)),
    });
    let teller = Teller::start(&one_hook(receiver.port(), 5)).await?;
    teller.asker.hold("create_issue", json!({"n": 1})).await?;
    let delivered = teller.until("delivered", 1).await?;
    assert_eq!(delivered[0]["tries"], 4, "{delivered:?}");
    let messages = receiver.received();
    assert!(messages.iter().all(|message| message.header("webhook-id") == messages[0].header("webhook-id")));

    receiver.answer_with(|_| (Duration::ZERO, status(503)));
    teller.asker.hold("create_issue", json!({"n": 2})).await?;
    let dead = teller.until("dead", 1).await?;
    assert_eq!((&dead[0]["tries"], &dead[0]["event"]), (&json!(5), &json!("opened")), "{dead:?}");
    assert!(dead[0]["trouble"].as_str().is_some_and(|why| why.contains("503")), "{dead:?}");
    let listed = teller.notify(&["list", "--state", "dead"])?;
    let listed: Value = serde_json::from_str(listed.trim())?;
    receiver.answer_with(|_| (Duration::ZERO, status(200)));
    teller.notify(&["retry", listed["id"].as_str().context("no id")?])?;
    teller.until("delivered", 2).await?;
    assert!(teller.notify(&["retry", listed["id"].as_str().context("no id")?]).is_err(), "it is not given up any more");
    // Who was told when, and who was not, stands in the record with the call that it was about.
    let auditor = Person::auditor(&teller.service)?;
    let record = auditor.record().await?;
    let told: Vec<&Value> = record.iter().filter(|entry| entry["kind"] == "notice_changed").collect();
    let status: Vec<&str> = told.iter().filter_map(|entry| entry["status"].as_str()).collect();
    assert_eq!(status, ["delivered", "given_up", "retried", "delivered"], "{told:?}");
    assert_eq!((&told[1]["approval_id"], &told[1]["target"]), (&dead[0]["approval_id"], &json!("create_issue")));
    let detail = told[1]["detail"].as_str().unwrap_or_default();
    assert!(detail.starts_with("channel hook: opened (msg_") && detail.contains("503"), "{detail}");
    assert_eq!((&told[2]["by"], told[3]["by"].is_null()), (&json!("local root"), true));
    Ok(())
}

#[tokio::test]
async fn receiver_that_wants_no_more_is_not_tried_again() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    receiver.answer_with(|_| (Duration::ZERO, status(410)));
    let teller = Teller::start(&one_hook(receiver.port(), 5)).await?;
    teller.asker.hold("create_issue", json!({"n": 1})).await?;
    let dead = teller.until("dead", 1).await?;
    assert_eq!((&dead[0]["tries"], receiver.count()), (&json!(1), 1));
    Ok(())
}

#[tokio::test]
async fn notices_go_neither_after_a_redirect_nor_to_private_addresses() -> anyhow::Result<()> {
    let (receiver, inside) = (Upstream::start().await?, Upstream::start().await?);
    let elsewhere = format!("http://127.0.0.1:{}/inside", inside.port());
    receiver.answer_with(move |_| (Duration::ZERO, status(307).header("location", &elsewhere)));
    let name = format!(
        "\n  name: {{webhook: {{url: 'https://localhost:{}/in', secrets: [{{file: DIR/secret}}]}}}}\nroutes:\n\
         - {{channels: [name]}}",
        inside.port()
    );
    let teller = Teller::start(&one_hook(receiver.port(), 1).replace("\nroutes:", &name)).await?;
    teller.asker.hold("create_issue", json!({"n": 1})).await?;
    let dead = teller.until("dead", 2).await?;
    let trouble = |channel: &str| {
        let one = dead.iter().find(|one| one["channel"] == channel);
        one.and_then(|one| one["trouble"].as_str()).unwrap_or_default().to_owned()
    };
    assert!(trouble("hook").contains("redirects are not followed"), "{dead:?}");
    assert!(trouble("name").contains("no public address"), "{dead:?}");
    assert_eq!((receiver.count(), inside.count()), (1, 0));
    for url in ["http://127.0.0.1/", "https://127.0.0.1/", "https://0x7f000001/", "https://[::ffff:169.254.169.254]/"] {
        let file = format!(
            "channels: {{a: {{webhook: {{url: '{url}', secrets: [{{file: DIR/secret}}]}}}}}}\nroutes: [{{channels: [a]}}]"
        );
        let dir = files(&file)?;
        let path = dir.path().join("notify.yaml");
        let refused = teller.service.cli(&["notify", "check", &path.to_string_lossy()]);
        ensure!(refused.is_err(), "{url} was taken");
    }
    Ok(())
}

#[tokio::test]
async fn request_of_which_nobody_was_notified_shows_in_readiness_and_metrics_until_it_is_over() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    let for_dba = one_hook(receiver.port(), 1).replace("[hook]}", "[hook], groups: [dba]}");
    let teller = Teller::start(&for_dba).await?;
    let bob = Person::approver(&teller.service, "bob", &["sre"])?;
    let http = reqwest::Client::new();
    let degraded = async || -> anyhow::Result<Value> {
        let answer = http.get(teller.service.url("/readyz")).send().await?;
        ensure!(answer.status() == 200, "one team's trouble takes nobody else down");
        Ok(answer.json::<Value>().await?["degraded"].clone())
    };
    let untold = async || -> anyhow::Result<String> {
        let text = http.get(teller.service.url("/metrics")).send().await?.text().await?;
        Ok(text.lines().find(|line| line.starts_with("holdpoint_approvals_untold ")).unwrap_or_default().to_owned())
    };
    assert_eq!(degraded().await?, json!([]));
    let told = teller
        .asker
        .hold_as("create_issue", json!({"n": 1}), |asked| asked["requirement"]["all_of"][0]["group"] = json!("dba"))
        .await?;
    teller.until("delivered", 1).await?;
    assert_eq!((degraded().await?, untold().await?), (json!([]), "holdpoint_approvals_untold 0".to_owned()), "{told}");
    let id = teller.asker.hold("create_issue", json!({"n": 2})).await?;
    let said = degraded().await?;
    assert!(said[0].as_str().is_some_and(|said| said.contains("1 pending approval of which nobody")), "{said}");
    assert_eq!(untold().await?, "holdpoint_approvals_untold 1");
    bob.approve(&bob.show(&id).await?).await?;
    assert_eq!((degraded().await?, untold().await?), (json!([]), "holdpoint_approvals_untold 0".to_owned()));
    Ok(())
}

// The command line blocks a thread; the receiver needs another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_tries_a_channel_out() -> anyhow::Result<()> {
    let receiver = Upstream::start().await?;
    let teller = Teller::start(&one_hook(receiver.port(), 5)).await?;
    let printed: Value = serde_json::from_str(teller.notify(&["test", "hook"])?.trim())?;
    assert_eq!((&printed["state"], &printed["event"]), (&json!("delivered"), &json!("test")));
    let received = receiver.wait_for(1).await?;
    assert_eq!(received[0].json()["type"], "dev.holdpoint.test");
    receiver.answer_with(|_| (Duration::ZERO, status(401)));
    assert!(teller.notify(&["test", "hook"]).is_err(), "one try, and its failure is the exit code");
    let unknown = teller.notify(&["test", "pager"]).unwrap_err().to_string();
    assert!(unknown.contains("there is no channel `pager`; there is hook"), "{unknown}");
    Ok(())
}
