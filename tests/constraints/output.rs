//! `output.max_bytes`, `output.redact` and `redaction_level`: on JSON and on events, after approval too.

use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::upstream::Answer;
use holdpoint_tests::{installed, python};
use serde_json::{Value, json};

use crate::policy::{refusal, stack};

fn result(text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "result": {
        "content": [
            {"type": "text", "text": text},
            {"type": "resource", "resource": {"uri": "tracker://a", "text": text}},
        ],
        "structuredContent": {"rows": [{"note": text, "n": 1.5}]},
        "isError": false,
    }})
    .to_string()
}

#[tokio::test]
async fn configured_patterns_leave_no_string_of_any_answer() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: clean, match: {mcp: {allow_tools: [\"*_a\"]}}, decision: allow_with_constraints, \
         constraints: {output: {redact: [\"sk-live-*\", \"###-##-####\"]}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let leak = "key sk-live-abc123 of 123-45-6789";
    let clean = "key [redacted] of [redacted]";

    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: result(leak) }));
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), result(clean), "everything else byte for byte, types as they were");
    let held = tools_call("write_a", "{}", &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    assert_eq!(view["constraints"]["output"]["redact"][1], "sk-live-*", "{view}");
    bob.approve(&view).await?;
    assert_eq!(held.answer().await?.text(), result(clean), "under what the approver was shown");

    stack.upstream.answer_with(move |_| {
        let messages = [
            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "message": leak}}),
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": {"line": leak}}}),
            json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 5, "message": leak, "data": [leak]}}),
        ];
        let events = messages.iter().map(|message| (Duration::ZERO, format!("data: {message}\n\n"))).collect();
        (Duration::ZERO, Answer::Sse { events })
    });
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert!(!answer.text().contains("sk-live") && !answer.text().contains("6789"), "{}", answer.text());
    assert_eq!(answer.text().matches("[redacted]").count(), 8, "{}", answer.text());
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("what was redacted", |entry| entry["detail"] == "4 texts redacted").await?;
    Ok(())
}

#[tokio::test]
async fn answer_over_its_limit_is_not_delivered_and_not_cut_short() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: short, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {output: {max_bytes: 1000}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let long = result(&"x".repeat(2_000));
    for with_length in [true, false] {
        let long = long.clone();
        stack.upstream.answer_with(move |_| {
            let events = vec![(Duration::ZERO, format!("data: {long}\n\n"))];
            let answer = match with_length {
                true => Answer::Json { status: 200, body: long.clone() },
                false => Answer::Sse { events },
            };
            (Duration::ZERO, answer)
        });
        let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
        let said = refusal(&answer);
        assert!(said.contains("more than 1000 bytes"), "{said}");
        assert!(!answer.text().contains("xxx"));
    }
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: result("short") }));
    assert_eq!(refusal(&tools_call("read_a", "{}", &token).send(stack.port()).await?), "");
    Ok(())
}

#[tokio::test]
async fn full_redaction_leaves_the_shape_and_takes_every_text() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: blind, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {redaction_level: full}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|_| (Duration::ZERO, Answer::Json { status: 200, body: result("anything") }));
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.text(), result("[redacted]"));
    Ok(())
}

/// Keys of well-known shapes, put together here so that no scanner of repositories takes them for real ones.
fn keys() -> [String; 2] {
    [format!("ghp_{}", "16C7e42F292c6912E7710c838347Ae178B4a"), format!("AKIA{}", "IOSFODNN7EXAMPLQ")]
}

/// What a validator of other people says of a value under a schema; `None` where it cannot be installed and that may be skipped.
async fn is_valid(schema: &Value, value: &Value) -> anyhow::Result<Option<bool>> {
    let brought = tokio::task::spawn_blocking(|| python::programs("jsonschema", &["jsonschema==4.25.1"])).await?;
    let Some(programs) = installed::or_skip("the JSON Schema validator", brought)? else { return Ok(None) };
    let script = "import json, sys, jsonschema\nschema, value = json.loads(sys.argv[1])\n\
                  v = jsonschema.Draft202012Validator(schema)\nv.check_schema(schema)\nprint(v.is_valid(value))";
    let output = Command::new(programs.join("python"))
        .args(["-c", script, &json!([schema, value]).to_string()])
        .output()
        .context("the validator")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(Some(String::from_utf8_lossy(&output.stdout).trim() == "True"))
}

#[tokio::test]
async fn redaction_of_secrets_takes_keys_and_leaves_a_result_that_satisfies_its_schema() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: no-keys, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {redaction_level: secrets}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let [github, amazon] = keys();
    let schema = json!({
        "type": "object", "required": ["rows", "total", "ok"], "additionalProperties": false,
        "properties": {
            "rows": {"type": "array", "minItems": 2, "items": {
                "type": "object", "required": ["note", "n"], "additionalProperties": false,
                "properties": {"note": {"type": "string", "minLength": 1}, "n": {"type": "number"}}}},
            "total": {"type": "integer"}, "ok": {"type": "boolean"},
        },
    });
    let structured = json!({"rows": [{"note": format!("use {github}"), "n": 1.5}, {"note": "plain", "n": 2}],
                            "total": 2, "ok": true});
    let text = json!({"jsonrpc": "2.0", "id": 1, "result": {
        "content": [{"type": "text", "text": format!("id {amazon} and {github}, 12 of 12")}],
        "structuredContent": structured, "isError": false,
    }})
    .to_string();
    let sent = text.clone();
    for streamed in [false, true] {
        let sent = sent.clone();
        stack.upstream.answer_with(move |_| {
            let events = vec![(Duration::ZERO, format!("data: {sent}\n\n"))];
            let json = Answer::Json { status: 200, body: sent.clone() };
            (Duration::ZERO, if streamed { Answer::Sse { events } } else { json })
        });
        let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
        let said = answer.text();
        assert!(!said.contains(&github) && !said.contains(&amazon), "{said}");
        assert!(said.contains("12 of 12") && said.contains("plain"), "nothing else is taken: {said}");
        let answer: Value = serde_json::from_str(said.trim_start_matches("data: ").trim())?;
        let redacted = &answer["result"]["structuredContent"];
        assert_ne!(*redacted, structured);
        if let Some(valid) = is_valid(&schema, redacted).await? {
            assert!(valid, "{redacted}");
            assert_eq!(
                is_valid(&schema, &json!({"rows": "[redacted]"})).await?,
                Some(false),
                "the validator validates"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn result_of_a_task_is_redacted_when_it_is_fetched_later_and_on_another_worker() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: tasks, match: {topics: job.mcp.task}, decision: allow}\n\
         - {id: clean, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
           constraints: {output: {redact: [\"sk-live-*\"]}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    stack.upstream.answer_with(|message| {
        let message = message.json();
        let name = message["params"]["name"].as_str().unwrap_or_default();
        let result = match message["method"].as_str() {
            Some("tools/call") => json!({"task": {"taskId": format!("task-{name}"), "status": "working"}}),
            _ => json!({"content": [{"type": "text", "text": "key sk-live-1"}]}),
        };
        let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
        (Duration::ZERO, Answer::Json { status: 200, body })
    });
    let post = |method: &str, params: &Value| {
        HttpCall::post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string())
            .header("mcp-protocol-version", "2025-11-25")
            .bearer(&token)
    };
    for tool in ["read_a", "read_b"] {
        let began = post("tools/call", &json!({"name": tool, "arguments": {}, "task": {"ttl": 60_000}}));
        let began = began.send(stack.port()).await?;
        assert!(began.text().contains(&format!("task-{tool}")), "{}", began.text());
        for _ in 0..8 {
            let fetched = post("tasks/result", &json!({"taskId": format!("task-{tool}")})).send(stack.port()).await?;
            let is_clean = fetched.text().contains("key [redacted]");
            assert_eq!(is_clean, tool == "read_a", "{tool}: {}", fetched.text());
        }
    }
    // Nobody saw that one begin.
    let fetched = post("tasks/result", &json!({"taskId": "task-of-old"})).send(stack.port()).await?;
    assert!(fetched.text().contains("key [redacted]"), "{}", fetched.text());
    Ok(())
}

#[tokio::test]
async fn list_is_filtered_and_redacted_in_one_answer() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: lists, match: {topics: job.mcp.list}, decision: allow_with_constraints, \
         constraints: {output: {redact: [\"sk-live-*\"]}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let tool = |name: &str| json!({"name": name, "description": "with sk-live-1", "inputSchema": {"type": "object"}});
    let listed =
        json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [tool("read_a"), tool("drop_all"), tool("read_b")]}});
    let body = listed.to_string();
    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 200, body: body.clone() }));
    let list = HttpCall::post(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).bearer(&token);
    let answer = list.send(stack.port()).await?.json();
    let tools = answer["result"]["tools"].as_array().context("tools")?;
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["read_a", "read_b"]);
    assert!(tools.iter().all(|tool| tool["description"] == "with [redacted]"), "{answer}");
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("both", |entry| entry["detail"] == "1 entries hidden, 2 texts redacted").await?;
    Ok(())
}

#[tokio::test]
async fn error_answers_are_redacted_and_bounded_like_any_other() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: clean, match: {mcp: {allow_tools: [read_a]}}, decision: allow_with_constraints, \
         constraints: {output: {redact: [\"sk-live-*\"]}}}\n\
         - {id: short, match: {mcp: {allow_tools: [read_b]}}, decision: allow_with_constraints, \
         constraints: {output: {max_bytes: 300}}}",
    )
    .start()
    .await?;
    let token = stack.agent("agent-7")?;
    let leak = format!("<h1>Oops</h1> sk-live-abc {}", "x".repeat(2_000));
    for content_type in [Some("text/plain"), Some("text/html; charset=utf-8"), Some("application/octet-stream"), None] {
        for status in [400, 401, 404, 500, 503] {
            let headers = content_type.map(|of| ("content-type", of.to_owned())).into_iter();
            let headers: Vec<_> = headers.chain([("www-authenticate", "Bearer realm=\"t\"".to_owned())]).collect();
            let body = bytes::Bytes::from(leak.clone());
            stack.upstream.answer_with(move |_| {
                let answer = Box::new(Answer::Http { headers: headers.clone(), body: body.clone() });
                (Duration::ZERO, Answer::Status { status, answer })
            });
            let clean = tools_call("read_a", "{}", &token).send(stack.port()).await?;
            assert_eq!(clean.status, status, "the client needs the status to act on it");
            assert_eq!(clean.headers["www-authenticate"], "Bearer realm=\"t\"", "and what goes with it");
            assert!(!clean.text().contains("sk-live") && !clean.text().contains("Oops"), "{}", clean.text());
            assert!(clean.text().contains("was not delivered"), "{}", clean.text());
            let short = tools_call("read_b", "{}", &token).send(stack.port()).await?;
            assert!(!short.text().contains("xxx"), "{status} {content_type:?}: {} bytes", short.text().len());
        }
    }
    // JSON is read whatever the status.
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 5, "message": "no sk-live-9"}}).to_string();
    stack.upstream.answer_with(move |_| (Duration::ZERO, Answer::Json { status: 500, body: error.clone() }));
    let answer = tools_call("read_a", "{}", &token).send(stack.port()).await?;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["error"]["message"], "no [redacted]");
    Ok(())
}
