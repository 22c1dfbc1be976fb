//! A policy changes under calls that are held: they are judged again at release; a bad policy changes nothing.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::{Envoy, PolicyUpdate};
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{probe, wasm};
use serde_json::{Value, json};

/// Connections that Envoy spreads over its workers.
const TRIES: usize = 12;

#[tokio::test]
async fn held_call_is_refused_when_the_policy_comes_to_deny_it() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;

    stack.document.policy = stack.document.policy.replace("decision: require_approval", "decision: deny");
    // A deny has nobody to ask.
    stack.document.policy = without_block(&stack.document.policy, "approval:");
    stack.document.policy = stack.document.policy.replace("id: reads-run", "id: reads-still-run");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    // Each worker takes it up by itself, a moment after the main thread has accepted it.
    probe::until("every worker decides by the new policy", probe::PATIENCE, async || {
        for _ in 0..TRIES {
            tools_call("list_issues", "{}", &token).send(stack.port()).await.ok()?;
        }
        let mut log = stack.envoy.access_log();
        let latest = log.split_off(log.len().checked_sub(TRIES)?);
        latest.iter().all(|line| line["rule"] == "reads-still-run").then_some(())
    })
    .await?;
    assert!(!held.is_answered(), "the update drops no held call");
    let ran = stack.upstream.count();
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    let text = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("Denied by policy rule `writes-wait`"), "{text}");
    assert_eq!(stack.upstream.count(), ran);
    Ok(())
}

#[tokio::test]
async fn bad_policy_is_refused_with_its_places_and_the_old_one_stays_in_force() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let token = stack.agent("agent-7")?;
    let good = stack.document.policy.clone();
    stack.document.policy = good.replace("decision: allow\n", "decison: allow\n");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Rejected);
    let log = stack.envoy.log();
    assert!(log.contains("configuration refused") && log.contains("did you mean `decision`"), "{log}");
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false);

    stack.document.policy = good.replace("id: reads-run", "id: reads-still-run");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    stack.envoy.access_log_line(|line| line["rule"] == "reads-still-run").await?;
    Ok(())
}

#[tokio::test]
async fn service_knows_which_policy_each_gateway_has_in_force_and_records_every_change() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let auditor = Person::auditor(&stack.service)?;
    // (snapshot, what is said of the gateways that have it) of every policy that any gateway has in force.
    let in_force = async || -> Option<(String, Value)> {
        let listed = auditor.get("/v1/policies").await.ok()?;
        let lines: Vec<&Value> = listed["policies"].as_array()?.iter().collect();
        let held: Vec<_> = lines.into_iter().filter(|line| line["in_force"] != json!([])).collect();
        let [only] = held[..] else { return None };
        Some((only["snapshot_id"].as_str()?.to_owned(), only["in_force"].clone()))
    };
    let (first, gateways) = probe::until("the gateway has reported", probe::PATIENCE, &in_force).await?;
    assert_eq!(gateways.as_array().map(Vec::len), Some(1), "one process, however many workers: {gateways}");
    assert_eq!((&gateways[0]["gateway"], &gateways[0]["plugin"]), (&json!("gateway-1"), &json!("holdpoint")));
    assert!(gateways[0]["since_ms"].as_u64() > Some(1_700_000_000_000), "{gateways}");

    let good = stack.document.policy.clone();
    stack.document.policy = good.replace("decision: deny", "decision: nay");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Rejected);
    stack.document.policy = good.replace("id: reads-run", "id: reads-still-run");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    let changed = async || in_force().await.filter(|(snapshot, _)| *snapshot != first);
    let (second, again) = probe::until("the gateway reports the new one", probe::PATIENCE, changed).await?;
    assert_eq!(again[0]["instance"], gateways[0]["instance"]);
    assert!(again[0]["sequence"].as_u64() > gateways[0]["sequence"].as_u64(), "{again}");
    let record = auditor.record().await?;
    let changes = record.iter().filter(|entry| entry["kind"] == "policy_in_force");
    let recorded: Vec<&Value> = changes.map(|entry| &entry["snapshot_id"]).collect();
    assert_eq!(recorded, [&json!(first), &json!(second)]);

    // A call under the new policy is held, approved and claimed as ever.
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &stack.agent("agent-7")?).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    assert_eq!(held.answer().await?.json()["result"]["isError"], false);
    Ok(())
}

#[test]
fn validate_mode_fails_with_every_mistake_at_its_place() -> anyhow::Result<()> {
    let key = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
    let mut document = FilterDocument::quickstart(key)?;
    let mut config = EnvoyConfig::base()?;
    config.wasm_file(wasm::module()?)?;
    config.filter_document(&document.text())?;
    let (is_content, said) = Envoy::validate(&config)?;
    assert!(is_content, "{said}");

    document.policy =
        document.policy.replace("decision: deny", "decison: deny").replace("action: admin", "action: root");
    document.identity_sources = "[{jwt: {metadata_key: jwt}}, {mtls: uri_san}]".to_owned();
    config.filter_document(&document.text())?;
    let (is_content, said) = Envoy::validate(&config)?;
    assert!(!is_content, "{said}");
    for mistake in ["did you mean `decision`", "unknown action `root`", "rule `admin-never`", "`optional: true`"] {
        let located = said.lines().find(|line| line.contains(mistake)).unwrap_or_else(|| panic!("{mistake}: {said}"));
        let place = located.split("refused: ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap_or_default();
        let is_place = place
            .split_once(':')
            .is_some_and(|(line, column)| line.parse::<u32>().is_ok() && column.parse::<u32>().is_ok());
        assert!(is_place, "line and column: {located}");
    }
    Ok(())
}

/// The text without the block that starts with `key` in the rule `writes-wait`.
fn without_block(policy: &str, key: &str) -> String {
    let mut skipping_deeper_than = None;
    let mut kept = String::new();
    for line in policy.lines() {
        let depth = line.len() - line.trim_start().len();
        match skipping_deeper_than {
            Some(limit) if depth > limit => continue,
            _ => skipping_deeper_than = None,
        }
        if line.trim() == key {
            skipping_deeper_than = Some(depth);
            continue;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept
}
