//! Arrays of messages: each read as if it had come alone, all of them or none.

use super::*;

fn posted(headers: Headers<'_>, body: &str) -> Result<Vec<McpMessage>, Malformed> {
    let mut all = pairs(&[(":authority", "mcp.example"), ("content-type", "application/json")]);
    all.extend(pairs(headers));
    let head = Head { method: b"POST", path: b"/mcp", headers: &all };
    read_posted(&head, body.as_bytes().to_vec(), &Limits::default()).map(|posted| match posted {
        Posted::One(one) => vec![*one],
        Posted::Batch(all) => all,
    })
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#;

#[test]
fn each_message_of_a_batch_is_read_by_itself() {
    let body = format!(
        r#"[{CALL}, {{"jsonrpc":"2.0","id":"1","method":"tools/list"}},{{"jsonrpc":"2.0","method":"notifications/initialized"}}]"#
    );
    for headers in [&[][..], &[("mcp-protocol-version", "2025-03-26"), ("mcp-session-id", "s")]] {
        let messages = posted(headers, &body).unwrap();
        let methods: Vec<_> = messages.iter().map(|message| message.method().as_str()).collect();
        assert_eq!(methods, ["tools/call", "tools/list", "notifications/initialized"]);
        assert!(messages.iter().all(|message| message.era() == Era::V2025_03_26));
        assert_eq!(messages[0].target().name(), Some("t"));
    }
    let responses = r#"[{"jsonrpc":"2.0","id":1,"result":{}},{"jsonrpc":"2.0","id":2,"error":{"code":1}}]"#;
    assert!(posted(&[], responses).unwrap().iter().all(|message| message.kind() == MessageKind::Response));
}

#[test]
fn batch_with_one_wrong_message_is_refused_whole() {
    let many = vec![CALL; BATCH_MESSAGES_MAX + 1].join(",");
    let meta = request("tools/call", &format!(r#"{{"name":"t",{META}}}"#));
    for (headers, body, expected) in [
        (&[][..], "[]".to_owned(), "1 to 32 messages"),
        (&[], format!("[{many}]"), "1 to 32 messages"),
        (&[("mcp-protocol-version", "2025-06-18")], format!("[{CALL}]"), "no batches"),
        (&[("mcp-protocol-version", "2026-07-28")], format!("[{CALL}]"), "no batches"),
        (&[], format!("[{CALL},{CALL}]"), "the same `id`"),
        (&[], format!("[{CALL},[]]"), "message 2 of the batch: a message is an object"),
        (&[], format!("[{meta}]"), "message 1 of the batch"),
        (
            &[],
            format!("[{CALL},{}]", request("initialize", r#"{"protocolVersion":"x"}"#).replace(":1,", ":2,")),
            "never part",
        ),
        (&[], format!(r#"[{CALL},{{"jsonrpc":"2.0","id":2,"result":{{}}}}]"#), "not both"),
        (&[], r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}]"#.to_owned(), "message 1 of the batch: "),
        (
            &[],
            r#"[{"jsonrpc":"2.0","id":"\u0031","method":"ping"},{"jsonrpc":"2.0","id":"1","method":"ping"}]"#
                .to_owned(),
            "the same `id`",
        ),
        (
            &[("mcp-method", "tools/call")],
            format!(r#"[{CALL},{{"jsonrpc":"2.0","id":2,"method":"ping"}}]"#),
            "mcp-method",
        ),
    ] {
        let error = posted(headers, &body).expect_err(&body);
        assert!(error.detail.contains(expected) && error.status == 400 && error.id.is_none(), "{body}: {error:?}");
    }
}
