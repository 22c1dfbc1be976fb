//! The MCP server breaks: the agent is told not to assume anything, and the record says `unknown`.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::ports;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::seen::{assert_record_verifies, runs, sentence};

#[tokio::test]
async fn server_that_dies_after_the_forward_leaves_an_unknown_outcome_and_no_second_run() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call("create_issue", r#"{"title":"x"}"#, &token);
    stack.upstream.answer_with(|_| (std::time::Duration::ZERO, Answer::Drop));
    let held = call().begin(stack.port()).await?;
    let view = bob.pending().await?;
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(sentence(&answer).contains("Do not assume that the call had no effect"), "{}", answer.text());
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    let auditor = Person::auditor(&stack.service)?;
    let outcome = auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    assert_eq!(outcome["outcome"], "unknown", "{outcome}");
    // The approval is used up: whether the call is to run again is asked again.
    let again = call().begin(stack.port()).await?;
    let anew = bob.pending().await?;
    assert_ne!(anew["id"], view["id"]);
    again.abandon();
    assert_eq!(runs(&stack.upstream, "create_issue"), 1);
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn server_that_is_away_is_said_to_be_and_nothing_looks_like_success() -> anyhow::Result<()> {
    let nobody = ports::free()?;
    let stack = Stack::builder().upstream_port(nobody).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let read = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    // The base's route tries a read again: of several tries only the last is known to have reached nobody.
    assert!(sentence(&read).contains("Do not assume that the call had no effect"), "{}", read.text());
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    let answer = held.answer().await?;
    assert!(sentence(&answer).contains("Not run: the server cannot be reached"), "{}", answer.text());
    let auditor = Person::auditor(&stack.service)?;
    let outcome = auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    assert_eq!(outcome["outcome"], "refused", "{outcome}");
    assert_record_verifies(&stack.service)
}

/// Takes one call, and is gone before it answers: whoever comes again finds nobody.
async fn take_one_and_go(listener: TcpListener) -> anyhow::Result<()> {
    let (mut connection, _) = listener.accept().await?;
    let mut head = [0; 1_024];
    let _bytes = connection.read(&mut head).await?;
    drop(listener);
    Ok(())
}

#[tokio::test]
async fn server_that_broke_off_and_was_away_when_envoy_tried_again_is_not_said_to_have_been_away() -> anyhow::Result<()>
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let stack = Stack::builder()
        .upstream_port(port)
        .envoy(|config| {
            config.route().expect("the route")["route"]["retry_policy"] =
                json!({"retry_on": "reset,connect-failure", "num_retries": 1});
        })
        .start()
        .await?;
    let going = tokio::spawn(take_one_and_go(listener));
    let token = stack.agent("agent-7")?;
    let read = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    going.await??;
    assert!(sentence(&read).contains("Do not assume that the call had no effect"), "{}", read.text());
    Ok(())
}
