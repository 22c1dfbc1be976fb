//! The inventory as traffic fills it, and as the service gives it out.

use holdpoint_tests::approver::Person;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

use crate::server::{BAD, GOOD, RUN, Tools, create, definition, list, message, policy, stack};

/// Waits until the service's view of the tracker is so.
async fn until(stack: &Stack, what: &str, is_so: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    let auditor = Person::auditor(&stack.service)?;
    probe::until(what, probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        is_so(&view).then_some(view)
    })
    .await
}

fn item<'v>(view: &'v Value, name: &str) -> &'v Value {
    let items = view["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().find(|item| item["name"] == name).unwrap_or(&Value::Null)
}

fn has_drift(view: &Value, name: &str, change: &str) -> bool {
    let drift = view["drift"].as_array().map(Vec::as_slice).unwrap_or_default();
    drift.iter().any(|one| one["name"] == name && one["change"] == change)
}

async fn started() -> anyhow::Result<(Stack, Tools, String)> {
    let pin = format!(", definition: {{digest: \"{}\", on_unseen: allow}}", definition(GOOD));
    let (stack, tools) = stack(&policy(&pin, RUN)).await?;
    let token = stack.agent("agent-7")?;
    Ok((stack, tools, token))
}

#[tokio::test]
async fn traffic_fills_the_inventory_and_every_change_shows() -> anyhow::Result<()> {
    let (stack, tools, token) = started().await?;
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}});
    message(hello, &token).send(stack.port()).await?;
    list(&stack, &token).await?;
    until(&stack, "tools and version", |view| view["introductions"][0]["version"] == "7.1" && view["tools"] == 2)
        .await?;
    create(&stack, &token).await?;
    create(&stack, &token).await?;
    let view = until(&stack, "who called what", |view| {
        let callers = view["callers"].as_array().map(Vec::as_slice).unwrap_or_default();
        callers.iter().any(|row| row["target"] == "create_issue" && row["calls"] == 2)
    })
    .await?;
    assert_eq!(view["introduced"]["name"], "tracker-server");
    assert_eq!(view["introduced"]["capabilities"], json!(["tools"]));
    assert_eq!(view["callers"][0]["subject"], "agent-7");
    assert_eq!(item(&view, "create_issue")["definition"], definition(GOOD).to_string());

    tools.set(json!([{"name": "create_issue", "description": BAD}, {"name": "odd", "description": "?"}]));
    list(&stack, &token).await?;
    let view = until(&stack, "what changed", |view| {
        has_drift(view, "create_issue", "changed")
            && has_drift(view, "odd", "new")
            && has_drift(view, "list_issues", "removed")
    })
    .await?;
    assert_eq!(item(&view, "list_issues")["is_removed"], true);
    let auditor = Person::auditor(&stack.service)?;
    let kept = auditor.get("/v1/inventory/servers/tracker/definitions?kind=tool&name=create_issue").await?;
    let texts: Vec<&str> =
        kept["definitions"].as_array().into_iter().flatten().filter_map(|row| row["text"].as_str()).collect();
    assert!(texts.len() == 2 && texts[0].contains(BAD) && texts[1].contains(GOOD), "{kept}");
    // Which policy is in force is reported every few seconds.
    let view =
        until(&stack, "what the policy says of them", |view| !item(view, "odd")["is_classified"].is_null()).await?;
    assert_eq!(
        (&item(&view, "odd")["is_classified"], &item(&view, "create_issue")["is_classified"]),
        (&json!(false), &json!(true))
    );
    assert_eq!((&view["unclassified"], &view["changed"]), (&json!(1), &json!(1)));
    let all = auditor.get("/v1/inventory/servers").await?;
    assert_eq!((&all["servers"][0]["server"], &all["servers"][0]["changed"]), (&json!("tracker"), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn what_was_seen_while_the_service_was_away_is_told_when_it_is_back() -> anyhow::Result<()> {
    let (mut stack, _, token) = started().await?;
    stack.service.kill();
    list(&stack, &token).await?;
    stack.service.restart().await?;
    until(&stack, "the list", |view| view["tools"] == 2).await?;
    Ok(())
}
