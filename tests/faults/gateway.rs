//! Envoy dies and comes back: what people approved is not lost with it, and never runs for nobody.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{tools_call, tools_call_modern};
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::relay::{Link, Relay};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{ports, probe};

use super::seen::{self, assert_record_verifies, runs, sentence, succeeded};

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

/// A machine that was suspended while the service answered nobody: all of them give up in one moment.
#[tokio::test]
async fn a_thousand_calls_that_give_up_in_one_moment_are_all_answered() -> anyhow::Result<()> {
    const CALLS: usize = 1_000;
    const OUTAGE_MS: u64 = 15_000;
    let service_port = ports::free()?;
    let relay = Relay::start(service_port).await?;
    let near = relay.port();
    let stack = Stack::builder()
        .workers(1)
        .document(|document| document.outage_ms_max = OUTAGE_MS)
        .service_settings(move |service| service.port = Some(service_port))
        .envoy(move |config| config.cluster_port(APPROVAL_CLUSTER, near).expect("the cluster"))
        .start()
        .await?;
    let token = stack.agent("agent-7")?;
    relay.set(Link::Silent);
    let mut held = Vec::new();
    for number in 0..CALLS {
        let call = tools_call("create_issue", &format!(r#"{{"title":"{number}"}}"#), &token);
        held.push(call.begin(stack.port()).await?);
    }
    probe::until("all wait", Duration::from_millis(OUTAGE_MS), async || {
        let waiting = stack.envoy.stat("wasmcustom.holdpoint.holds_waiting").await.ok()?;
        (waiting == u64::try_from(CALLS).ok()?).then_some(())
    })
    .await?;
    stack.envoy.process().pause();
    // No wait for anything that could be asked for: the time of all of them passes.
    tokio::time::sleep(Duration::from_millis(OUTAGE_MS)).await;
    stack.envoy.process().resume();
    for call in held {
        let answer = call.answer().await?;
        assert!(sentence(&answer).contains("unavailable"), "{} {}", answer.status, answer.text());
    }
    let died = stack.envoy.log().lines().find(|line| line.contains("call stack size")).map(str::to_owned);
    assert_eq!(died, None, "a VM died");
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    relay.set(Link::Whole);
    assert_record_verifies(&stack.service)
}
