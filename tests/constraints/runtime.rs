//! `max_runtime_ms`: a call is ended when its time is over, whether its server is silent, dribbles JSON or streams.

use std::time::Duration;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;
use holdpoint_tests::upstream::Answer;

use crate::policy::{refusal, stack};

const QUICK: &str = "- {id: quick, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
                     constraints: {budgets: {max_runtime_ms: 1000}}}";

const FOREVER: Duration = Duration::from_secs(25);

#[tokio::test]
async fn slow_server_is_cut_off_and_the_agent_is_told() -> anyhow::Result<()> {
    let stack = stack(QUICK).start().await?;
    let token = stack.agent("agent-7")?;
    let progress = || "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n".to_owned();
    let late = || "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[],\"isError\":false}}\n\n".to_owned();
    type Script = Box<dyn Fn() -> (Duration, Answer) + Send + Sync>;
    let silent: Script = Box::new(|| (FOREVER, Answer::Drop));
    let head_only: Script = Box::new(move || (Duration::ZERO, Answer::Sse { events: vec![(FOREVER, late())] }));
    let keeps_sending: Script =
        Box::new(move || (Duration::ZERO, Answer::Sse { events: vec![(Duration::from_millis(100), progress()); 100] }));
    for (what, script) in [("silent", silent), ("head only", head_only), ("keeps sending", keeps_sending)] {
        stack.upstream.answer_with(move |message| match message.json()["method"].as_str() {
            Some("tools/call") => script(),
            _ => (Duration::ZERO, Answer::Json { status: 202, body: String::new() }),
        });
        let before = stack.upstream.count();
        let answer = tools_call("read_a", "{}", &token).send(stack.port()).await;
        // The server of an older era is told as well: to it a closed connection means nothing.
        let cancelled = probe::until("the server is told", probe::PATIENCE, async || {
            let received = stack.upstream.received();
            let new = received.iter().skip(before).map(|message| message.json());
            new.into_iter().find(|message| message["method"] == "notifications/cancelled")
        });
        assert_eq!(cancelled.await?["params"]["requestId"], 1, "{what}");
        match answer {
            Ok(answer) => assert!(refusal(&answer).contains("Ended after 1000 ms"), "{what}: {}", answer.text()),
            // The last event had left before the stream was closed; this client asks for a proper end.
            Err(error) => assert_eq!(what, "keeps sending", "{error:#}"),
        }
    }
    let auditor = Person::auditor(&stack.service)?;
    let entry = auditor.entry("a call without outcome", |entry| entry["outcome"] == "unknown").await?;
    assert!(entry["detail"].as_str().is_some_and(|text| text.contains("Ended after 1000 ms")), "{entry}");
    assert!(entry["constraints"].as_str().is_some_and(|text| text == "at most 1000 ms (rule `quick`)"), "{entry}");
    Ok(())
}

#[tokio::test]
async fn call_whose_client_has_left_is_ended_at_its_server_when_its_time_is_over() -> anyhow::Result<()> {
    let stack = stack(QUICK).start().await?;
    let token = stack.agent("agent-7")?;
    for answers in ["nothing yet", "a stream"] {
        stack.upstream.answer_with(move |message| match (message.json()["method"].as_str(), answers) {
            (Some("tools/call"), "a stream") => {
                let working = ": working\n\n".to_owned();
                (Duration::ZERO, Answer::Sse { events: vec![(Duration::ZERO, working.clone()), (FOREVER, working)] })
            }
            (Some("tools/call"), _) => (FOREVER, Answer::Drop),
            _ => (Duration::ZERO, Answer::Json { status: 202, body: String::new() }),
        });
        let before = stack.upstream.count();
        let call = tools_call("read_a", "{}", &token).begin(stack.port()).await?;
        stack.upstream.wait_for(before + 1).await?;
        call.abandon();
        let told = probe::until("the server is told", probe::PATIENCE, async || {
            let new = stack.upstream.received().into_iter().skip(before + 1).map(|message| message.json());
            new.into_iter().find(|message| message["method"] == "notifications/cancelled")
        });
        assert_eq!(told.await?["params"]["requestId"], 1, "{answers}");
    }
    Ok(())
}
