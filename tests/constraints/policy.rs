//! The policy under attack: one rule for each limit, each on a tool of its own.

use holdpoint_tests::client::HttpAnswer;
use holdpoint_tests::stack::{Stack, StackBuilder};
use serde_json::Value;

const POLICY: &str = r#"version: "2026-01-27"
servers:
  tracker:
    match: {route_metadata: tracker}
    tools:
      "read_*": {action: read}
      "write_*": {action: write}
    resources: {"tracker://**": {action: read}}
    prompts: {"*": {action: read}}
rules:
- id: reads-run
  match: {labels: {mcp.action: read}, mcp: {allow_servers: [tracker]}}
  decision: allow
- id: writes-wait
  match: {labels: {mcp.action: write}}
  decision: require_approval
  approval: {approvers: {all_of: [{group: sre, min: 1}]}}
"#;

/// The policy with these rules (a YAML list) beside those that allow reads and hold writes.
pub(crate) fn with_rules(rules: &str) -> String {
    format!("{POLICY}{rules}\n")
}

/// Two workers under that policy.
pub(crate) fn stack(rules: &str) -> StackBuilder {
    Stack::builder().policy(&with_rules(rules)).workers(2)
}

/// The sentence of an `isError` tool result; empty for a success.
pub(crate) fn refusal(answer: &HttpAnswer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    match answer["result"]["isError"].as_bool() {
        Some(true) => answer["result"]["content"][0]["text"].as_str().expect("a sentence").to_owned(),
        Some(false) => String::new(),
        None => panic!("no tool result: {answer}"),
    }
}

/// Names of the tools that reached the server.
pub(crate) fn reached(stack: &Stack) -> Vec<String> {
    let name = |message: Value| message["params"]["name"].as_str().unwrap_or_default().to_owned();
    stack.upstream.received().iter().map(|message| name(message.json())).collect()
}
