//! Envoy dies and comes back: what people approved is not lost with it, and never runs for nobody.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{tools_call, tools_call_modern};
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;

use super::seen::{self, assert_record_verifies, runs, succeeded};

#[tokio::test]
async fn envoy_restarted_mid_hold_runs_nothing_by_itself_and_the_same_call_redeems_its_approval() -> anyhow::Result<()>
{
    let mut stack = Stack::builder()
        .service_settings(seen::without_rate_limits)
        .hold_ms_max(10_000)
        .document(|document| document.outage_ms_max = 1_000)
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    // A client of 2026-07-28 may come back; to older ones a lost connection says nothing either.
    for modern in [false, true] {
        let arguments = format!(r#"{{"title":"modern {modern}"}}"#);
        let call = || match modern {
            true => tools_call_modern("create_issue", &arguments, &token),
            false => tools_call("create_issue", &arguments, &token),
        };
        let before = runs(&stack.upstream, "create_issue");
        let held = call().begin(stack.port()).await?;
        let view = bob.pending().await?;
        let id = view["id"].as_str().expect("id").to_owned();
        stack.envoy = stack.envoy.restarted().await?;
        assert!(held.answer().await.is_err(), "the connection ended with Envoy");
        let nobody = probe::until("nobody waits", probe::PATIENCE, async || {
            let view = bob.show(&id).await.ok()?;
            (view["holds_waiting"] == 0).then_some(view)
        });
        let view = nobody.await?;
        bob.approve(&view).await?;
        assert_eq!(runs(&stack.upstream, "create_issue"), before, "nobody is there to run it for");
        let answer = call().send(stack.port()).await?;
        assert!(succeeded(&answer), "{}", answer.text());
        assert_eq!(runs(&stack.upstream, "create_issue"), before + 1);
        assert_eq!(bob.show(&id).await?["status"], "consumed");
    }
    assert_record_verifies(&stack.service)
}
