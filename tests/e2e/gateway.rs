//! What stands around the filter, proven without it: the base configuration carries MCP traffic, believes only verified
//! tokens, and adds the service's token where no filter sees it.

use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::{APPROVAL_CLUSTER, EnvoyConfig, UPSTREAM_CLUSTER};
use holdpoint_tests::idp::{ISSUER, Idp};
use holdpoint_tests::upstream::Upstream;
use quickstart::mcp_client::{Era, McpClient, text};
use quickstart::mcp_server::McpServer;
use serde_json::json;

/// The base without the filter, in front of `upstream_port`.
fn bare(idp: &Idp, upstream_port: u16) -> anyhow::Result<EnvoyConfig> {
    let mut config = EnvoyConfig::base()?;
    config.without_filter()?;
    config.jwks(idp.jwks())?;
    config.cluster_port(UPSTREAM_CLUSTER, upstream_port)?;
    Ok(config)
}

#[tokio::test]
async fn mcp_client_works_through_envoy_with_a_verified_token() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let server = McpServer::start(0).await?;
    let envoy = Envoy::start(bare(&idp, server.port())?).await?;
    let token = idp.token("agent-7", &["dev"])?;

    for era in [Era::Legacy, Era::Modern] {
        let client = McpClient::connect(&envoy.mcp_url(), Some(&token), era).await?;
        let read = client.call("get_issue", json!({"number": 1})).await?;
        assert!(text(&read).contains("The build is broken"));
        client.close().await?;
    }
    assert_eq!(server.recorder().call_counts()["get_issue"], 2);
    assert!(envoy.stat("http.mcp.jwt_authn.allowed").await? >= 2);
    assert!(envoy.prometheus().await?.contains("envoy_http_downstream_rq_total"));
    Ok(())
}

#[tokio::test]
async fn token_of_another_key_or_issuer_is_refused_by_envoy() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let upstream = Upstream::start().await?;
    let envoy = Envoy::start(bare(&idp, upstream.port())?).await?;

    let forged = Idp::new()?.token("agent-7", &[])?;
    let elsewhere = idp.mint(idp.claims("agent-7").with("iss", "https://other.example"))?;
    let expired = idp.mint(idp.claims("agent-7").with("exp", 1_000_000_000))?;
    let for_another = idp.mint(idp.claims("agent-7").with("aud", "some-api"))?;
    for token in [forged, elsewhere, expired] {
        let answer = tools_call("get_issue", "{}", &token).send(envoy.port()).await?;
        assert_eq!(answer.status, 401);
    }
    let answer = tools_call("get_issue", "{}", &for_another).send(envoy.port()).await?;
    assert_eq!(answer.status, 403);
    assert_eq!(upstream.count(), 0);

    let good = idp.mint(idp.claims("agent-7").with("iss", ISSUER))?;
    let answer = tools_call("get_issue", "{}", &good).send(envoy.port()).await?;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["result"]["isError"], false);
    Ok(())
}

#[tokio::test]
async fn base_replaces_what_a_caller_says_about_itself() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let upstream = Upstream::start().await?;
    let envoy = Envoy::start(bare(&idp, upstream.port())?).await?;
    let token = idp.token("agent-7", &[])?;
    let call = || tools_call("get_issue", "{}", &token);

    let answer = call()
        .header("x-forwarded-client-cert", "URI=spiffe://mesh/admin")
        .header("x-request-id", "chosen-by-the-caller")
        .header("x-envoy-upstream-rq-timeout-ms", "1")
        .header("x-envoy-max-retries", "9")
        .send(envoy.port())
        .await?;
    assert_eq!(answer.status, 200);
    let received = upstream.wait_for(1).await?.remove(0);
    assert_eq!(received.header("x-forwarded-client-cert"), None);
    assert_ne!(received.header("x-request-id"), Some("chosen-by-the-caller"));
    assert_eq!(received.header("x-envoy-max-retries"), None);

    let underscore = call().header("x_actor", "admin").send(envoy.port()).await?;
    assert_eq!(underscore.status, 400);
    let mut escaped_slash = call();
    escaped_slash.path = "/mcp%2f..%2fadmin".to_owned();
    assert_eq!(escaped_slash.send(envoy.port()).await?.status, 400);
    let mut dotted = call();
    dotted.path = "/x/../mcp//".to_owned();
    assert_eq!(dotted.send(envoy.port()).await?.status, 200);
    assert_eq!(upstream.wait_for(2).await?[1].path, "/mcp/");
    Ok(())
}

#[tokio::test]
async fn bytes_trailers_and_both_http_versions_arrive_as_sent() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let upstream = Upstream::start().await?;
    let mut config = bare(&idp, upstream.port())?;
    config.cluster_speaks_http2(UPSTREAM_CLUSTER)?;
    let envoy = Envoy::start(config).await?;
    let body = b"{\"jsonrpc\" : \"2.0\",\t\"id\":1, \"method\":\"ping\"}\n".to_vec();

    HttpCall::post(body.clone()).send(envoy.port()).await?;
    HttpCall::post(body.clone()).over_http2().with_trailers(&[("x-checksum", "7")]).send(envoy.port()).await?;
    let received = upstream.wait_for(2).await?;
    assert_eq!(received[0].body, body);
    assert_eq!(received[1].body, body);
    assert!(received.iter().all(|message| message.complete));
    let trailers = received[1].trailers.clone().unwrap_or_default();
    assert_eq!(trailers["x-checksum"], "7");
    Ok(())
}

#[tokio::test]
async fn approval_cluster_carries_the_service_token_and_no_dump_shows_it() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let service = Upstream::start().await?;
    let mut config = bare(&idp, service.port())?;
    config.cluster_port(APPROVAL_CLUSTER, service.port())?;
    config.approval_token("hp-very-secret");
    // The route stands in for the filter's callouts: both go through the cluster's own filters.
    config.route()?["route"]["cluster"] = json!(APPROVAL_CLUSTER);
    let envoy = Envoy::start(config).await?;

    let answer = HttpCall::post("{}").send(envoy.port()).await?;
    assert_eq!(answer.status, 200);
    let received = service.wait_for(1).await?.remove(0);
    assert_eq!(received.header("authorization"), Some("Bearer hp-very-secret"));
    assert_eq!(received.version, hyper::Version::HTTP_2);

    let dump = envoy.admin_text("/config_dump?include_eds").await?;
    assert!(dump.contains("credential_injector"));
    assert!(!dump.contains("hp-very-secret"));
    let line = envoy.access_log_line(|line| line["path"] == "/mcp").await?;
    assert_eq!(line["status"], 200);
    Ok(())
}

#[tokio::test]
async fn client_that_leaves_is_seen_by_envoy() -> anyhow::Result<()> {
    let idp = Idp::new()?;
    let upstream = Upstream::start().await?;
    upstream.answer_with(|_| {
        let never = std::time::Duration::from_secs(3600);
        (never, holdpoint_tests::upstream::Answer::Drop)
    });
    let envoy = Envoy::start(bare(&idp, upstream.port())?).await?;
    let waiting = HttpCall::post("{}").begin(envoy.port()).await?;
    upstream.wait_for(1).await?;
    assert!(!waiting.is_answered());
    waiting.abandon();
    let line = envoy.access_log_line(|line| line["flags"] == "DC").await?;
    assert_eq!(line["details"], "downstream_remote_disconnect");
    Ok(())
}

#[tokio::test]
async fn envoy_that_cannot_start_says_why() -> anyhow::Result<()> {
    let mut config = EnvoyConfig::base()?;
    config.without_filter()?;
    config.jwks("not a key set")?;
    config.document()["static_resources"]["clusters"][0]["connect_timeout"] = json!("soon");
    let Err(error) = Envoy::start(config).await else {
        anyhow::bail!("Envoy started");
    };
    assert!(error.to_string().contains("connect_timeout"), "{error:#}");
    Ok(())
}
