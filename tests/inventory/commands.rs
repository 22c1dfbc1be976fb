//! `holdpoint inventory` against a gateway that has seen something.

use holdpoint_tests::approver::Person;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

use crate::server::{BAD, GOOD, RUN, definition, list, policy, stack};

/// Runs `holdpoint inventory …`; what it printed, and whether it exited with 0.
fn inventory(stack: &Stack, token: &str, words: &[&str]) -> anyhow::Result<(String, bool)> {
    let url = stack.service.url("");
    let mut all = vec!["inventory"];
    all.extend(words);
    all.extend(["--server", url.as_str(), "--token", token]);
    let output = std::process::Command::new(holdpoint_tests::service_binary::holdpoint()?).args(&all).output()?;
    let printed = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.stderr.is_empty(), "{all:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok((printed, output.status.success()))
}

#[tokio::test]
async fn commands_print_what_was_seen_and_the_policy_that_follows_from_it() -> anyhow::Result<()> {
    let pin = format!(", definition: {{digest: \"{}\", on_unseen: allow}}", definition(GOOD));
    let (stack, tools) = stack(&policy(&pin, RUN)).await?;
    let agent = stack.agent("agent-7")?;
    list(&stack, &agent).await?;
    let auditor = Person::auditor(&stack.service)?;
    // Each worker tells of its lists by itself: what comes after a change is to be told after it.
    probe::until("the first list is known", probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        view["items"].as_array()?.iter().any(|item| item["name"] == "list_issues").then_some(())
    })
    .await?;
    tools.set(json!([{"name": "create_issue", "description": BAD}, {"name": "odd", "description": "?"}]));
    list(&stack, &agent).await?;
    probe::until("both lists are known", probe::PATIENCE, async || {
        let view = auditor.get("/v1/inventory/servers/tracker").await.ok()?;
        let items = view["items"].as_array()?;
        let odd = items.iter().find(|item| item["name"] == "odd")?;
        (odd["is_classified"] == false && view["changed"] == 1).then_some(())
    })
    .await?;
    let token = stack.service.token("auditor", "ann", &[])?;
    let run = |words: &[&str]| inventory(&stack, &token, words);

    let (all, _) = run(&["list"])?;
    assert!(all.starts_with("tracker  2 tools, 0 resources, 0 prompts  1 unclassified  1 not as pinned"), "{all}");
    let (shown, _) = run(&["show", "tracker"])?;
    assert!(shown.contains("! tool create_issue") && shown.contains("? tool odd"), "{shown}");
    assert!(shown.contains("tool list_issues") && shown.contains("no longer listed"), "{shown}");

    let (compared, same) = run(&["diff", "tracker", "create_issue"])?;
    assert!(!same && compared.contains(&format!("-  \"description\": \"{GOOD}\"")), "{compared}");
    assert!(compared.contains(&format!("+  \"description\": \"{BAD}\"")), "{compared}");
    let (compared, same) = run(&["diff", "tracker", "odd"])?;
    assert!(same && compared.contains("one definition"), "{compared}");

    let (pins, _) = run(&["pin", "tracker", "create_issue"])?;
    assert!(pins.contains(&format!("definition: \"{}\"", definition(BAD))), "{pins}");
    let (proposed, _) = run(&["classify", "tracker", "--pin"])?;
    assert!(proposed.contains("\"odd\": {action: write, definition: \"sha256:"), "{proposed}");
    assert!(!proposed.contains("create_issue"), "it is classified: {proposed}");
    let (one, _) = run(&["pin", "tracker", "create_issue", "--output", "json"])?;
    let one: Value = serde_json::from_str(&one)?;
    assert_eq!(one["definition"], definition(BAD).to_string());
    Ok(())
}
