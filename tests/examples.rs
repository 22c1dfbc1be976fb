//! Every example decides as its `cases.yaml` says: in the core, on the command line, and as wasm in a real Envoy; and the three agree. Steps 3 to 6.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use holdpoint_core::cases::{self, CallAsSent, CaseFile, Judged};
use holdpoint_core::decision::{Decision, Verdict};
use holdpoint_core::identity::{ActorType, Principal};
use holdpoint_core::policy::{self, PolicyDocument, PolicySnapshot};
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpBody, HttpCall};
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::envoy_config::{EnvoyConfig, ROUTE_GUARD};
use holdpoint_tests::idp::{Claims, Idp};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{probe, repository, service_binary};
use serde_json::{Value, json};

/// How long a call that needs an approval waits before its client is told to come back.
const HOLD_MS: u64 = 100;

/// One example: its cases, and the policy that they are about.
struct Example {
    dir: PathBuf,
    cases: CaseFile,
    policy_text: String,
    document: PolicyDocument,
    snapshot: PolicySnapshot,
}

#[test]
fn every_case_of_every_example_is_decided_as_written() -> anyhow::Result<()> {
    let examples = examples()?;
    for example in &examples {
        for case in &example.cases.cases {
            let differences = case.expected.differences(&case.call.judge(&example.snapshot));
            ensure!(differences.is_empty(), "{}: {}: {differences:#?}", example.dir.display(), case.name);
        }
        let verdicts: BTreeSet<_> = example.cases.cases.iter().map(|case| case.expected.verdict).collect();
        ensure!(verdicts.len() > 1, "{}: shows only what runs, or only what does not", example.dir.display());
    }
    ensure!(examples.len() >= 6, "the guide's and five stories");
    Ok(())
}

#[test]
fn guides_literal_policy_loads_unchanged() -> anyhow::Result<()> {
    let text = repository::text("examples/guide/policy.yaml")?;
    assert_eq!(read(&text)?.rules.len(), 3);
    Ok(())
}

#[test]
fn lint_warns_of_what_the_readme_of_an_example_names_and_of_nothing_else() -> anyhow::Result<()> {
    for example in examples()? {
        let readme = std::fs::read_to_string(example.dir.join("README.md"))?;
        let (_, named) = readme
            .split_once("Expected warnings of `holdpoint policy check`: ")
            .with_context(|| format!("{}/README.md names no expected warnings", example.dir.display()))?;
        let named = named.split('.').next().unwrap_or_default();
        let named: BTreeSet<&str> = named.split(", ").filter(|name| *name != "none").collect();
        let found: BTreeSet<&str> = policy::lint(&example.document).iter().map(|finding| finding.lint).collect();
        assert_eq!(named, found, "{}", example.dir.display());
    }
    Ok(())
}

#[test]
fn command_line_decides_every_case_as_the_core_does() -> anyhow::Result<()> {
    let output = Command::new(service_binary::holdpoint()?)
        .args(["policy", "test", "--format", "json"])
        .arg(repository::path("examples"))
        .output()?;
    let report: Value =
        serde_json::from_slice(&output.stdout).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(output.status.success(), "{report:#}");
    let files = report["files"].as_array().context("files")?;
    for example in examples()? {
        let path = example.dir.join("cases.yaml");
        let file = files.iter().find(|file| file["file"] == json!(path)).with_context(|| format!("{path:?}"))?;
        assert_eq!(file["snapshot_id"], json!(example.snapshot.id()), "{path:?}");
        let lines = file["cases"].as_array().context("cases")?;
        assert_eq!(lines.len(), example.cases.cases.len(), "{path:?}");
        for (case, line) in example.cases.cases.iter().zip(lines) {
            let expected = match case.call.judge(&example.snapshot) {
                Judged::Decided(decision) => {
                    json!([
                        decision.verdict,
                        rule_ids(&decision),
                        decision.basis,
                        cases::constraints(&decision.constraints)
                    ])
                }
                Judged::Refused(why) => json!(["refused", why]),
            };
            let judged = &line["judged"];
            let found = match judged["verdict"].as_str() {
                Some("refused") => json!(["refused", judged["reason"]]),
                _ => json!([judged["verdict"], judged["rules"], judged["basis"], judged["constraints"]]),
            };
            assert_eq!(found, expected, "{path:?}: {}", case.name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn filter_in_envoy_decides_every_case_as_the_core_does() -> anyhow::Result<()> {
    let examples = examples()?;
    let servers: BTreeSet<String> =
        examples.iter().flat_map(|example| example.document.servers.keys().cloned()).collect();
    let first = examples.first().context("an example")?.policy_text.clone();
    let mut stack = Stack::builder()
        .policy(&first)
        .document(|document| document.hold_ms_max = HOLD_MS)
        .workers(1)
        .envoy(move |config| route_each(config, &servers).expect("a base with one route"))
        .policy_by_discovery()
        .start()
        .await?;
    let auditor = Person::auditor(&stack.service)?;
    // Cases may be about the same tool: the record has their decisions in the order of the calls.
    let mut seen = BTreeMap::new();
    for example in &examples {
        stack.document.policy = example.policy_text.clone();
        let update = stack.envoy.update_filter_document(&stack.document.text()).await?;
        assert_eq!(update, PolicyUpdate::Accepted, "{}", example.dir.display());
        in_force(&stack, example).await?;
        for case in &example.cases.cases {
            if case.call.before.iter().any(|earlier| earlier.ago_ms > 0) {
                eprintln!("not sent through Envoy: {}: it would have to wait until that is so long ago", case.name);
                continue;
            }
            for earlier in &case.call.before {
                let ran = through_envoy(&stack, &auditor, example, &earlier.call, &mut seen).await;
                let ran = ran.with_context(|| format!("{}: before {}", example.dir.display(), case.name))?;
                ensure!(
                    ran[0] == "allow",
                    "{}: what comes before {} must run: {ran}",
                    example.dir.display(),
                    case.name
                );
            }
            let found = through_envoy(&stack, &auditor, example, &case.call, &mut seen).await;
            let found = found.with_context(|| format!("{}: {}", example.dir.display(), case.name))?;
            let expected = match routed(&case.call)?.judge(&example.snapshot) {
                Judged::Decided(decision) => {
                    json!([decision.verdict, rule_ids(&decision), decision.basis, decision.snapshot_id])
                }
                Judged::Refused(_) => json!("refused"),
            };
            assert_eq!(found, expected, "{}: {}", example.dir.display(), case.name);
            if let Judged::Decided(decision) = case.call.judge(&example.snapshot)
                && decision.verdict == Verdict::RequireApproval
            {
                shown_to_people(&auditor, &decision).await?;
            }
        }
    }
    Ok(())
}

/// Sends one call and answers what the record says became of it.
async fn through_envoy(
    stack: &Stack,
    auditor: &Person,
    example: &Example,
    call: &CallAsSent,
    seen: &mut BTreeMap<String, usize>,
) -> anyhow::Result<Value> {
    let call = routed(call)?;
    let before = stack.upstream.count();
    let mut message = HttpCall::post(call.body.clone());
    message.path.clone_from(&call.route.path);
    message.body = HttpBody::Whole(call.body.clone().into_bytes());
    message.headers = call.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let answer = message.bearer(&token(&stack.idp, &call.principal)?).send(stack.port()).await?;
    let forwarded = stack.upstream.count() - before;
    let Ok(envelope) = call.seal(&example.snapshot) else {
        let said = answer.json();
        let refused = answer.status != 200 || said["error"].is_object() || said["result"]["isError"] == true;
        ensure!(forwarded == 0 && refused, "{}", answer.text());
        return Ok(json!("refused"));
    };
    let named = json!({
        "kind": "decision", "subject": call.principal.subject, "server": envelope.server(),
        "method": envelope.method(), "target": envelope.target(), "snapshot_id": example.snapshot.id(),
    });
    let is_named = |entry: &Value| {
        let subject = &entry["principal"]["subject"];
        let members = ["kind", "server", "method", "target", "snapshot_id"];
        *subject == named["subject"] && members.iter().all(|member| entry[member] == named[member])
    };
    let earlier = seen.entry(named.to_string()).or_default();
    let entry = probe::until("the record has the decision", probe::PATIENCE, async || {
        auditor.record().await.ok()?.into_iter().filter(|entry| is_named(entry)).nth(*earlier)
    })
    .await?;
    let digest = &entry["call_digest"];
    ensure!(digest.is_null() || *digest == json!(envelope.call_digest()), "another call was judged: {entry}");
    *earlier += 1;
    let ran = entry["verdict"] == "allow";
    ensure!(forwarded == usize::from(ran), "{forwarded} messages reached the server: {entry}");
    Ok(json!([entry["verdict"], entry["rule_ids"], entry["basis"], entry["snapshot_id"]]))
}

/// The people who are asked, and the bounds that they are shown, are those of the decision.
async fn shown_to_people(auditor: &Person, decision: &Decision) -> anyhow::Result<()> {
    let newest = auditor.ids("pending").await?.into_iter().next().context("a pending approval")?;
    let view = auditor.show(&newest).await?;
    let requirement = decision.approval.as_ref().context("a requirement")?;
    assert_eq!(view["requirement"], json!(requirement), "{view:#}");
    assert_eq!(view["constraints"], json!(decision.constraints), "{view:#}");
    Ok(())
}

/// Waits until new calls are judged by the example's policy.
async fn in_force(stack: &Stack, example: &Example) -> anyhow::Result<()> {
    let server = example.document.servers.keys().next().context("a server")?;
    let token = stack.agent("somebody")?;
    let id = example.snapshot.id().to_string();
    probe::until("the policy is in force", probe::PATIENCE, async || {
        let before = stack.envoy.access_log().len();
        let mut list = HttpCall::post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).bearer(&token);
        list.path = format!("/{server}/mcp");
        list.send(stack.port()).await.ok()?;
        let line = stack.envoy.access_log().into_iter().nth(before)?;
        line["snapshot"].as_str().is_some_and(|short| !short.is_empty() && id.contains(short)).then_some(())
    })
    .await
}

/// The call on the path that leads to its server here: paths are not what these policies look at.
fn routed(call: &CallAsSent) -> anyhow::Result<CallAsSent> {
    let server = call.route.metadata_server.as_deref().context("a case of an example names its server")?;
    ensure!(call.route.host.is_none() && call.route.cluster.is_none(), "examples recognise servers by the route");
    let mut call = call.clone();
    call.route.path = format!("/{server}/mcp");
    Ok(call)
}

/// One route, and one policy of the guard behind the filter, for each server.
fn route_each(config: &mut EnvoyConfig, servers: &BTreeSet<String>) -> anyhow::Result<()> {
    let base = config.route()?.clone();
    let manager = config.connection_manager()?;
    let routes = manager.pointer_mut("/route_config/virtual_hosts/0/routes").context("routes")?;
    let route = |server: &String| {
        let mut route = base.clone();
        route["name"] = json!(server);
        route["match"] = json!({ "prefix": format!("/{server}/") });
        route["metadata"] = json!({ "filter_metadata": { "holdpoint": { "server": server } } });
        route
    };
    *routes = servers.iter().map(route).collect();
    let filters = manager["http_filters"].as_array_mut().context("filters")?;
    let guard = filters.iter_mut().find(|filter| filter["name"] == ROUTE_GUARD).context("the guard")?;
    let policies = guard.pointer_mut("/typed_config/rules/policies").context("policies")?;
    let policies = policies.as_object_mut().context("policies")?;
    let pattern = policies.remove("tracker").context("a policy for the base's server")?.to_string();
    for server in servers {
        policies
            .insert(server.clone(), serde_json::from_str(&pattern.replace("\"tracker\"", &json!(server).to_string()))?);
    }
    Ok(())
}

/// A token whose claims make exactly this principal.
fn token(idp: &Idp, principal: &Principal) -> anyhow::Result<String> {
    let Principal { issuer, subject, agent_id, actor_type, tenant, groups, scopes } = principal;
    ensure!(issuer == holdpoint_tests::idp::ISSUER, "Envoy here trusts one issuer");
    let with = |claims: Claims, name: &str, value: &Option<String>| match value {
        Some(value) => claims.with(name, value),
        None => claims,
    };
    let mut claims = idp.claims(subject).with("groups", groups);
    claims = with(claims, "tenant", tenant);
    claims = match actor_type {
        ActorType::Agent => claims.with("act", json!({ "sub": agent_id })),
        ActorType::Service | ActorType::Human => with(claims, "azp", agent_id),
        ActorType::Anonymous => anyhow::bail!("no token makes anybody anonymous"),
    };
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    idp.mint(claims.with("scope", scopes.join(" ")))
}

fn rule_ids(decision: &Decision) -> Vec<&str> {
    decision.reasons.iter().map(|reason| reason.rule_id.as_str()).collect()
}

/// Every folder of `examples/` that has cases, in the order of their names.
fn examples() -> anyhow::Result<Vec<Example>> {
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(repository::path("examples"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    dirs.retain(|dir| dir.join("cases.yaml").is_file());
    dirs.sort();
    dirs.into_iter().map(example).collect()
}

fn example(dir: PathBuf) -> anyhow::Result<Example> {
    let text = |path: &Path| std::fs::read_to_string(path).with_context(|| path.display().to_string());
    let located = |problems| anyhow::anyhow!("{}: {problems}", dir.display());
    let cases = cases::read_cases(&text(&dir.join("cases.yaml"))?).map_err(located)?;
    let policy_text = text(&dir.join(&cases.policy))?;
    let document = read(&policy_text)?;
    let snapshot = policy::compile(&document).map_err(located)?;
    Ok(Example { cases, policy_text, document, snapshot, dir })
}

fn read(text: &str) -> anyhow::Result<PolicyDocument> {
    policy::read_file(text).map_err(|problems| anyhow::anyhow!("{problems}"))
}
