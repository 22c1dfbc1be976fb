//! The wall clock of the service's machine steps, while calls wait: what has expired stays so, nothing runs unapproved,
//! and the record still verifies.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::{Stack, StackBuilder};
use holdpoint_tests::wall_clock::WallClock;

use super::seen::{assert_record_verifies, runs, succeeded};

const HOUR_S: i64 = 3_600;
/// Longer than any request or grant of the quickstart's policy lives.
const DAY_S: i64 = 24 * HOUR_S;

fn stack_on(clock: &WallClock) -> anyhow::Result<StackBuilder> {
    let environment = clock.environment()?;
    Ok(Stack::builder()
        .service_settings(|service| service.environment = environment)
        .document(|document| document.leg_ms_max = 1_000))
}

#[tokio::test]
async fn clock_that_jumps_ahead_ends_what_waits_and_goes_on_with_what_is_new() -> anyhow::Result<()> {
    let clock = WallClock::new()?;
    let stack = stack_on(&clock)?.start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"before"}"#, &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    let id = view["id"].as_str().expect("id").to_owned();
    clock.set_ahead_s(DAY_S)?;
    bob.until_status(&id, "expired").await?;
    assert!(bob.approve(&view).await.is_err(), "what has expired cannot be approved");
    assert!(!succeeded(&held.answer().await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);

    let held = tools_call("create_issue", r#"{"title":"after"}"#, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    // And the true time comes back, as when somebody mends the machine.
    clock.set_ahead_s(0)?;
    let held = tools_call("create_issue", r#"{"title":"mended"}"#, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    assert_eq!(bob.show(&id).await?["status"], "expired", "what has expired stays so");
    assert_eq!(runs(&stack.upstream, "create_issue"), 2);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn clock_that_steps_back_runs_nothing_unapproved_and_nothing_twice() -> anyhow::Result<()> {
    let clock = WallClock::new()?;
    let stack = stack_on(&clock)?.start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    let held = call().begin(stack.port()).await?;
    let view = bob.pending().await?;
    clock.set_ahead_s(-HOUR_S)?;
    bob.approve(&view).await?;
    // What the service signs now is an hour old to Envoy, whose clock is right: it believes none of it.
    let answer = held.answer().await?;
    assert!(!succeeded(&answer), "{}", answer.text());
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    clock.set_ahead_s(0)?;
    let held = call().begin(stack.port()).await?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    // The approval is used up, whatever the clock says.
    let again = call().begin(stack.port()).await?;
    let anew = bob.pending().await?;
    assert_ne!(anew["id"], view["id"]);
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    bob.deny(&anew, "once is enough").await?;
    assert!(!succeeded(&again.answer().await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    assert_record_verifies(&stack.service)
}
