//! Clients that leave, dawdle or ask without end: bounded, cleaned up, and no burden to anybody else.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{InFlight, tools_call, tools_call_modern};
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::json;

use super::seen::{self, assert_record_verifies, runs, sentence, succeeded};

#[tokio::test]
async fn a_thousand_clients_that_leave_at_random_leave_nothing_behind_and_run_nothing() -> anyhow::Result<()> {
    const CLIENTS: usize = 1_000;
    const PRINCIPALS: usize = 20;
    let stack = Stack::builder()
        .workers(2)
        .service_settings(seen::without_rate_limits)
        .hold_ms_max(10_000)
        .document(|document| (document.leg_ms_max, document.outage_ms_max) = (2_000, 2_000))
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let tokens: Vec<String> =
        (0..PRINCIPALS).map(|number| stack.agent(&format!("agent-{number}"))).collect::<anyhow::Result<_>>()?;
    let port = stack.port();
    let leaving = (0..CLIENTS).map(|number| {
        let (arguments, token) = (format!(r#"{{"title":"{number}"}}"#), tokens[number % PRINCIPALS].clone());
        tokio::spawn(async move {
            let call = match number % 2 {
                0 => tools_call("create_issue", &arguments, &token),
                _ => tools_call_modern("create_issue", &arguments, &token),
            };
            let held = call.begin(port).await?;
            // A few milliseconds to two seconds: before the request is open, while it is, in the midst of a poll.
            let patience_ms = u64::try_from(number * 7_919 % 2_000)?;
            tokio::time::sleep(Duration::from_millis(patience_ms)).await;
            held.abandon();
            anyhow::Ok(())
        })
    });
    for client in leaving.collect::<Vec<_>>() {
        client.await??;
    }
    probe::until("no call waits in Envoy", probe::PATIENCE, async || {
        (stack.envoy.stat("wasmcustom.holdpoint.holds_waiting").await.ok()? == 0).then_some(())
    })
    .await?;
    // Whoever may still come back is waited for; approve all of it: nobody is there, so nothing runs.
    for id in bob.ids("pending").await? {
        let view = probe::until("nobody waits for it", probe::PATIENCE, async || {
            let view = bob.show(&id).await.ok()?;
            (view["holds_waiting"] == 0).then_some(view)
        })
        .await?;
        // It may be withdrawn at this moment.
        let _ = bob.approve(&view).await;
    }
    assert!(succeeded(&tools_call("list_issues", "{}", &tokens[0]).send(port).await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), 0);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn one_principal_without_end_has_a_bounded_number_of_requests_and_hinders_nobody() -> anyhow::Result<()> {
    const PENDING_MAX: usize = 10;
    const CALLS: usize = 60;
    let stack = Stack::builder()
        .service_argument("--pending-per-principal-max")
        .service_argument(&PENDING_MAX.to_string())
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let (mallory, alice) = (stack.agent("mallory")?, stack.agent("alice")?);
    let mut held = Vec::new();
    for number in 0..CALLS {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        held.push(tools_call("create_issue", &arguments, &mallory).begin(stack.port()).await?);
    }
    probe::until("the surplus is answered at once", probe::PATIENCE, async || {
        (held.iter().filter(|call| call.is_answered()).count() == CALLS - PENDING_MAX).then_some(())
    })
    .await?;
    assert_eq!(bob.ids("pending").await?.len(), PENDING_MAX);
    let (answered, waiting): (Vec<_>, Vec<_>) = held.into_iter().partition(|call| call.is_answered());
    for call in answered {
        let answer = call.answer().await?;
        assert!(!succeeded(&answer) && !sentence(&answer).is_empty(), "{}", answer.text());
    }
    let other = tools_call("create_issue", r#"{"title":"alice"}"#, &alice).begin(stack.port()).await?;
    let ids = bob.wait_for("pending", PENDING_MAX + 1).await?;
    bob.approve(&bob.show(&ids[0]).await?).await?;
    assert!(succeeded(&other.answer().await?), "the newest request is hers");
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    for call in waiting {
        call.abandon();
    }
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn calls_beyond_what_a_process_may_hold_are_told_pending_at_once_and_lose_nothing() -> anyhow::Result<()> {
    const HOLDS_MAX: usize = 4;
    let limit = u64::try_from(HOLDS_MAX)?;
    let stack = Stack::builder().workers(1).document(move |document| document.holds_max = limit).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let mut held = Vec::new();
    for number in 0..HOLDS_MAX {
        let arguments = format!(r#"{{"title":"{number}"}}"#);
        held.push(tools_call("create_issue", &arguments, &token).begin(stack.port()).await?);
    }
    bob.wait_for("pending", HOLDS_MAX).await?;
    let call = || tools_call("create_issue", r#"{"title":"one more"}"#, &token);
    let answer = call().send(stack.port()).await?;
    assert!(!succeeded(&answer) && !sentence(&answer).is_empty(), "{}", answer.text());
    assert!(held.iter().all(|call| !call.is_answered()), "those that wait go on waiting");
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    for id in bob.ids("pending").await? {
        bob.approve(&bob.show(&id).await?).await?;
    }
    for call in held {
        assert!(succeeded(&call.answer().await?));
    }
    assert!(runs(&stack.upstream, "create_issue") >= HOLDS_MAX);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn bodies_that_dawdle_are_given_up_and_others_are_served_meanwhile() -> anyhow::Result<()> {
    const DAWDLERS: usize = 60;
    // As in the base, only sooner. Each body would take a minute.
    let stack = Stack::builder()
        .workers(1)
        .envoy(|config| config.connection_manager().expect("the connection manager")["request_timeout"] = json!("3s"))
        .start()
        .await?;
    let token = stack.agent("agent-7")?;
    let mut dawdling = Vec::new();
    for _ in 0..DAWDLERS {
        let call = tools_call("list_issues", "{}", &token).in_pieces(1, Duration::from_millis(700));
        dawdling.push(call.begin(stack.port()).await?);
    }
    for _ in 0..20 {
        assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    }
    probe::until("Envoy has let go of all of them", probe::PATIENCE, async || {
        (stack.envoy.stat("http.mcp.downstream_rq_active").await.ok()? == 0).then_some(())
    })
    .await?;
    assert_eq!(
        stack.envoy.stat("http.mcp.downstream_rq_timeout").await?,
        u64::try_from(DAWDLERS)?,
        "and not they of it"
    );
    dawdling.into_iter().for_each(InFlight::abandon);
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    assert_eq!(runs(&stack.upstream, "list_issues"), 21);
    Ok(())
}
