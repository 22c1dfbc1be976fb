//! However a message is framed, it is judged whole before anything of it reaches the server.

use std::time::Duration;

use holdpoint_tests::client::{HttpCall, send_raw, tools_call};
use holdpoint_tests::stack::Stack;

const DENIED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_project","arguments":{}}}"#;
const ALLOWED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","arguments":{}}}"#;

#[tokio::test]
async fn trailers_end_a_body_and_smuggle_nothing_past_the_judgement() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    let denied = HttpCall::post(DENIED).bearer(&token).over_http2().with_trailers(&[("x-late", "1")]);
    let answer = denied.send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    let allowed = HttpCall::post(ALLOWED).bearer(&token).over_http2().with_trailers(&[("x-late", "1")]);
    let answer = allowed.send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    assert_eq!(stack.upstream.received()[0].body, ALLOWED.as_bytes());
    let gated = ALLOWED.replace("list_issues", "create_issue");
    let gated = HttpCall::post(gated).bearer(&token).over_http2().with_trailers(&[("x-late", "1")]);
    let answer = gated.send(stack.port()).await?;
    assert!(answer.text().contains("must not carry trailers"), "{}", answer.text());
    assert_eq!(stack.upstream.count(), 1);
    Ok(())
}

#[tokio::test]
async fn body_in_one_byte_pieces_is_judged_whole() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    for (body, reaches) in [(DENIED, 0), (ALLOWED, 1)] {
        let answer =
            HttpCall::post(body).bearer(&token).in_pieces(1, Duration::from_millis(1)).send(stack.port()).await?;
        assert_eq!(answer.status, 200);
        assert_eq!(stack.upstream.count(), reaches);
    }
    assert_eq!(stack.upstream.received()[0].body, ALLOWED.as_bytes());
    Ok(())
}

#[tokio::test]
async fn header_bytes_that_are_not_text_do_not_hurt_the_vm() -> anyhow::Result<()> {
    let stack = Stack::builder().workers(1).start().await?;
    let token = stack.agent("agent-7")?;
    let odd = tools_call("list_issues", "{}", &token).header("x-odd", b"a\xff\xfeb");
    let answer = odd.send(stack.port()).await?;
    assert_eq!(answer.status, 200);
    let mut raw = format!(
        "POST /mcp HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\nx-odd: ",
        DENIED.len()
    )
    .into_bytes();
    raw.extend_from_slice(b"\x80\xfe\r\n\r\n");
    raw.extend_from_slice(DENIED.as_bytes());
    send_raw(stack.port(), &raw, Duration::from_secs(5)).await?;
    // The one worker's VM is the same as before.
    assert_eq!(tools_call("list_issues", "{}", &token).send(stack.port()).await?.status, 200);
    assert_eq!(stack.envoy.stat("wasm.holdpoint.vm_reload_success").await?, 0);
    Ok(())
}

#[tokio::test]
async fn messages_by_another_method_than_post_reach_no_server() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    for method in ["GET", "DELETE", "PUT", "OPTIONS"] {
        let mut call = HttpCall::post(ALLOWED).bearer(&token);
        call.method = method.to_owned();
        let status = call.send(stack.port()).await?.status;
        assert!(status.is_client_error(), "{method}: {status}");
    }
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}
