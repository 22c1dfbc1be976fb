//! What a mesh's users ask of an approval, line by line: each test is one line of that list, on a real Envoy.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call};
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::envoy_config::{EnvoyConfig, ROUTE_GUARD};
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

use crate::gateway::{Gateway, Reviewer};

fn sentence(answer: &HttpAnswer) -> String {
    let answer = answer.json();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().expect("a sentence").to_owned()
}

fn succeeded(answer: &HttpAnswer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"] == false
}

/// A second server behind the same gateway, on its own path and with its own route guard.
fn with_archive(config: &mut EnvoyConfig) -> anyhow::Result<()> {
    let manager = config.connection_manager()?;
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
    let mut archive = routes[0].clone();
    archive["name"] = json!("archive");
    archive["match"] = json!({"prefix": "/archive"});
    archive["metadata"]["filter_metadata"]["holdpoint"]["server"] = json!("archive");
    routes.insert(0, archive);
    let filters = manager["http_filters"].as_array_mut().expect("filters");
    let guard = filters.iter_mut().find(|filter| filter["name"] == ROUTE_GUARD).expect("the route guard");
    let policies = &mut guard["typed_config"]["rules"]["policies"];
    let archive = policies["tracker"].to_string().replace("\"tracker\"", "\"archive\"");
    policies["archive"] = serde_json::from_str(&archive)?;
    Ok(())
}

#[tokio::test]
async fn grant_is_bound_to_caller_server_tool_and_arguments() -> anyhow::Result<()> {
    let policy = quickstart_policy()?.replace("allow_servers: [tracker]", "allow_servers: [tracker, archive]").replace(
        "servers:\n",
        "servers:\n  archive:\n    tools:\n      create_issue: {action: write, risk_tags: [prod]}\n",
    );
    let stack = Stack::builder()
        .policy(&policy)
        .hold_ms_max(700)
        .envoy(|config| with_archive(config).expect("a second server"))
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let arguments = r#"{"title":"a","priority":1}"#;
    let granted = || tools_call("create_issue", arguments, &alice);
    granted().send(stack.port()).await?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;

    let at = |path: &str, call: HttpCall| HttpCall { path: path.to_owned(), ..call };
    let others = [
        ("caller", tools_call("create_issue", arguments, &mallory)),
        ("server", at("/archive", granted())),
        ("path", at("/mcp?tenant=other", granted())),
        ("tool", tools_call("close_issue", arguments, &alice)),
        ("arguments", tools_call("create_issue", r#"{"title":"b","priority":1}"#, &alice)),
        ("the spelling of a number", tools_call("create_issue", r#"{"title":"a","priority":1.0}"#, &alice)),
        ("one more argument", tools_call("create_issue", r#"{"title":"a","priority":1,"force":true}"#, &alice)),
    ];
    let total = others.len();
    for (what, call) in others {
        let said = sentence(&call.send(stack.port()).await?);
        assert!(said.contains("waiting for human approval"), "another {what}: {said}");
    }
    assert_eq!(stack.upstream.count(), 0, "a grant for one call lets no other run");
    assert_eq!(bob.ids("pending").await?.len(), total, "each of them asks for itself");
    assert!(succeeded(&granted().send(stack.port()).await?));
    assert_eq!(stack.upstream.count(), 1);
    let auditor = Person::auditor(&stack.service)?;
    let claim = auditor.entry("the claim", |entry| entry["kind"] == "claim").await?;
    for bound in ["principal", "server", "target", "call_digest", "snapshot_id", "basis"] {
        assert!(!claim[bound].is_null(), "the record of the use names its {bound}: {claim}");
    }
    Ok(())
}

#[tokio::test]
async fn changed_digest_is_rejected_in_review_and_in_claim() -> anyhow::Result<()> {
    let service = holdpoint_tests::service::Service::start().await?;
    let gateway = Gateway::new(&service).await?;
    let alice = Reviewer::new(&service, "alice", &["sre"])?;
    let opened = gateway.open(&Gateway::asked(1, "x")).await?;
    let other = Gateway::asked(2, "y")["call_digest"].clone();
    let (status, body) = alice.review(&opened, &json!({"verdict": "approve", "call_digest": other})).await?;
    assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("digest-changed")));
    alice.approve(&opened).await?;
    let mut changed = opened.clone();
    changed["call_digest"] = other;
    let (status, body) = gateway.claim(&changed, 1, 7).await?;
    assert_eq!((status.as_u16(), body["code"].as_str()), (409, Some("digest-changed")));
    assert!(gateway.claim(&opened, 1, 7).await?.0.is_success(), "what was approved is still good");
    Ok(())
}

#[tokio::test]
async fn changed_policy_goes_back_to_approval() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let first = bob.pending().await?;

    stack.document.policy = stack.document.policy.replace("A person looks at every change", "Two eyes on each change");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    bob.approve(&first).await?;
    let id = first["id"].as_str().expect("id");
    bob.until_status(id, "superseded").await?;
    let anew = bob.pending().await?;
    assert_ne!(anew["id"], first["id"]);
    assert_ne!(anew["snapshot_id"], first["snapshot_id"]);
    assert_eq!(anew["call_digest"], first["call_digest"], "the same call, asked anew");
    assert_eq!((stack.upstream.count(), held.is_answered()), (0, false));
    bob.approve(&anew).await?;
    assert!(succeeded(&held.answer().await?));
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn unrelated_policy_change_voids_nothing() -> anyhow::Result<()> {
    let mut stack = Stack::builder().policy_by_discovery().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    stack.document.policy = stack.document.policy.replace("Projects are not deleted by agents", "Never by agents");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    bob.approve(&view).await?;
    assert!(succeeded(&held.answer().await?), "another rule changed, not this call's");
    let auditor = Person::auditor(&stack.service)?;
    let claim = auditor.entry("the claim", |entry| entry["kind"] == "claim").await?;
    assert_ne!(claim["snapshot_id"], view["snapshot_id"], "both snapshots are on record");
    assert_eq!(claim["basis"], view["basis"]);
    Ok(())
}

#[tokio::test]
async fn expiry_goes_back_to_approval_and_is_no_denial() -> anyhow::Result<()> {
    let policy = quickstart_policy()?
        .replace("decide_within_ms: 900000", "decide_within_ms: 1000")
        .replace("claim_within_ms: 300000", "claim_within_ms: 1000");
    let stack = Stack::builder().policy(&policy).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    let said = sentence(&call().send(stack.port()).await?);
    assert!(said.contains("nobody decided") && said.contains("Repeat the same call"), "{said}");
    let expired = bob.ids("expired").await?;
    let [first] = &expired[..] else { panic!("{expired:?}") };
    let late = bob.approve(&bob.show(first).await?).await.expect_err("too late").to_string();
    assert!(late.contains("410"), "{late}");

    // Asked anew and approved, but the client has left: the grant lapses, and that too goes back to people.
    let held = call().begin(stack.port()).await?;
    let second = bob.pending().await?;
    assert_ne!(second["id"], json!(first));
    held.abandon();
    bob.approve(&second).await?;
    bob.until_status(second["id"].as_str().expect("id"), "lapsed").await?;
    let held = call().begin(stack.port()).await?;
    let third = bob.pending().await?;
    assert!(third["id"] != second["id"] && !held.is_answered());
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn timeout_leaves_a_denial_event_that_names_the_original_decision() -> anyhow::Result<()> {
    let policy = quickstart_policy()?.replace("decide_within_ms: 900000", "decide_within_ms: 1000");
    let stack = Stack::builder().policy(&policy).start().await?;
    let token = stack.agent("agent-7")?;
    let answer = tools_call("create_issue", r#"{"title":"x"}"#, &token).send(stack.port()).await?;
    let shown = &answer.json()["result"]["_meta"]["holdpoint.dev/decision"];
    assert_eq!(shown["status"], "approval_expired");
    let auditor = Person::auditor(&stack.service)?;
    let of = |kind: &'static str| move |entry: &Value| entry["kind"] == kind;
    let opened = auditor.entry("the opening", of("approval_opened")).await?;
    let closed = auditor.entry("the ending", of("approval_closed")).await?;
    auditor.entry("the end of the hold", of("hold_ended")).await?;
    let decision = auditor.entry("the decision", |entry| entry["verdict"] == "require_approval").await?;
    assert_eq!(closed["status"], "expired");
    assert_eq!(closed["approval_id"], shown["approval_id"], "the agent was told the same id");
    for fact in ["approval_id", "call_digest", "snapshot_id", "basis", "rule_ids", "principal"] {
        assert_eq!(closed[fact], opened[fact], "{fact}");
    }
    assert_eq!(decision["call_digest"], closed["call_digest"], "and the filter's own decision is the same one");
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
