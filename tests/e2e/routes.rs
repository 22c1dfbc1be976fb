//! Several servers behind one listener: each call is judged as one of the server that it reaches, however it is spelled.

use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::envoy_config::{EnvoyConfig, UPSTREAM_CLUSTER};
use holdpoint_tests::filter_document::quickstart_policy;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::upstream::Upstream;
use serde_json::{Value, json};

/// A second server, `wiki`, whose one tool may be called.
const WIKI: &str = "  wiki:\n    match: {route_metadata: wiki}\n    tools:\n      delete_project: {action: read}\nrules:\n\
                    - id: wiki-reads\n  match: {labels: {mcp.action: read}, mcp: {allow_servers: [wiki]}}\n  decision: allow\n";

fn policy() -> anyhow::Result<String> {
    let policy = quickstart_policy()?;
    let (before, after) = policy.split_once("rules:\n").expect("rules");
    Ok(format!("{before}{WIKI}{after}"))
}

fn add_cluster(config: &mut EnvoyConfig, name: &str, port: u16) {
    let mut cluster = config.cluster(UPSTREAM_CLUSTER).expect("the cluster").clone();
    cluster["name"] = json!(name);
    config.document()["static_resources"]["clusters"].as_array_mut().expect("a list").push(cluster);
    config.cluster_port(name, port).expect("the cluster");
}

/// `/wiki` is the wiki, `/open` is let through, the host `wiki.example` is the wiki everywhere; all else is the tracker.
fn add_routes(config: &mut EnvoyConfig) {
    let rbac = config
        .http_filters()
        .expect("the filters")
        .iter_mut()
        .find(|filter| filter["name"] == "envoy.filters.http.rbac");
    let policies = &mut rbac.expect("the guard")["typed_config"]["rules"]["policies"];
    let mut wiki_policy = policies["tracker"].clone();
    wiki_policy["permissions"][0]["sourced_metadata"]["metadata_matcher"]["value"]["string_match"]["exact"] =
        json!("wiki");
    wiki_policy["principals"][0]["filter_state"]["string_match"]["exact"] = json!("wiki");
    policies["wiki"] = wiki_policy;
    let routed = |config: &mut EnvoyConfig, prefix: &str, cluster: &str, metadata: Value| {
        let mut route = config.route().expect("the route").clone();
        route["name"] = json!(cluster);
        route["match"] = json!({"prefix": prefix});
        route["route"]["cluster"] = json!(cluster);
        route["metadata"] = json!({"filter_metadata": {"holdpoint": metadata}});
        config.routes().expect("the routes").insert(0, route);
    };
    routed(config, "/wiki", "wiki", json!({"server": "wiki"}));
    routed(config, "/open", "open", json!({"passthrough": true}));
}

#[tokio::test]
async fn each_call_is_judged_as_one_of_the_server_that_it_reaches() -> anyhow::Result<()> {
    let (wiki, open) = (Upstream::start().await?, Upstream::start().await?);
    let (wiki_port, open_port) = (wiki.port(), open.port());
    let stack = Stack::builder()
        .policy(&policy()?)
        .envoy(move |config| {
            add_cluster(config, "wiki", wiki_port);
            add_cluster(config, "open", open_port);
            add_routes(config);
        })
        .start()
        .await?;
    let token = stack.agent("agent-7")?;
    let call = |path: &str| {
        let mut call = tools_call("delete_project", "{}", &token);
        path.clone_into(&mut call.path);
        call
    };
    // What the tracker denies, the wiki allows: the same words to another server are another call.
    let answer = call("/wiki/mcp").send(stack.port()).await?;
    assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    assert_eq!((wiki.count(), stack.upstream.count()), (1, 0));

    // However it is spelled, nothing reaches the tracker by the rules of the wiki or by those of an open route.
    for path in [
        "/mcp",
        "/wiki/../mcp",
        "/wiki/%2e%2e/mcp",
        "/open/..//mcp",
        "/open/.%2e/mcp",
        "/WIKI/mcp",
        "/%77iki%2fmcp",
        "//mcp",
        "/open%2f..%2fmcp",
        "/./mcp?a=/open/",
        "/mcp;/open/",
        "/mcp#/open/",
    ] {
        let answer = call(path).header("x-envoy-original-path", "/open").send(stack.port()).await;
        if let Ok(answer) = answer {
            let is_refused = answer.status.is_client_error() || answer.json()["result"]["isError"] == true;
            assert!(is_refused || answer.json()["result"]["isError"] == false && stack.upstream.count() == 0, "{path}");
        }
        assert_eq!(stack.upstream.count(), 0, "{path}");
    }
    for host in ["open", "wiki.example", "tracker@open", "127.0.0.1:1"] {
        let answer = call("/mcp").header("host", host).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], true, "{host}: {}", answer.text());
    }
    assert_eq!(stack.upstream.count(), 0);
    Ok(())
}

#[tokio::test]
async fn mcp_on_a_passthrough_route_is_let_through_and_counted() -> anyhow::Result<()> {
    let open = Upstream::start().await?;
    let open_port = open.port();
    let stack = Stack::builder()
        .policy(&policy()?)
        .envoy(move |config| {
            add_cluster(config, "wiki", open_port);
            add_cluster(config, "open", open_port);
            add_routes(config);
        })
        .start()
        .await?;
    let at = |mut call: HttpCall, path: &str| {
        path.clone_into(&mut call.path);
        call
    };
    at(HttpCall::bodiless("GET").without_header("accept"), "/open/health").send(stack.port()).await?;
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.passthrough_mcp_total").await?, 0);
    at(HttpCall::post("{}"), "/open/mcp").send(stack.port()).await?;
    // The oldest transport is somebody else's there.
    at(HttpCall::bodiless("GET").header("mcp-protocol-version", "2024-11-05"), "/open/sse").send(stack.port()).await?;
    assert_eq!(open.count(), 3);
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.passthrough_mcp_total").await?, 2);
    assert_eq!(stack.envoy.stat("wasmcustom.holdpoint.passthrough_total").await?, 3);
    Ok(())
}
