//! Every refusal, on every era: never a success, never an HTTP error for a policy answer.

use holdpoint_core::decision::{Constraints, Reason, Verdict};
use holdpoint_core::digest::Digest;
use holdpoint_core::{json as strict, mcp};

use super::*;

const LEGACY: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"drop"}}"#;
const READ: &str = r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"db://x"}}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop","_meta":{
    "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},
    "io.modelcontextprotocol/clientCapabilities":{}}}}"#;

fn asked(body: &str, headers: &[(&str, &str)]) -> Asked {
    let mut all = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    all.extend(headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    let head = mcp::Head { method: b"POST", path: b"/mcp", headers: &all };
    match mcp::read(&head, body.as_bytes().to_vec(), &strict::Limits::default()) {
        Ok(message) => Asked::of(&message),
        Err(found) => panic!("{}", found.detail),
    }
}

fn modern() -> Asked {
    asked(MODERN, &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "drop")])
}

fn denied(conceal: bool) -> Refusal {
    Refusal::Denied(Box::new(Decision {
        verdict: Verdict::Deny,
        constraints: Constraints::default(),
        approval: None,
        reasons: vec![Reason { rule_id: "r".to_owned(), text: "No.".to_owned(), remediation: None }],
        conceal,
        observed: None,
        audit: None,
        snapshot_id: Digest::of(b"s"),
        basis: Digest::of(b"b"),
    }))
}

fn every_refusal() -> Vec<Refusal> {
    let id = || "appr-1".to_owned();
    let mut all = vec![
        denied(false),
        denied(true),
        Refusal::Frozen { reason: "an incident".to_owned() },
        Refusal::Pending { approval_id: id(), reason: "why".to_owned(), ran_before: None, come_back: None },
        Refusal::ApprovedButBusy { approval_id: id(), rule_id: "r".to_owned() },
        Refusal::Busy { rule_id: "r".to_owned() },
        Refusal::TooManyPending,
        Refusal::Unavailable,
        Refusal::WireApart,
        Refusal::NotRecorded,
        Refusal::LimitUnknown,
        Refusal::Unsupported("why".to_owned()),
        Refusal::OutOfTime { max_runtime_ms: 5 },
        Refusal::ServerBrokeOff,
        Refusal::ServerAway,
    ];
    for status in [ApprovalStatus::Denied, ApprovalStatus::Expired, ApprovalStatus::Revoked] {
        all.push(Refusal::NotApproved { status, approval_id: id(), reason: None, by: None });
    }
    all
}

#[test]
fn nothing_looks_like_success_and_nothing_is_an_http_error() {
    for asked in [asked(LEGACY, &[]), asked(READ, &[]), modern()] {
        for refusal in every_refusal() {
            let reply = refusal.reply(&asked);
            assert_eq!(reply.status, 200, "{refusal:?}");
            let body: Value = serde_json::from_str(&reply.body).expect("JSON");
            assert_eq!(body["jsonrpc"], "2.0");
            let says_no = body["result"]["isError"] == true || body["error"]["code"].is_i64();
            assert!(says_no, "{refusal:?}: {body}");
            assert_eq!(body["result"]["resultType"] == "complete", asked.is_modern && body["result"].is_object());
        }
    }
}

#[test]
fn the_id_comes_back_as_it_was_sent() {
    assert!(Refusal::Unavailable.reply(&asked(LEGACY, &[])).body.contains(r#""id":"a""#));
    assert!(Refusal::Unavailable.reply(&asked(READ, &[])).body.contains(r#""id":1,"#));
}

#[test]
fn a_method_that_is_no_tool_call_gets_an_error_outside_the_reserved_codes() {
    for refusal in every_refusal() {
        let body: Value = serde_json::from_str(&refusal.reply(&asked(READ, &[])).body).expect("JSON");
        let code = body["error"]["code"].as_i64().expect("a code");
        let is_concealed = code == i64::from(CODE_INVALID_PARAMS);
        assert!(is_concealed || !(-32_768..=-32_000).contains(&code), "{body}");
    }
}

#[test]
fn a_concealed_denial_says_no_more_than_a_server_that_never_heard_of_it() {
    let body = denied(true).reply(&asked(LEGACY, &[])).body;
    assert_eq!(body, r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"Unknown tool: drop"}}"#);
}
