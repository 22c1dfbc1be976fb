//! Envoy dies and comes back: what people approved is not lost with it, and never runs for nobody.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{InFlight, tools_call, tools_call_modern};
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::relay::{Link, Relay};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{ports, probe, wasm};

use super::seen::{self, assert_record_verifies, runs, sentence, succeeded};

/// More than one callback may settle.
const MANY: usize = 1_000;

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

#[tokio::test]
async fn vm_that_dies_while_a_call_waits_frees_its_client_and_the_same_call_redeems_its_approval() -> anyhow::Result<()>
{
    const DIES_AT: u32 = 3;
    let (_folder, module) = wasm::crashing(DIES_AT)?;
    let stack = Stack::builder()
        .workers(1)
        .service_settings(seen::without_rate_limits)
        .hold_ms_max(2_000)
        .envoy(move |config| config.wasm_file(&module).expect("a path"))
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    let read = || tools_call("list_issues", "{}", &token);
    let held = call().begin(stack.port()).await?;
    let id = bob.pending().await?["id"].as_str().expect("id").to_owned();
    assert!(succeeded(&read().send(stack.port()).await?));
    let third = read().send(stack.port()).await;
    assert!(!third.is_ok_and(|answer| succeeded(&answer)), "a VM that dies lets nothing pass");

    let view = probe::until("nobody waits", probe::PATIENCE, async || {
        let view = bob.show(&id).await.ok()?;
        (view["holds_waiting"] == 0).then_some(view)
    })
    .await?;
    // What the VM had in its hands is nobody's: Envoy ends the stream when it has been idle for longer than a hold.
    let freed = tokio::time::timeout(probe::PATIENCE, held.answer()).await?;
    assert!(!freed.is_ok_and(|answer| succeeded(&answer)), "it did not run");
    bob.approve(&view).await?;
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    // Envoy makes a new VM for whoever comes next.
    let answer = call().send(stack.port()).await?;
    assert!(succeeded(&answer), "{}", answer.text());
    assert_eq!(stack.envoy.stat("wasm.holdpoint.vm_reload_success").await?, 1);
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    assert_eq!(bob.show(&id).await?["status"], "consumed");
    assert_record_verifies(&stack.service)
}

/// A machine that was suspended while the service answered nobody: all of them give up in one moment.
#[tokio::test]
async fn a_thousand_calls_that_give_up_in_one_moment_are_all_answered() -> anyhow::Result<()> {
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
    for number in 0..MANY {
        let call = tools_call("create_issue", &format!(r#"{{"title":"{number}"}}"#), &token);
        held.push(call.begin(stack.port()).await?);
    }
    probe::until("all wait", Duration::from_millis(OUTAGE_MS), async || {
        let waiting = stack.envoy.stat("wasmcustom.holdpoint.holds_waiting").await.ok()?;
        (waiting == u64::try_from(MANY).ok()?).then_some(())
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
    assert_no_vm_died(&stack);
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    relay.set(Link::Whole);
    assert_record_verifies(&stack.service)
}

/// A gateway whose every call waits for its entry, without a service; and so many calls that wait.
async fn waiting_for_their_entries(wait_ms_max: u64) -> anyhow::Result<(Stack, String, Vec<InFlight>)> {
    let stack = Stack::builder()
        .workers(1)
        .document(move |document| (document.audit_required, document.audit_wait_ms_max) = (true, wait_ms_max))
        .start()
        .await?;
    let token = stack.agent("agent-7")?;
    stack.service.kill();
    let mut waiting = Vec::new();
    for number in 0..MANY {
        let call = tools_call("list_issues", &format!(r#"{{"project":"{number}"}}"#), &token);
        waiting.push(call.begin(stack.port()).await?);
    }
    probe::until("all wait", Duration::from_millis(wait_ms_max), async || {
        let waiting = stack.envoy.stat("http.mcp.downstream_rq_active").await.ok()?;
        (waiting == u64::try_from(MANY).ok()?).then_some(())
    })
    .await?;
    assert_eq!(stack.upstream.count(), 0, "nothing runs without its entry");
    Ok((stack, token, waiting))
}

#[tokio::test]
async fn a_thousand_calls_whose_entries_nobody_takes_are_all_refused_in_one_moment() -> anyhow::Result<()> {
    const WAIT_MS: u64 = 15_000;
    let (mut stack, token, waiting) = waiting_for_their_entries(WAIT_MS).await?;
    stack.envoy.process().pause();
    // No wait for anything that could be asked for: the time of all of them passes.
    tokio::time::sleep(Duration::from_millis(WAIT_MS)).await;
    stack.envoy.process().resume();
    for call in waiting {
        let answer = call.answer().await?;
        assert!(sentence(&answer).contains("recorded first"), "{} {}", answer.status, answer.text());
    }
    assert_no_vm_died(&stack);
    assert_eq!(stack.upstream.count(), 0);
    stack.service.restart().await?;
    runs_again(&stack, &token).await?;
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn a_thousand_calls_whose_entries_are_taken_in_one_moment_all_run() -> anyhow::Result<()> {
    const WAIT_MS: u64 = 60_000;
    let (mut stack, token, waiting) = waiting_for_their_entries(WAIT_MS).await?;
    stack.service.restart().await?;
    for call in waiting {
        let answer = call.answer().await?;
        assert!(succeeded(&answer), "{} {}", answer.status, answer.text());
    }
    assert_no_vm_died(&stack);
    assert_eq!(runs(&stack.upstream, "list_issues"), MANY);
    runs_again(&stack, &token).await?;
    assert_record_verifies(&stack.service)
}

async fn runs_again(stack: &Stack, token: &str) -> anyhow::Result<()> {
    probe::until("calls run again", probe::PATIENCE, async || {
        let answer = tools_call("list_issues", "{}", token).send(stack.port()).await.ok()?;
        succeeded(&answer).then_some(())
    })
    .await
}

/// What one callback has Envoy carry out is carried out from within one another: without a bound the VM's stack is full.
fn assert_no_vm_died(stack: &Stack) {
    let log = stack.envoy.log();
    assert_eq!(log.lines().find(|line| line.contains("call stack size")), None, "a VM died");
}
