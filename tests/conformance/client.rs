//! A client of the official SDK under the suite: what the suite's servers see of it directly, they see through the filter.

use holdpoint_tests::stack::Stack;
use serde_json::json;

use crate::server::{ALLOW_ALL, stack_for};
use crate::suite::{Known, Suite, Verdicts, compare, script, shortcomings};
use crate::switch::Switch;

/// Every scenario of both releases without authorization.
const SCENARIOS: &[(&str, &str)] = &[
    ("2025-11-25", "initialize"),
    ("2025-11-25", "tools_call"),
    ("2025-11-25", "sse-retry"),
    ("2025-11-25", "elicitation-sep1034-client-defaults"),
    ("2026-07-28", "tools_call"),
    ("2026-07-28", "request-metadata"),
    ("2026-07-28", "sep-2322-client-request-state"),
    ("2026-07-28", "http-standard-headers"),
    ("2026-07-28", "http-custom-headers"),
    ("2026-07-28", "http-invalid-tool-headers"),
    ("2026-07-28", "json-schema-ref-no-deref"),
];

/// Every scenario of authorization that either release scores. The suite's others are extensions: DPoP, workload identity
/// and enterprise-managed authorization, of which this SDK has no ready client, and client credentials.
const AUTHORIZED: &[(&str, &str)] = &[
    ("2025-03-26", "auth/2025-03-26-oauth-metadata-backcompat"),
    ("2025-03-26", "auth/2025-03-26-oauth-endpoint-fallback"),
    ("2025-11-25", "auth/metadata-default"),
    ("2025-11-25", "auth/basic-cimd"),
    ("2025-11-25", "auth/scope-step-up"),
    ("2026-07-28", "auth/metadata-default"),
    ("2026-07-28", "auth/metadata-var1"),
    ("2026-07-28", "auth/metadata-var2"),
    ("2026-07-28", "auth/metadata-var3"),
    ("2026-07-28", "auth/basic-cimd"),
    ("2026-07-28", "auth/pre-registration"),
    ("2026-07-28", "auth/resource-mismatch"),
    ("2026-07-28", "auth/scope-from-scopes-supported"),
    ("2026-07-28", "auth/scope-from-www-authenticate"),
    ("2026-07-28", "auth/scope-omitted-when-undefined"),
    ("2026-07-28", "auth/scope-retry-limit"),
    ("2026-07-28", "auth/scope-step-up"),
    ("2026-07-28", "auth/token-endpoint-auth-basic"),
    ("2026-07-28", "auth/token-endpoint-auth-none"),
    ("2026-07-28", "auth/token-endpoint-auth-post"),
    ("2026-07-28", "auth/offline-access-scope"),
    ("2026-07-28", "auth/offline-access-not-supported"),
    ("2026-07-28", "auth/authorization-server-migration"),
    ("2026-07-28", "auth/iss-supported"),
    ("2026-07-28", "auth/iss-not-advertised"),
    ("2026-07-28", "auth/iss-supported-missing"),
    ("2026-07-28", "auth/iss-wrong-issuer"),
    ("2026-07-28", "auth/iss-unexpected"),
    ("2026-07-28", "auth/iss-normalized"),
    ("2026-07-28", "auth/metadata-issuer-mismatch"),
];

async fn run(suite: &Suite, command: &str, scenarios: &[(&str, &str)]) -> anyhow::Result<Verdicts> {
    let mut all = Verdicts::new();
    for (version, scenario) in scenarios {
        let arguments = ["client", "--command", command, "--scenario", scenario, "--spec-version", version];
        let checks = suite.run(&arguments).await?.into_values().flatten().collect();
        all.insert(format!("{scenario} ({version})"), checks);
    }
    Ok(all)
}

#[tokio::test]
async fn client_is_judged_alike_directly_and_through_the_filter() -> anyhow::Result<()> {
    let Some(suite) = Suite::bring().await? else { return Ok(()) };
    let client = format!("{} {}", suite.node.binary().display(), script("client.mjs").display());
    let switch = Switch::start().await?;
    let stack = stack_for(switch.port).await?;
    let direct = run(&suite, &client, SCENARIOS).await?;
    let through = run(&suite, &format!("{client} {} {}", stack.port(), switch.control), SCENARIOS).await?;
    let unmet: &[Known] = &[];
    let is_listed = |line: &String| unmet.iter().any(|unmet| line.starts_with(&format!("{}: ", unmet.scenario)));
    let unlisted: Vec<String> = shortcomings(&direct).into_iter().filter(|line| !is_listed(line)).collect();
    anyhow::ensure!(unlisted.is_empty(), "the client itself falls short:\n{}", unlisted.join("\n"));
    compare(&direct, &through, &[])
}

/// A gateway that leaves authorization to the server: it knows callers by their certificates, here they have none, and what
/// they show the server reaches it.
/// What a server says of itself under `/.well-known/` and the like is no MCP, so its routes are not governed.
async fn gateway_before(port: u16) -> anyhow::Result<Stack> {
    let forwarding = ALLOW_ALL.replace("    tools: {", "    credential: {forward: true}\n    tools: {").replace(
        "    mcp: {allow_servers: [tracker]}",
        "    mcp: {allow_servers: [tracker]}\n    actor_types: [anonymous]",
    );
    let builder = Stack::builder().policy(&forwarding).upstream_port(port);
    let builder = builder.document(|document| document.identity_sources = "[{mtls: uri_san}]".to_owned());
    let builder = builder.envoy(|config| {
        config.without_http_filter("envoy.filters.http.jwt_authn").expect("the base has jwt_authn");
        let routes = config.routes().expect("the routes");
        for route in routes.iter_mut() {
            route["metadata"]["filter_metadata"]["holdpoint"]["anonymous"] = json!("judged");
        }
        for prefix in ["/.well-known/", "/custom/", "/authorize", "/token", "/register", "/oauth/"] {
            let metadata = json!({"filter_metadata": {"holdpoint": {"passthrough": true}}});
            routes
                .insert(0, json!({"match": {"prefix": prefix}, "metadata": metadata, "route": {"cluster": "tracker"}}));
        }
    });
    builder.start().await
}

#[tokio::test]
async fn client_is_authorized_alike_directly_and_through_the_filter() -> anyhow::Result<()> {
    let Some(suite) = Suite::bring().await? else { return Ok(()) };
    let client = format!("{} {}", suite.node.binary().display(), script("client.mjs").display());
    let switch = Switch::start().await?;
    let stack = gateway_before(switch.port).await?;
    let direct = run(&suite, &client, AUTHORIZED).await?;
    let through = run(&suite, &format!("{client} {} {}", stack.port(), switch.control), AUTHORIZED).await?;
    let unmet = shortcomings(&direct);
    anyhow::ensure!(unmet.is_empty(), "the client itself falls short:\n{}", unmet.join("\n"));
    compare(&direct, &through, &[])?;
    let calls = stack.envoy.access_log_line(|line| line["method"] == "POST" && line["verdict"] == "allow");
    calls.await.map(drop)
}
