//! A policy changes under calls that are held: they are judged again at release; a bad policy changes nothing.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::stack::Stack;

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
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    assert!(!held.is_answered(), "the update drops no held call");
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    let text = answer.json()["result"]["content"][0]["text"].to_string();
    assert!(text.contains("Denied by policy rule `writes-wait`"), "{text}");
    assert_eq!(stack.upstream.count(), 0);
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
