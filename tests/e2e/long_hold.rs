//! A hold in real time, longer than the timers that usually cut a quiet request short.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::Stack;

/// Longer than the 60 s of most clients' and 75 s of many load balancers' patience.
const HELD: Duration = Duration::from_secs(78);

#[tokio::test]
async fn hold_of_more_than_75_seconds_ends_in_the_servers_answer() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(120_000).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"patience"}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    // Not a wait for something to happen: the time itself is what is tested.
    tokio::time::sleep(HELD).await;
    assert!(!held.is_answered());
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    assert!(answer.elapsed > HELD);
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}
