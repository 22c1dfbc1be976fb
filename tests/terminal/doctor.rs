//! `holdpoint doctor` on real installations: one as the base configuration has it, and one with a mistake in every place.

use std::process::Command;

use holdpoint_tests::client::tools_call_modern;
use holdpoint_tests::envoy_config::{APPROVAL_CLUSTER, FILTER, ROUTE_GUARD, UPSTREAM_CLUSTER};
use holdpoint_tests::service::Service;
use holdpoint_tests::service_binary;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

struct Report {
    healthy: bool,
    json: Value,
}

impl Report {
    /// What was found by one check, whatever was looked at.
    fn check(&self, name: &str) -> (&str, &str) {
        let found = self.json["checks"].as_array().into_iter().flatten().find(|check| check["check"] == name);
        let word = |member: &str| found.and_then(|check| check[member].as_str()).unwrap_or("not looked at");
        (word("level"), word("found"))
    }
}

fn doctor(service: &Service, token: &str, words: &[&str]) -> anyhow::Result<Report> {
    let mut command = Command::new(service_binary::holdpoint()?);
    command
        .args(["doctor", "--server", &service.url(""), "--output", "json"])
        .args(words)
        .env("HOLDPOINT_TOKEN", token);
    let output = command.output()?;
    let json = serde_json::from_slice(&output.stdout)
        .map_err(|error| anyhow::anyhow!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(Report { healthy: output.status.success(), json })
}

fn policy_file(dir: &tempfile::TempDir, text: &str) -> anyhow::Result<String> {
    let file = dir.path().join("policy.yaml");
    std::fs::write(&file, text)?;
    Ok(file.to_string_lossy().into_owned())
}

#[tokio::test]
async fn installation_as_the_base_has_it_is_in_order() -> anyhow::Result<()> {
    let stack = Stack::builder().policy_by_discovery().start().await?;
    let auditor = stack.service.token("auditor", "ann", &[])?;
    let dir = tempfile::tempdir()?;
    let policy = policy_file(&dir, &stack.document.text())?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin(), "--policy", &policy])?;
    let unhealthy = report.json["checks"].as_array().into_iter().flatten().filter(|check| check["level"] != "ok");
    let unhealthy: Vec<&Value> = unhealthy.filter(|check| check["check"] != "policy").collect();
    assert!(unhealthy.is_empty() && report.healthy, "{unhealthy:#?}");
    for check in [
        "token",
        "service key",
        "snapshot",
        "body before head",
        "time to hold",
        "route guard",
        "retries",
        "circuit breakers",
        "statistics",
        "answer limit",
        "release",
        "tokens",
    ] {
        assert_eq!(report.check(check).0, "ok", "{check}: {}", report.json);
    }
    assert!(report.check("snapshot").1.ends_with("as in the file"), "{}", report.json);

    let other = policy_file(&dir, "version: \"2026-01-27\"\nrules: []\n")?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin(), "--policy", &other])?;
    assert!(!report.healthy && report.check("snapshot").0 == "failed", "{}", report.json);
    Ok(())
}

#[tokio::test]
async fn each_mistake_is_named_with_what_to_do() -> anyhow::Result<()> {
    let stranger = Service::start().await?;
    let other_key = stranger.service_key()?;
    let stack = Stack::builder()
        .document(move |document| document.service_key = other_key)
        .envoy(|config| {
            let plugin = &mut config.filter_config().unwrap()["config"];
            plugin["failure_policy"] = json!("FAIL_OPEN");
            plugin.as_object_mut().unwrap().remove("allow_on_headers_stop_iteration");
            plugin.as_object_mut().unwrap().remove("reload_config");
            config.without_http_filter(ROUTE_GUARD).unwrap();
            config.connection_manager().unwrap()["use_remote_address"] = json!(false);
            config.connection_manager().unwrap()["forward_client_cert_details"] = json!("ALWAYS_FORWARD_ONLY");
            let route = config.route().unwrap();
            route["route"]["idle_timeout"] = json!("20s");
            route["route"]["retry_policy"] = json!({"retry_on": "5xx,connect-failure"});
            route.as_object_mut().unwrap().remove("metadata");
            let cluster = config.cluster(APPROVAL_CLUSTER).unwrap();
            cluster.as_object_mut().unwrap().remove("circuit_breakers");
            let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
            let options = &mut cluster["typed_extension_protocol_options"][options];
            options["explicit_http_config"] = json!({"http_protocol_options": {}});
            options["http_filters"]
                .as_array_mut()
                .unwrap()
                .retain(|filter| !filter["name"].to_string().contains("credential"));
        })
        .start()
        .await?;
    let report = doctor(&stack.service, "hp_auditor_of_nobody", &["--envoy", stack.envoy.admin()])?;
    assert!(!report.healthy);
    assert_eq!(report.check("token").0, "failed");
    let auditor = stack.service.token("auditor", "ann", &[])?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin()])?;
    assert!(!report.healthy);
    for (check, level, part) in [
        ("service key", "failed", "this service signs with"),
        ("body before head", "failed", "allow_on_headers_stop_iteration"),
        ("failure policy", "failed", "FAIL_OPEN"),
        ("route guard", "failed", "no `rbac` filter"),
        ("caller's headers", "warning", "use_remote_address"),
        ("client certificates", "failed", "ALWAYS_FORWARD_ONLY"),
        ("time to hold", "failed", "is 20000 ms, and calls are held for 45000 ms"),
        ("retries", "failed", "on 5xx"),
        ("routes", "warning", "no server is named"),
        ("circuit breakers", "failed", "max_requests is 1024"),
        ("approval cluster", "warning", "over HTTP/1"),
        ("credential", "failed", "shows the service none"),
    ] {
        let (found_level, found) = report.check(check);
        assert!(found_level == level && found.contains(part), "{check}: {found_level}: {found}");
    }
    let mended = report.json["checks"].as_array().into_iter().flatten().filter(|check| check["level"] != "ok");
    assert!(
        mended.clone().count() > 10 && mended.into_iter().all(|check| check["mend"].is_string()),
        "{}",
        report.json
    );
    Ok(())
}

/// What a mesh, or somebody in a hurry, leaves out without anything failing at once.
#[tokio::test]
async fn traps_that_fail_silently_are_named() -> anyhow::Result<()> {
    let stack = Stack::builder()
        .envoy(|config| {
            // Meshes keep only the statistics that they know.
            config.document()["stats_config"]["stats_matcher"] =
                json!({"inclusion_list": {"patterns": [{"prefix": "cluster"}, {"suffix": "rbac.denied"}]}});
            // Envoy Gateway's default.
            config.document()["static_resources"]["listeners"][0]["per_connection_buffer_limit_bytes"] = json!(32_768);
            for route in config.routes().unwrap() {
                route.as_object_mut().unwrap().remove("request_body_buffer_limit");
            }
            // A second listener with another policy under the same name.
            let mut second = config.document()["static_resources"]["listeners"][0].clone();
            second["name"] = json!("second");
            let filters = second["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].as_array_mut();
            let plugin = filters.unwrap().iter_mut().find(|filter| filter["name"] == FILTER).unwrap();
            let text = plugin["typed_config"]["config"]["configuration"]["value"].as_str().unwrap().to_owned();
            plugin["typed_config"]["config"]["configuration"]["value"] = json!(format!("{text}\n# another\n"));
            config.document()["static_resources"]["listeners"].as_array_mut().unwrap().push(second);
            let route = config.route().unwrap();
            route["route"]["request_mirror_policies"] = json!([{"cluster": UPSTREAM_CLUSTER}]);
            route["route"]["retry_policy"] =
                json!({"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"});
            config.cluster(UPSTREAM_CLUSTER).unwrap().as_object_mut().unwrap().remove("circuit_breakers");
            config.without_http_filter("envoy.filters.http.jwt_authn").unwrap();
        })
        .start()
        .await?;
    let auditor = stack.service.token("auditor", "ann", &[])?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin()])?;
    assert!(!report.healthy);
    for (check, level, part) in [
        ("statistics", "warning", "hides what the filter counts"),
        ("body limit", "warning", "32768 on tracker"),
        ("answer limit", "warning", "32768 on tracker"),
        ("names", "failed", "2 configurations are named `holdpoint`"),
        ("copies", "failed", "is mirrored"),
        ("retries", "failed", "unavailable, cancelled, retriable-status-codes"),
        ("release", "warning", "`tracker` takes 1024 at once"),
        ("tokens", "failed", "writes jwt"),
    ] {
        let (found_level, found) = report.check(check);
        assert!(found_level == level && found.contains(part), "{check}: {found_level}: {found}");
    }
    Ok(())
}

#[tokio::test]
async fn refused_update_and_refused_token_are_told() -> anyhow::Result<()> {
    let mut stack =
        Stack::builder().policy_by_discovery().envoy(|config| config.approval_token("hp_enforcer_0")).start().await?;
    // A write makes the gateway ask the service, which does not know its token.
    let agent = stack.agent("agent-7")?;
    tools_call_modern("create_issue", r#"{"project":"site","title":"x"}"#, &agent).send(stack.port()).await?;
    let auditor = stack.service.token("auditor", "ann", &[])?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin()])?;
    assert!(!report.healthy && report.check("gateway's token").1.contains("refused it"), "{}", report.json);

    let good = stack.document.text();
    stack.envoy.update_filter_document("approval: {}").await?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin()])?;
    let (level, found) = report.check("configuration");
    assert!(level == "failed" && found.contains("the one before is still in force"), "{found}");
    stack.envoy.update_filter_document(&good).await?;
    let report = doctor(&stack.service, &auditor, &["--envoy", stack.envoy.admin()])?;
    let (level, found) = report.check("snapshot");
    assert!(level == "warning" && found.contains("1 updates were refused"), "{found}");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_said_and_nothing_else_is_guessed() -> anyhow::Result<()> {
    let service = Service::start().await?;
    let auditor = service.token("auditor", "ann", &[])?;
    let report = doctor(&service, &auditor, &["--envoy", &service.url("/")])?;
    assert!(!report.healthy && report.check("admin").0 == "failed", "{}", report.json);
    let report = doctor(&service, &auditor, &[])?;
    assert!(report.healthy && report.check("envoy").0 == "skipped", "{}", report.json);
    service.kill();
    let report = doctor(&service, &auditor, &[])?;
    assert!(!report.healthy && report.check("reachable").0 == "failed", "{}", report.json);
    assert_eq!(FILTER, "holdpoint", "the doctor knows the filter by this name");
    Ok(())
}
