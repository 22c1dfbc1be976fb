//! What must not run does not, and the client hears why in words of its protocol.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::envoy_config::UPSTREAM_CLUSTER;
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::idp::Idp;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Upstream;
use serde_json::json;

#[tokio::test]
async fn denied_call_explains_itself_and_leaves_the_connection_usable() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    let answer = tools_call("delete_project", r#"{"name":"x"}"#, &token).send(stack.port()).await?;
    assert_eq!(answer.status, 200);
    let result = &answer.json()["result"];
    assert_eq!(result["isError"], true);
    let said = result["content"][0]["text"].as_str().expect("a sentence");
    assert!(said.contains("Projects are not deleted by agents") && said.contains("ask a person"), "{said}");
    assert_eq!(result["_meta"]["holdpoint.dev/decision"]["rule"], "admin-never");
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn tool_that_the_catalogue_does_not_name_is_denied_by_default() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let answer = tools_call("drop_database", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], true, "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn caller_without_a_verified_identity_is_refused_before_any_rule() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}}"#;
    let answer = HttpCall::post(body).send(stack.port()).await?;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    let forged = Idp::new()?.token("agent-7", &[])?;
    assert_eq!(tools_call("list_issues", "{}", &forged).send(stack.port()).await?.status, 401);
    let nobody = stack.idp.mint(stack.idp.claims("x").without("sub"))?;
    assert_eq!(tools_call("list_issues", "{}", &nobody).send(stack.port()).await?.status, 401);
    assert_eq!(stack.upstream.count(), 0);
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the refusal", |entry| entry["kind"] == "refusal").await?;
    Ok(())
}

#[tokio::test]
async fn body_that_two_parsers_could_read_differently_never_reaches_the_server() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    let bodies: &[&[u8]] = &[
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","name":"delete_project"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues","n\u0061me":"delete_project"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"delete_project","name":"list_issues"}}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}} trailing"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}},[]]"#,
        b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"list_issues\xff\"}}",
        b"",
        b"GET / HTTP/1.1",
    ];
    for body in bodies {
        let answer = HttpCall::post(*body).bearer(&token).send(stack.port()).await?;
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(body));
        assert!(answer.json()["error"]["message"].is_string(), "{}", answer.text());
    }
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_issues"}}"#;
        let call = HttpCall::post(body).without_header(name).header(name, value).bearer(&token);
        let answer = call.send(stack.port()).await?;
        assert!(answer.status.is_client_error(), "{name}: {value}: {}", answer.status);
    }
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn oversized_body_is_refused_in_the_protocols_words() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.body_bytes_max = 4_096).start().await?;
    let arguments = json!({"title": "x".repeat(5_000)}).to_string();
    let answer = tools_call("list_issues", &arguments, &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("limits.body_bytes_max"));
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn missing_envoy_flag_is_named_instead_of_hanging() -> anyhow::Result<()> {
    let stack = Stack::builder()
        .document(|document| document.body_wait_ms = 300)
        .envoy(|config| {
            let filter = config.filter_config().expect("the filter");
            filter["config"].as_object_mut().expect("an object").remove("allow_on_headers_stop_iteration");
        })
        .start()
        .await?;
    let answer = tools_call("list_issues", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("allow_on_headers_stop_iteration: true"), "{}", answer.text());
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn routes_that_say_passthrough_are_left_alone_and_only_the_boolean_says_so() -> anyhow::Result<()> {
    for (passthrough, status) in [(json!(true), 200), (json!("true"), 401)] {
        let stack = Stack::builder()
            .envoy(move |config| {
                let route = config.route().expect("the route");
                route["metadata"] = json!({"filter_metadata": {"holdpoint": {"passthrough": passthrough}}});
            })
            .start()
            .await?;
        let answer = HttpCall::post("{}").send(stack.port()).await?;
        assert_eq!(answer.status, status);
    }
    Ok(())
}

#[tokio::test]
async fn route_that_changes_after_the_judgement_reaches_no_other_server() -> anyhow::Result<()> {
    let other = Upstream::start().await?;
    let other_port = other.port();
    let bounded = "- id: reads-are-bounded\n  match: {labels: {mcp.action: read}}\n  decision: allow_with_constraints\n  \
                   reason: \"Reads are bounded\"\n  constraints: {budgets: {max_runtime_ms: 9000}}\n";
    let policy = quickstart_policy()? + bounded;
    let stack = Stack::builder()
        .policy(&policy)
        .envoy(move |config| {
            let mut elsewhere = config.cluster(UPSTREAM_CLUSTER).expect("the cluster").clone();
            elsewhere["name"] = json!("elsewhere");
            let clusters = config.document()["static_resources"]["clusters"].as_array_mut().expect("a list");
            clusters.push(elsewhere);
            config.cluster_port("elsewhere", other_port).expect("the cluster");
            let manager = config.connection_manager().expect("the manager");
            let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("a list");
            // The header with which the filter bounds a call also chooses a route.
            let mut bounded = routes[0].clone();
            bounded["match"]["headers"] = json!([{"name": "x-envoy-upstream-rq-timeout-ms", "present_match": true}]);
            bounded["route"]["cluster"] = json!("elsewhere");
            bounded["metadata"] = json!({"filter_metadata": {"holdpoint": {"server": "other"}}});
            routes.insert(0, bounded);
        })
        .start()
        .await?;
    let answer = tools_call("list_issues", "{}", &stack.agent("agent-7")?).send(stack.port()).await?;
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert_eq!((other.count(), stack.upstream.count()), (0, 0));
    Ok(())
}
