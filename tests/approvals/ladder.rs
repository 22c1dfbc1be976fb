//! A client that cannot wait long enough is sent away with what it needs to come back, in the words of its era.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, HttpCall, tools_call, tools_call_modern};
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Answer;
use serde_json::{Value, json};
use std::time::Duration;

const ARGUMENTS: &str = r#"{"title":"x"}"#;

fn result(answer: &HttpAnswer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["result"].clone()
}

fn state(answer: &HttpAnswer) -> String {
    let result = result(answer);
    assert_eq!(result["resultType"], "input_required", "{result}");
    assert!(result["content"].is_null() && result["isError"].is_null(), "nothing that looks like an answer: {result}");
    result["requestState"].as_str().expect("a state").to_owned()
}

/// The same call as it is sent in a later round, its id another one.
fn round(call: HttpCall, state: &str, responses: &str) -> HttpCall {
    let body = String::from_utf8(call.body_bytes()).expect("text").replace(r#""id":1"#, r#""id":2"#);
    let params = format!(r#""params":{{"requestState":{},{responses}"#, json!(state));
    HttpCall { body: holdpoint_tests::client::HttpBody::Whole(body.replace(r#""params":{"#, &params).into()), ..call }
}

/// Says that its client opens URLs for its user.
fn opening_urls(call: HttpCall) -> HttpCall {
    let body = String::from_utf8(call.body_bytes()).expect("text");
    let declared = r#"clientCapabilities":{"elicitation":{"url":{}}}"#;
    let body = body.replace(r#"clientCapabilities":{}"#, declared);
    HttpCall { body: holdpoint_tests::client::HttpBody::Whole(body.into()), ..call }
}

#[tokio::test]
async fn modern_client_comes_back_with_its_state_until_the_call_runs_as_it_was_first_sent() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(700).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call_modern("create_issue", ARGUMENTS, &token);
    let first = call().send(stack.port()).await?;
    assert!(result(&first)["inputRequests"].is_null(), "nothing that this client did not say it understands");
    let again = round(call(), &state(&first), "").send(stack.port()).await?;
    assert_ne!(state(&again), state(&first), "each round has a state of its own");
    assert_eq!(bob.ids("pending").await?.len(), 1, "and all of them one approval");
    bob.approve(&bob.pending().await?).await?;
    let ran = round(call(), &state(&again), "").send(stack.port()).await?;
    assert_eq!(result(&ran)["isError"], false, "{}", ran.text());
    let received = stack.upstream.received();
    let [only] = &received[..] else { panic!("{} messages", received.len()) };
    assert_eq!(only.json()["params"]["arguments"], json!({"title": "x"}));
    assert!(only.json()["params"]["requestState"].is_null(), "our own state stays with us");
    assert_eq!(only.header("content-length"), Some(only.body.len().to_string().as_str()));
    Ok(())
}

#[tokio::test]
async fn state_of_another_call_caller_or_making_is_refused() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(700).start().await?;
    let (alice, mallory) = (stack.agent("alice")?, stack.agent("mallory")?);
    let call = |arguments: &str, token: &str| tools_call_modern("create_issue", arguments, token);
    let given = state(&call(ARGUMENTS, &alice).send(stack.port()).await?);
    // The last digits of the token's hex, which stands between two full stops.
    let forged = given.replacen("30", "31", 1);
    let cases = [
        ("another caller", round(call(ARGUMENTS, &mallory), &given, "")),
        ("other arguments", round(call(r#"{"title":"y"}"#, &alice), &given, "")),
        ("a made-up state", round(call(ARGUMENTS, &alice), "holdpoint.dev/1.616263..", "")),
        ("a changed state", round(call(ARGUMENTS, &alice), &forged, "")),
    ];
    assert_ne!(forged, given);
    for (what, call) in cases {
        let refused = result(&call.send(stack.port()).await?);
        assert_eq!(refused["isError"], true, "{what}: {refused}");
        assert!(refused.to_string().contains("call again without it"), "{what}: {refused}");
    }
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn client_that_opens_urls_is_given_a_page_that_shows_and_cannot_decide() -> anyhow::Result<()> {
    let port = holdpoint_tests::ports::free()?;
    // Where browsers come from is for a proxy to say; here the page is fetched from the service itself.
    let stack = Stack::builder()
        .hold_ms_max(700)
        .service_argument("--public-url")
        .service_argument(&format!("http://127.0.0.1:{port}/"))
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let call = || opening_urls(tools_call_modern("create_issue", r#"{"title":"secret plan"}"#, &token));
    let first = call().send(stack.port()).await?;
    let request = result(&first)["inputRequests"]["holdpoint.dev/approval"].clone();
    assert_eq!((&request["method"], &request["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
    let url = request["params"]["url"].as_str().expect("a URL").to_owned();
    let path = url.strip_prefix(&format!("http://127.0.0.1:{port}")).expect("the public URL").to_owned();
    let page = reqwest::get(stack.service.url(&path)).await?;
    assert_eq!(page.status(), 200);
    let text = page.text().await?;
    assert!(text.contains("create_issue") && text.contains("Nothing has run"), "{text}");
    assert!(!text.contains("<form") && !text.contains("secret plan"), "no decision and no arguments: {text}");
    let cut = &path[..path.len() - 2];
    assert_eq!(reqwest::get(stack.service.url(cut)).await?.status(), 404, "nobody guesses another one");

    // The user looked at the page: that is no approval.
    let looked = r#""inputResponses":{"holdpoint.dev/approval":{"action":"accept"}},"#;
    let again = round(call(), &state(&first), looked).send(stack.port()).await?;
    let other = result(&again)["inputRequests"]["holdpoint.dev/approval"]["params"]["url"].clone();
    assert!(other.is_string() && other != json!(url), "a fresh address each time");
    assert_eq!(stack.upstream.count(), 0);
    bob.approve(&bob.pending().await?).await?;
    let ran = round(call(), &state(&again), looked).send(stack.port()).await?;
    assert_eq!(result(&ran)["isError"], false);
    assert!(stack.upstream.received()[0].json()["params"]["inputResponses"].is_null());
    Ok(())
}

/// Begins a session of 2025-11-25 whose client says this of itself; the server names it `name`.
async fn session(stack: &Stack, token: &str, name: &'static str, capabilities: Value) -> anyhow::Result<()> {
    stack.upstream.answer_with(move |message| {
        let answer = match message.json()["method"].as_str() {
            Some("initialize") => {
                let result = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}});
                let body = json!({"jsonrpc": "2.0", "id": message.json()["id"], "result": result}).to_string();
                Answer::Json { status: 200, body }.header("mcp-session-id", name)
            }
            _ => Answer::tool_result(message, "done"),
        };
        (Duration::ZERO, answer)
    });
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let opened = HttpCall::post(body).bearer(token).send(stack.port()).await?;
    assert_eq!(opened.headers["mcp-session-id"], name, "{}", opened.text());
    Ok(())
}

#[tokio::test]
async fn client_of_2025_11_25_that_opens_urls_is_shown_a_page_and_calls_again() -> anyhow::Result<()> {
    let public = format!("http://127.0.0.1:{}", holdpoint_tests::ports::free()?);
    let stack = Stack::builder().workers(2).hold_ms_max(700).service_argument("--public-url").service_argument(&public);
    let stack = stack.start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    session(&stack, &token, "opens", json!({"elicitation": {"form": {}, "url": {}}})).await?;
    let call = |session: &str, version: &str| {
        let call = tools_call("create_issue", ARGUMENTS, &token).without_header("mcp-protocol-version");
        call.header("mcp-session-id", session).header("mcp-protocol-version", version)
    };
    let mut urls = std::collections::BTreeSet::new();
    for _ in 0..2 {
        let answer = call("opens", "2025-11-25").send(stack.port()).await?;
        let error = &answer.json()["error"];
        assert_eq!((answer.status.as_u16(), &error["code"]), (200, &json!(-32042)), "{}", answer.text());
        assert!(
            answer.json()["result"].is_null()
                && error["message"].as_str().is_some_and(|said| said.contains("Not run yet"))
        );
        let elicitations = error["data"]["elicitations"].as_array().expect("a list");
        let [one] = &elicitations[..] else { panic!("{error}") };
        assert_eq!(one["mode"], "url");
        assert!(one["elicitationId"].as_str().is_some_and(|id| id.starts_with("sha256:")), "{one}");
        let url = one["url"].as_str().expect("a URL").to_owned();
        let page = reqwest::get(stack.service.url(url.strip_prefix(&public).expect("the public URL"))).await?;
        assert_eq!(page.status(), 200);
        urls.insert(url);
    }
    assert_eq!(urls.len(), 2, "a fresh address each time");

    // Who said nothing of URLs in this session, or speaks a version that has no such answer, is told in words.
    session(&stack, &token, "opens-none", json!({"elicitation": {}})).await?;
    for (session, version) in [("opens-none", "2025-11-25"), ("opens", "2025-06-18")] {
        let answer = call(session, version).send(stack.port()).await?;
        assert_eq!(result(&answer)["isError"], true, "{session} {version}: {}", answer.text());
    }
    assert_eq!(stack.upstream.received().iter().filter(|message| message.json()["method"] == "tools/call").count(), 0);

    bob.approve(&bob.pending().await?).await?;
    let ran = call("opens", "2025-11-25").send(stack.port()).await?;
    assert_eq!(result(&ran)["isError"], false, "{}", ran.text());
    Ok(())
}

#[tokio::test]
async fn after_many_rounds_and_to_older_clients_it_is_said_in_words() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(100).start().await?;
    let token = stack.agent("agent-7")?;
    let call = || tools_call_modern("create_issue", ARGUMENTS, &token);
    let mut answer = call().send(stack.port()).await?;
    let mut rounds = 1;
    while result(&answer)["resultType"] == "input_required" {
        rounds += 1;
        assert!(rounds < 10, "some clients give up for good after ten rounds");
        answer = round(call(), &state(&answer), "").send(stack.port()).await?;
    }
    assert!(rounds > 5, "{rounds}");
    assert_eq!(result(&answer)["isError"], true);
    assert!(answer.text().contains("waiting for human approval"));
    let old = result(&tools_call("create_issue", ARGUMENTS, &token).send(stack.port()).await?);
    assert_eq!(old["isError"], true, "to an older client anything else would look like success: {old}");
    Ok(())
}
