//! A list shows what its caller could ever call, and nothing else; what stays is byte for byte what the server sent.

use holdpoint_tests::stack::Stack;

use crate::call::{answers_http, answers_json, answers_stream, ask, ask_modern, stack};

/// The quickstart denies admin tools and does not know `odd`, which might be one; other resources are unlisted as well.
const LISTS: [(&str, &str, &str); 4] = [
    (
        "tools/list",
        r#"{"jsonrpc":"2.0","id":1,"result":{ "tools" : [ {"name":"delete_project"},
  {"name":"get_issue","inputSchema":{"type":"object","x":1.50},"_meta":{"\u00e9":[ ]}} , {"name":"odd"},{"name":"create_issue","annotations":{"readOnlyHint":true}} ],"nextCursor":"p2" }}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{ "tools" : [ {"name":"get_issue","inputSchema":{"type":"object","x":1.50},"_meta":{"\u00e9":[ ]}},{"name":"create_issue","annotations":{"readOnlyHint":true}} ],"nextCursor":"p2" }}"#,
    ),
    (
        "resources/list",
        r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"tracker://a","name":"a"},{"uri":"file:///etc/passwd","name":"b"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resources":[{"uri":"tracker://a","name":"a"}]}}"#,
    ),
    (
        "resources/templates/list",
        r#"{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"file:///{path}","name":"b"},{"uriTemplate":"tracker://{id}","name":"a"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"resourceTemplates":[{"uriTemplate":"tracker://{id}","name":"a"}]}}"#,
    ),
    (
        "prompts/list",
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"any"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"any"}]}}"#,
    ),
];

async fn started() -> anyhow::Result<(Stack, String)> {
    let stack = stack().start().await?;
    let token = stack.agent("agent-7")?;
    Ok((stack, token))
}

#[tokio::test]
async fn every_list_shows_only_what_could_be_called_in_json_and_in_events() -> anyhow::Result<()> {
    let (stack, token) = started().await?;
    for (method, sent, shown) in LISTS {
        answers_json(&stack, sent);
        let answer = ask(method, &token).header("accept-encoding", "gzip").send(stack.port()).await?;
        assert_eq!(answer.text(), shown, "{method}");
        let length = answer.headers.get("content-length").and_then(|value| value.to_str().ok());
        assert_eq!(length, Some(shown.len().to_string().as_str()));

        let event = |text: &str| {
            let lines: String = text.lines().map(|line| format!("data: {line}\n")).collect();
            format!(": keepalive\n\nid: 7\n{lines}\n")
        };
        answers_stream(&stack, event(sent));
        let answer = ask_modern(method, &token).send(stack.port()).await?;
        assert_eq!(answer.text(), event(shown), "{method} as events");
    }
    let accepted =
        stack.upstream.received().iter().filter(|message| message.header("accept-encoding").is_some()).count();
    assert_eq!(accepted, 0, "no server is invited to compress");
    Ok(())
}

#[tokio::test]
async fn filtered_list_is_private_to_its_caller() -> anyhow::Result<()> {
    let (stack, token) = started().await?;
    let page = |scope: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","tools":[{{"name":"get_issue"}}],"ttlMs":300000,"cacheScope":"{scope}"}}}}"#
        )
    };
    answers_json(&stack, page("public"));
    let answer = ask_modern("tools/list", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), page("private"));
    Ok(())
}

#[tokio::test]
async fn list_that_cannot_be_read_is_refused_whole() -> anyhow::Result<()> {
    let (stack, token) = started().await?;
    let list = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"delete_project"}]}}"#;
    let twice = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"delete_project"}]}}"#;
    let other_case = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[{"name":"delete_project"}]}}"#;
    for (headers, body) in [
        (&[("content-type", "application/json"), ("content-encoding", "gzip")][..], list),
        (&[("content-type", "text/event-stream"), ("content-encoding", "br")][..], list),
        (&[("content-type", "text/plain")][..], list),
        (&[][..], list),
        (&[("content-type", "application/json")][..], twice),
        (&[("content-type", "application/json")][..], other_case),
        (&[("content-type", "application/json")][..], "{\"tools\""),
    ] {
        answers_http(&stack, headers, body);
        let answer = ask("tools/list", &token).send(stack.port()).await?;
        assert!(!answer.text().contains("delete_project"), "{headers:?} {body}: {}", answer.text());
        assert!(answer.json()["error"]["message"].as_str().is_some_and(|said| said.contains("was not delivered")));
    }
    Ok(())
}

#[tokio::test]
async fn record_says_how_much_was_hidden() -> anyhow::Result<()> {
    let (stack, token) = started().await?;
    let (method, sent, _) = LISTS[0];
    answers_json(&stack, sent);
    ask(method, &token).send(stack.port()).await?;
    let auditor = holdpoint_tests::approver::Person::auditor(&stack.service)?;
    let entry = auditor.entry("the list", |entry| entry["method"] == method).await?;
    assert_eq!(entry["detail"], "2 entries hidden");
    assert_eq!(entry["answer_bytes"], sent.len());
    // Of what the caller was given.
    assert!(entry["result"]["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{entry}");
    assert!(entry["result"]["bytes"].as_u64().is_some_and(|bytes| bytes < sent.len() as u64), "{entry}");
    Ok(())
}
