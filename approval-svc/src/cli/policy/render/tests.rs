//! What is rendered is read back by `policy check`: the same policy, no findings, and every mistake named.

use clap::Parser;

use super::*;
use crate::cli::policy::check;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: RenderArgs,
}

const TOKENS: [&str; 6] =
    ["--issuer", "https://idp.example", "--audience", "mcp", "--jwks-uri", "https://idp.example/jwks"];
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart/policy.yaml");

fn rendered(file: &str, words: &[&str]) -> anyhow::Result<String> {
    let line = ["render", file].into_iter().chain(words.iter().copied());
    render(&Line::try_parse_from(line)?.args)
}

fn of_target(target: &str, more: &[&str]) -> Vec<String> {
    let place: &[&str] = match target {
        "envoy" => &["--server", "tracker=127.0.0.1:8931"],
        "ecds" => return vec!["--target".to_owned(), target.to_owned()],
        "istio" => &[
            "--workload",
            "istio=mcp",
            "--host",
            "tracker=tracker.example:80",
            "--token-file",
            "/etc/holdpoint/token.yaml",
        ],
        _ => &["--gateway", "mcp", "--host", "tracker=tracker.example"],
    };
    let words = ["--target", target].into_iter().chain(place.iter().copied()).chain(TOKENS).chain(more.iter().copied());
    words.map(str::to_owned).collect()
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[test]
fn check_reads_every_form_back_and_names_the_same_snapshot() -> anyhow::Result<()> {
    let file = check::snapshots(DOCUMENT.as_ref(), std::fs::read_to_string(DOCUMENT)?);
    assert_eq!(file.0.len(), 1);
    for target in ["envoy", "ecds", "istio", "envoy-gateway"] {
        let text = rendered(DOCUMENT, &words(&of_target(target, &[])))?;
        let (snapshots, errors) = check::snapshots(target.as_ref(), text.clone());
        assert_eq!((&snapshots, errors), (&file.0, Vec::new()), "{target}\n{text}");
        assert!(text.contains(&file.0[0]), "{target}: the head names the snapshot");
    }
    for (context, place) in [("sidecar", "tracker=8080"), ("waypoint", "tracker=8080")] {
        let mut line = vec!["--target", "istio", "--context", context, "--host", place];
        line.extend(TOKENS);
        line.extend(if context == "sidecar" { ["--workload", "app=tracker"] } else { ["--gateway", "waypoint"] });
        let (snapshots, errors) = check::snapshots(context.as_ref(), rendered(DOCUMENT, &line)?);
        assert_eq!((&snapshots, errors), (&file.0, Vec::new()), "{context}");
    }
    Ok(())
}

#[test]
fn candidate_is_rendered_beside_the_policy_and_read_back() -> anyhow::Result<()> {
    let of = |name: &str| format!("{}/../examples/{name}/policy.yaml", env!("CARGO_MANIFEST_DIR"));
    let (policy, candidate) = (of("github-read-only"), of("guide"));
    let key = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
    let line = ["--target", "envoy", "--service-key", key, "--server", "github=127.0.0.1:1", "--candidate", &candidate];
    let line: Vec<&str> = line.into_iter().chain(TOKENS).collect();
    let text = rendered(&policy, &line)?;
    let (snapshots, errors) = check::snapshots("envoy.yaml".as_ref(), text.clone());
    let (alone, _) = check::snapshots(policy.as_ref(), std::fs::read_to_string(&policy)?);
    assert_eq!((snapshots, errors), (alone, Vec::new()), "the policy is what it was");
    assert!(text.contains("candidate:") && text.contains("id: mcp-prod-constraints"), "{text}");
    let refused = rendered(DOCUMENT, &["--target", "ecds", "--candidate", &candidate]).unwrap_err().to_string();
    assert!(refused.contains("change it instead"), "{refused}");
    Ok(())
}

#[test]
fn bare_policy_is_put_into_a_document_word_for_word() -> anyhow::Result<()> {
    let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/github-read-only/policy.yaml");
    let (file, _) = check::snapshots(policy.as_ref(), std::fs::read_to_string(policy)?);
    let key = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
    let line = ["--target", "envoy", "--service-key", key, "--server", "github=127.0.0.1:1", "--hold-ms-max", "70000"];
    let line: Vec<&str> = line.into_iter().chain(TOKENS).collect();
    let text = rendered(policy, &line)?;
    let (snapshots, errors) = check::snapshots("envoy.yaml".as_ref(), text.clone());
    assert_eq!((snapshots, errors), (file, Vec::new()));
    assert!(text.contains("stream_idle_timeout: \"80s\"") && text.contains("hold_ms_max: 70000"), "{text}");
    assert!(!text.contains("tracker"), "nothing of the base's own server is left:\n{text}");
    Ok(())
}

#[test]
fn what_is_missing_or_has_no_effect_is_refused_in_words() {
    let refused = |line: &[&str]| rendered(DOCUMENT, line).expect_err("refused").to_string();
    let no_tokens = ["--target", "envoy", "--server", "tracker=127.0.0.1:1"];
    assert!(refused(&no_tokens).contains("--issuer and --audience"));
    assert!(refused(&["--target", "envoy", TOKENS[0], TOKENS[1], TOKENS[2], TOKENS[3]]).contains("--jwks-file"));
    let no_server: Vec<&str> = ["--target", "envoy"].into_iter().chain(TOKENS).collect();
    assert!(refused(&no_server).contains("--server tracker="));
    assert!(refused(&words(&of_target("envoy", &["--server", "other=a:1"]))).contains("has no server `other`"));
    assert!(refused(&words(&of_target("istio", &["--ecds-file", "/a"]))).contains("no effect"));
    assert!(refused(&words(&of_target("envoy", &["--service-key", "ed25519:00"]))).contains("filter document"));
    assert!(refused(&words(&of_target("envoy", &["--module", "https://a/b"]))).contains("Istio"));
    assert!(refused(&words(&of_target("istio", &["--module", "oci://a/b"]))).contains("--module-sha256"));
    let anywhere: Vec<&str> = ["--target", "istio", "--host", "tracker=a:80"].into_iter().chain(TOKENS).collect();
    assert!(refused(&anywhere).contains("--workload"));
}

#[test]
fn traps_of_meshes_that_somebody_edits_back_in_are_found_by_check() -> anyhow::Result<()> {
    let codes = |text: &str| -> Vec<String> {
        let (_, errors) = check::snapshots("mesh.yaml".as_ref(), text.to_owned());
        errors.iter().map(|error| error.split(' ').next().unwrap_or_default().to_owned()).collect()
    };
    let istio = rendered(DOCUMENT, &words(&of_target("istio", &[])))?;
    let gateway = rendered(DOCUMENT, &words(&of_target("envoy-gateway", &[])))?;
    let safe = "retry_on: \"connect-failure,refused-stream\"";
    let broken = [
        (istio.replacen("operation: ADD", "operation: MERGE", 1), "cluster-not-added"),
        (istio.replacen("cluster: holdpoint\n", "cluster: service\n", 1), "cluster-not-added"),
        (istio.replace(safe, "retry_on: \"connect-failure,503\""), "unsafe-retries"),
        (istio.replace("retry_policy:", "hedge_policy:"), "unsafe-retries"),
        (istio.replace("idle_timeout: \"55s\"", "idle_timeout: \"45s\""), "idle-timeout-too-short"),
        (istio.replace("workloadSelector:", "selector:"), "no-selector"),
        (istio.replace("http.rbac.v3.RBAC", "http.rbac.v3.Other"), "route-guard-missing"),
        (istio.replace("exact: tracker}", "exact: other}"), "route-guard-lacks-server"),
        (istio.replace("allow_on_headers_stop_iteration: true", "fail_open: false"), "flag-missing"),
        (gateway.replace("value: 1048576}", "value: 32768}"), "buffer-too-small"),
        (gateway.replace(safe, "retry_on: \"5xx\""), "unsafe-retries"),
        (gateway.replacen("op: add", "op: replace", 1), "cluster-not-added"),
        (gateway.replace("value: \"55s\"", "value: \"40s\""), "idle-timeout-too-short"),
    ];
    for (at, (text, code)) in broken.iter().enumerate() {
        assert!(*text != istio && *text != gateway, "number {at} changes nothing\n{gateway}");
        assert!(codes(text).iter().any(|found| found == code), "number {at}: {code} {:?}", codes(text));
    }
    let routes_missed = |text: &str| {
        let file = crate::cli::policy::source::scan("mesh.yaml".as_ref(), text.to_owned());
        let found = check::check(file, &check::Beside::default()).findings;
        found.iter().filter(|one| one.code == "route-missing").count()
    };
    let unnamed = istio.replace("{server: tracker}", "{server: other}");
    assert_eq!((routes_missed(&istio), routes_missed(&unnamed)), (0, 1), "a warning: {unnamed}");
    Ok(())
}
