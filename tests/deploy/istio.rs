//! Istio: the rendered `EnvoyFilter`, applied to what istiod makes of a gateway and of a sidecar, and run.

use anyhow::ensure;
use holdpoint_core::yaml;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::ports;
use holdpoint_tests::tls::Authority;
use serde_json::{Value, json};

use crate::mesh::{self, apply};
use crate::rig::Rig;
use crate::schema;

const GATEWAY: [&str; 6] = ["-n", "mcp", "--workload", "istio=mcp-gateway", "--host", "tracker=tracker.example:80"];
const SIDECAR: [&str; 8] =
    ["-n", "tools", "--workload", "app=tracker", "--context", "sidecar", "--host", "tracker=8080"];
const SERVICE: &str = "spiffe://cluster.local/ns/holdpoint/sa/holdpoint";

fn resource(text: &str) -> anyhow::Result<Value> {
    let node = yaml::read(text, &yaml::Limits::default()).map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(yaml::to_json(&node))
}

#[tokio::test]
async fn rendered_filter_governs_a_gateway_and_a_sidecar() -> anyhow::Result<()> {
    for (is_gateway, words) in [(true, &GATEWAY[..]), (false, &SIDECAR[..])] {
        let rig = Rig::start().await?;
        let text = rig.render("istio", words)?;
        rig.check(&text)?;
        let resource = resource(&text)?;
        schema::accepts("istio-envoyfilter.yaml", &resource)?;
        let proxy = mesh::proxy(is_gateway, 0, rig.upstream.port());
        let patched = apply(&resource, proxy)?.without_control_plane(rig.dir.path(), None)?;
        let retries = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/\
                       routes/0/route/retry_policy/retry_on";
        ensure!(patched.pointer(retries) == Some(&json!("connect-failure,refused-stream")), "Istio's retries are gone");
        let config = rig.with_token(EnvoyConfig::of_document(patched)?)?;
        let (content, said) = Envoy::validate(&config)?;
        ensure!(content, "{said}");
        let envoy = Envoy::start(config).await?;
        rig.tells_the_story(&envoy, "tracker.example").await?;
        if is_gateway {
            let token = rig.idp.token("agent-7", &[])?;
            let strange =
                tools_call("list_issues", "{}", &token).header("host", "other.example").send(envoy.port()).await?;
            ensure!(strange.text().contains("leads to no server"), "{}", strange.text());
        }
    }
    Ok(())
}

/// A route that the patch did not fit has no metadata, so that nothing on it runs: what Istio skips opens no gate.
#[tokio::test]
async fn route_that_istio_skipped_refuses_every_call() -> anyhow::Result<()> {
    let rig = Rig::start().await?;
    let mut resource = resource(&rig.render("istio", &GATEWAY)?)?;
    let patches = resource["spec"]["configPatches"].as_array_mut().expect("patches");
    patches.retain(|patch| patch["applyTo"] != "HTTP_ROUTE");
    let patched = apply(&resource, mesh::proxy(true, 0, rig.upstream.port()))?;
    let patched = patched.without_control_plane(rig.dir.path(), None)?;
    let envoy = Envoy::start(rig.with_token(EnvoyConfig::of_document(patched)?)?).await?;
    let token = rig.idp.token("agent-7", &[])?;
    let answer = tools_call("list_issues", "{}", &token).header("host", "tracker.example").send(envoy.port()).await?;
    ensure!(answer.text().contains("leads to no server"), "{}", answer.text());
    ensure!(rig.upstream.count() == 0, "nothing runs");
    Ok(())
}

/// The sidecar of the approval service: takes certificates of the mesh only, and hands on to the service.
async fn service_sidecar(rig: &Rig, authority: &Authority, identity: &str) -> anyhow::Result<Envoy> {
    let files = authority.workload("service", identity)?;
    let chain = json!({
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": true,
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "tls_certificates": [{"certificate_chain": {"filename": files.certificate}, "private_key": {"filename": files.key}}],
                "validation_context": {"trusted_ca": {"filename": files.authority}}}}},
        "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "service", "cluster": "service"}}],
    });
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": address(rig.service.port())}}]}]);
    Envoy::start(EnvoyConfig::of_document(json!({
        "admin": {"address": address(0)},
        "static_resources": {
            "listeners": [{"name": "inbound", "address": address(0), "filter_chains": [chain]}],
            "clusters": [{"name": "service", "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": {"cluster_name": "service", "endpoints": endpoints}}]},
    }))?)
    .await
}

#[tokio::test]
async fn approval_service_is_spoken_to_over_mtls_and_only_if_it_is_the_one_that_was_named() -> anyhow::Result<()> {
    let mut rig = Rig::start().await?;
    rig.document.outage_ms_max = 500;
    let authority = Authority::new()?;
    let gateway = authority.workload("gateway", "spiffe://cluster.local/ns/mcp/sa/gateway")?;
    let secret = |name: &str, kind: &str, value: Value| {
        let secret = json!({"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": name, kind: value});
        std::fs::write(rig.file(&format!("{name}.json")), json!({"resources": [secret]}).to_string())
    };
    let pair =
        json!({"certificate_chain": {"filename": gateway.certificate}, "private_key": {"filename": gateway.key}});
    secret("default", "tls_certificate", pair)?;
    secret("ROOTCA", "validation_context", json!({"trusted_ca": {"filename": gateway.authority}}))?;

    for (identity, is_named) in [(SERVICE, true), ("spiffe://cluster.local/ns/other/sa/impostor", false)] {
        let sidecar = service_sidecar(&rig, &authority, identity).await?;
        let service = format!("127.0.0.1:{}", sidecar.port());
        let words: Vec<&str> =
            GATEWAY.into_iter().chain(["--service", &service, "--service-identity", SERVICE]).collect();
        let text = rig.render("istio", &words)?;
        rig.check(&text)?;
        let resource = resource(&text)?;
        schema::accepts("istio-envoyfilter.yaml", &resource)?;
        let proxy = mesh::proxy(true, ports::free()?, rig.upstream.port());
        let patched = apply(&resource, proxy)?.without_control_plane(rig.dir.path(), Some(rig.dir.path()))?;
        let envoy = Envoy::start(rig.with_token(EnvoyConfig::of_document(patched)?)?).await?;
        if is_named {
            rig.tells_the_story(&envoy, "tracker.example").await?;
        } else {
            let token = rig.idp.token("agent-8", &[])?;
            let call = tools_call("create_issue", "{}", &token).header("host", "tracker.example");
            let answer = call.send(envoy.port()).await?;
            ensure!(answer.text().contains("unavailable"), "{}", answer.text());
        }
    }
    Ok(())
}

#[tokio::test]
async fn waypoint_resource_is_one_that_the_published_schema_accepts() -> anyhow::Result<()> {
    let rig = Rig::start().await?;
    let words = ["--context", "waypoint", "--gateway", "waypoint", "--host", "tracker=8080"];
    let text = rig.render("istio", &words)?;
    rig.check(&text)?;
    let resource = resource(&text)?;
    schema::accepts("istio-envoyfilter.yaml", &resource)?;
    // The rule of the schema that is no JSON Schema: `waypoint` matches, and only they, in this context.
    for patch in resource["spec"]["configPatches"].as_array().expect("patches") {
        let matching = &patch["match"];
        ensure!(
            patch["applyTo"] == "BOOTSTRAP" || matching["context"] == "WAYPOINT" && matching["waypoint"].is_object(),
            "{patch}"
        );
    }
    Ok(())
}
