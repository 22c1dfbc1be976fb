//! A batch of 2025-03-26 reaches the server whole, byte for byte, or not at all.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::HttpCall;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::json;
use std::time::Duration;

fn batch(tools: &[&str]) -> String {
    let calls = tools.iter().enumerate().map(|(id, tool)| {
        format!(r#" {{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
    });
    format!("[{}]", calls.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn batch_that_may_run_reaches_the_server_as_it_was_sent() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let answers =
        json!([{"jsonrpc": "2.0", "id": 0, "result": {}}, {"jsonrpc": "2.0", "id": 1, "result": {}}]).to_string();
    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: answers.clone() }));
    let body = batch(&["list_issues", "get_issue"]);
    let answer = HttpCall::post(body.clone()).bearer(&stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json().as_array().map(Vec::len), Some(2), "{}", answer.text());
    assert_eq!(stack.upstream.received()[0].body, body.as_bytes());
    let auditor = Person::auditor(&stack.service)?;
    for tool in ["list_issues", "get_issue"] {
        auditor.entry("each message", |entry| entry["target"] == tool && entry["outcome"] == "committed").await?;
    }
    Ok(())
}

#[tokio::test]
async fn batch_with_one_call_that_may_not_run_reaches_no_server() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    for (tool, said) in
        [("delete_project", "Projects are not deleted by agents"), ("create_issue", "send it by itself")]
    {
        let answer = HttpCall::post(batch(&["list_issues", tool])).bearer(&token).send(stack.port()).await?;
        assert_eq!(answer.status, 200);
        let answers = answer.json();
        let told =
            |index: usize| answers[index]["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
        assert!(told(0).contains("another message of the same batch") && told(1).contains(said), "{answers}");
        assert!((0..2).all(|index| answers[index]["id"] == index && answers[index]["result"]["isError"] == true));
    }
    let later = HttpCall::post(batch(&["list_issues"])).header("mcp-protocol-version", "2025-06-18").bearer(&token);
    assert_eq!(later.send(stack.port()).await?.status, 400, "later versions have no batches");
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
