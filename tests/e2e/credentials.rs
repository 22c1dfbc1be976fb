//! A caller's credentials stay at the gateway unless the catalogue forwards them on purpose, and must carry its scopes.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::stack::Stack;
use serde_json::Value;

/// The quickstart's policy, with more said of its server.
fn policy(credential: &str, tools: &[(&str, &str)]) -> anyhow::Result<String> {
    let server = "match: {route_metadata: tracker}";
    let mut policy = quickstart_policy()?.replace(server, &format!("{server}\n    credential: {credential}"));
    for (tool, more) in tools {
        let entry = format!("{tool}: {{action: ");
        assert!(policy.contains(&entry), "the quickstart has `{tool}`");
        policy = policy.replace(&entry, &format!("{tool}: {{credential: {more}, action: "));
    }
    Ok(policy)
}

fn with_secrets(call: HttpCall) -> HttpCall {
    call.header("cookie", "session=marker-cookie").header("x-api-key", "marker-key")
}

#[tokio::test]
async fn server_sees_no_credentials_of_its_callers_by_default() -> anyhow::Result<()> {
    let stack = Stack::builder().policy(&policy("{headers: [x-api-key]}", &[])?).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    with_secrets(tools_call("list_issues", "{}", &token)).send(stack.port()).await?;
    let held = with_secrets(tools_call("create_issue", "{}", &token)).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    held.answer().await?;
    let received = stack.upstream.received();
    assert_eq!(received.len(), 2, "one allowed, one approved");
    for message in &received {
        for name in ["authorization", "cookie", "x-api-key"] {
            assert!(!message.headers.contains_key(name), "{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn credentials_that_the_catalogue_forwards_reach_the_server_and_nothing_else_keeps_them() -> anyhow::Result<()> {
    let text = policy("{forward: true, headers: [x-api-key]}", &[("get_issue", "{forward: false}")])?;
    let stack = Stack::builder().policy(&text).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let bearer = format!("Bearer {token}");
    with_secrets(tools_call("list_issues", "{}", &token)).send(stack.port()).await?;
    let held = with_secrets(tools_call("create_issue", "{}", &token)).begin(stack.port()).await?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;
    held.answer().await?;
    with_secrets(tools_call("get_issue", "{}", &token)).send(stack.port()).await?;
    let received = stack.upstream.received();
    let [read, write, kept] = &received[..] else { panic!("{} messages", received.len()) };
    for message in [read, write] {
        assert_eq!(message.header("authorization"), Some(bearer.as_str()));
        assert_eq!(message.header("x-api-key"), Some("marker-key"));
        assert_eq!(message.header("cookie"), None, "cookies only when they are named");
    }
    assert_eq!((kept.header("authorization"), kept.header("x-api-key")), (None, None), "this tool keeps them");

    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    let kept_words = Value::from(auditor.record().await?).to_string() + &view.to_string() + &stack.envoy.log();
    for secret in [token.as_str(), "marker-key", "marker-cookie"] {
        assert!(!kept_words.contains(secret));
    }
    Ok(())
}

#[tokio::test]
async fn token_without_the_scopes_is_told_all_that_it_lacks_and_nothing_runs() -> anyhow::Result<()> {
    let tools = [("create_issue", "{required_scopes: [issues.write, issues.audit]}")];
    let stack = Stack::builder().policy(&policy("{required_scopes: [tracker]}", &tools)?).start().await?;
    let scoped = |scope: &str| stack.idp.mint(stack.idp.claims("agent-7").with("scope", scope));
    let plain = scoped("tracker")?;
    let answer = tools_call("list_issues", "{}", &plain).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());

    let answer = tools_call("create_issue", "{}", &plain).send(stack.port()).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["result"]["isError"], true);
    let said = answer.json()["result"]["content"][0]["text"].as_str().expect("a sentence").to_owned();
    assert!(said.contains("`issues.audit`, `issues.write`") && !said.contains("`tracker`:"), "{said}");
    let list = HttpCall::post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).bearer(&scoped("other")?);
    let answer = list.send(stack.port()).await?;
    let error = answer.json()["error"]["message"].as_str().expect("a JSON-RPC error").to_owned();
    assert!(answer.status == 200 && error.contains("`tracker`"), "{error}");

    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the denial", |entry| entry["rule_ids"][0] == "required_scopes").await?;
    assert_eq!(auditor.ids("pending").await?, Vec::<String>::new(), "people are not asked in vain");
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}
