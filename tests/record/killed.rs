//! Service, Envoy (SIGKILL) and filter VMs (a trap) die under load: what was acknowledged is there, and losses show.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdpoint_core::trace_parent::{UPSTREAM_SPAN, span_below};
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::{Stack, StackBuilder};
use holdpoint_tests::{probe, wasm};
use serde_json::Value;

use super::desk;

/// Agents that call until they are told to stop; how many calls were answered by the server.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    agents: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(port: u16, token: &str, agents: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let call = |_| {
            let (stop, answered, token) = (Arc::clone(&stop), Arc::clone(&answered), token.to_owned());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(answer) = tools_call("list_issues", "{}", &token).send(port).await else { continue };
                    if answer.status == 200 && answer.json()["result"]["isError"] == false {
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let agents = (0..agents).map(call).collect();
        Self { stop, answered, agents }
    }

    async fn until_answered(&self, more: usize) -> anyhow::Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        probe::until("calls are answered", probe::PATIENCE, async || {
            (self.answered.load(Ordering::Relaxed) >= before + more).then_some(())
        })
        .await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for agent in self.agents {
            agent.await?;
        }
        Ok(())
    }
}

fn required() -> StackBuilder {
    Stack::builder().document(|document| document.audit_required = true).workers(2)
}

/// The whole record.
async fn record(auditor: &Person) -> anyhow::Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let path = match all.len() {
            0 => "/v1/audit?limit=1000".to_owned(),
            count => format!("/v1/audit?limit=1000&after={}", count - 1),
        };
        let page = auditor.get(&path).await?;
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        if entries.is_empty() {
            return Ok(all);
        }
        all.extend(entries.into_iter().map(|numbered| numbered["entry"].clone()));
    }
}

/// Every call that reached the server is in the record by its span.
fn assert_all_recorded(stack: &Stack, record: &[Value]) {
    let recorded: std::collections::BTreeSet<String> = record
        .iter()
        .filter(|entry| entry["kind"] == "decision")
        .filter_map(|entry| entry["span_id"].as_str())
        .map(|span| span_below(span, UPSTREAM_SPAN))
        .collect();
    let received = stack.upstream.received();
    assert!(!received.is_empty());
    for message in received {
        let trace = message.header("traceparent").expect("a trace").to_owned();
        let span = trace.split('-').nth(2).expect("a span");
        assert!(recorded.contains(span), "a call ran without a record: {trace}");
    }
}

#[tokio::test]
async fn service_killed_under_load_has_every_call_that_ran_and_verifies() -> anyhow::Result<()> {
    let mut stack = required().start().await?;
    let load = Load::begin(stack.port(), &stack.agent("agent-7")?, 8);
    for _ in 0..3 {
        load.until_answered(40).await?;
        stack.service.kill();
        stack.service.restart().await?;
    }
    load.until_answered(40).await?;
    load.end().await?;
    let auditor = Person::auditor(&stack.service)?;
    assert_all_recorded(&stack, &record(&auditor).await?);
    stack.service.kill();
    let verified = desk::verify(&stack.service.data_dir(), &[])?;
    assert!(verified.is_whole, "{:?}", verified.findings);
    Ok(())
}

#[tokio::test]
async fn envoy_killed_under_load_leaves_every_call_that_ran_and_a_visible_new_beginning() -> anyhow::Result<()> {
    let mut stack = required().start().await?;
    let auditor = Person::auditor(&stack.service)?;
    let load = Load::begin(stack.port(), &stack.agent("agent-7")?, 8);
    load.until_answered(60).await?;
    stack.envoy.process().kill();
    load.end().await?;
    assert_all_recorded(&stack, &record(&auditor).await?);
    let began = |record: &[Value]| {
        let began = record.iter().filter(|entry| entry["kind"] == "source_began");
        began.filter_map(|entry| entry["source"].as_str().map(str::to_owned)).collect::<std::collections::BTreeSet<_>>()
    };
    let before = began(&record(&auditor).await?);
    assert!(!before.is_empty(), "each worker says that it began");
    stack.envoy = stack.envoy.restarted().await?;
    probe::until("the new workers say that they began", probe::PATIENCE, async || {
        (began(&record(&auditor).await.ok()?).len() > before.len()).then_some(())
    })
    .await?;
    let answer = tools_call("list_issues", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    stack.service.kill();
    let verified = desk::verify(&stack.service.data_dir(), &[])?;
    assert!(verified.is_whole, "{:?}", verified.findings);
    Ok(())
}

#[tokio::test]
async fn filter_vms_that_die_under_load_leave_every_call_that_ran_and_a_visible_new_beginning_each()
-> anyhow::Result<()> {
    let (_folder, module) = wasm::crashing(60)?;
    // What waits in a VM that died hangs until the stream has been idle for too long: no longer than a hold and a margin.
    let stack =
        required().hold_ms_max(500).envoy(move |config| config.wasm_file(&module).expect("a path")).start().await?;
    let load = Load::begin(stack.port(), &stack.agent("agent-7")?, 8);
    load.until_answered(400).await?;
    load.end().await?;
    let auditor = Person::auditor(&stack.service)?;
    let record = record(&auditor).await?;
    assert_all_recorded(&stack, &record);
    let sources = |kind: &str| -> std::collections::BTreeSet<&str> {
        record.iter().filter(|entry| entry["kind"] == kind).filter_map(|entry| entry["source"].as_str()).collect()
    };
    let began = sources("source_began");
    assert!(began.len() >= 4, "two workers, and several lives of each: {began:?}");
    // Whoever reads an entry finds where its VM began: what stands between two beginnings may lack its end.
    let reported = sources("decision");
    assert!(reported.is_subset(&began), "{reported:?} {began:?}");
    stack.service.kill();
    let verified = desk::verify(&stack.service.data_dir(), &[])?;
    assert!(verified.is_whole, "{:?}", verified.findings);
    Ok(())
}
