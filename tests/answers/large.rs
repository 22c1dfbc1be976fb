//! Long answers pass in bounded memory where they need not be read, and are refused whole where they must.

use std::time::Duration;

use holdpoint_tests::client::tools_call;
use holdpoint_tests::upstream::Answer;

use crate::call::{answers_json, ask, stack};

const MIB: usize = 1 << 20;

fn result(bytes: usize) -> String {
    let text = "x".repeat(bytes);
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#)
}

/// Memory of the process in MiB, as the kernel counts it.
fn resident_mib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? / 1024)
}

#[tokio::test]
async fn fifty_mib_of_events_and_ten_of_json_pass_whole_in_bounded_memory() -> anyhow::Result<()> {
    let stack = stack().start().await?;
    let token = stack.agent("agent-7")?;
    tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    let before = resident_mib(stack.envoy.pid())?;

    let progress = format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{}\"}}}}\n\n",
        "y".repeat(MIB / 2)
    );
    let last = format!("data: {}\n\n", result(10));
    let expected = progress.len() * 100 + last.len();
    stack.upstream.answer_with(move |_| {
        let mut events = vec![(Duration::ZERO, progress.clone()); 100];
        events.push((Duration::ZERO, last.clone()));
        (Duration::ZERO, Answer::Sse { events })
    });
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.body.len(), expected);

    let long = result(10 * MIB);
    answers_json(&stack, long.clone());
    let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.body.len(), long.len());
    let grown = resident_mib(stack.envoy.pid())? - before;
    assert!(grown < 40, "50 MiB and 10 MiB went through and the gateway grew by {grown} MiB");
    Ok(())
}

#[tokio::test]
async fn answer_that_must_be_read_and_is_too_long_is_refused_and_not_cut_short() -> anyhow::Result<()> {
    let stack = stack().start().await?;
    let token = stack.agent("agent-7")?;
    let tool = format!(r#"{{"name":"get_issue","description":"{}"}}"#, "z".repeat(MIB));
    let list = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{tool},{tool}]}}}}"#);
    for as_events in [false, true] {
        let list = list.clone();
        stack.upstream.answer_with(move |_| {
            let answer = if as_events {
                Answer::Sse { events: vec![(Duration::ZERO, format!("data: {list}\n\n"))] }
            } else {
                Answer::Json { status: 200, body: list.clone() }
            };
            (Duration::ZERO, answer)
        });
        let answer = ask("tools/list", &token).send(stack.port()).await;
        let Ok(answer) = answer else { panic!("as events {as_events}: {answer:?}") };
        assert!(!answer.text().contains("get_issue"));
        let said = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains("more than 1048576 bytes"), "as events {as_events}: {said}");
    }
    Ok(())
}
