//! Configuration text in; a checked configuration, or every problem with its place.

use super::*;

const GOOD: &str = r#"
approval:
  cluster: holdpoint
  service_key: "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
identity: {sources: [{jwt: {metadata_key: jwt}}]}
policy:
  version: "2026-01-27"
  rules: []
"#;

fn problems(text: &str) -> Vec<String> {
    match FilterConfig::read(text.as_bytes()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(problems) => problems.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let config = FilterConfig::read(GOOD.as_bytes()).expect("a good configuration");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.approval.hold_ms_max, 45_000);
    assert_eq!(config.approval.authority, "holdpoint");
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = GOOD
        .replace("cluster: holdpoint", "cluster: holdpoint\n  hold_ms: 5")
        .replace("rules: []", "rulez: []")
        .replace("jwt: {metadata_key: jwt}", "jtw: {metadata_key: jwt}");
    let found = problems(&text);
    assert!(found.len() >= 3, "{found:?}");
    let place_of = |part: &str| found.iter().find(|line| line.contains(part)).map(|line| line.split(": ").next());
    assert_eq!(place_of("unknown field `hold_ms`"), Some(Some("4:3")), "{found:?}");
    assert!(place_of("`rulez`").is_some(), "{found:?}");
    assert!(place_of("`jtw`").is_some(), "{found:?}");
}

#[test]
fn a_struct_that_went_through_envoys_loader_is_refused_with_what_to_write() {
    let found = problems("\n\u{8}approval\u{12}\u{5}");
    assert!(found.iter().any(|line| line.contains("google.protobuf.StringValue")), "{found:?}");
    assert!(problems("  ").iter().any(|line| line.contains("no configuration")));
}

#[test]
fn a_required_record_has_a_bounded_wait_and_a_wait_for_nothing_is_refused() {
    let read = |audit: &str| FilterConfig::read(format!("{GOOD}audit: {audit}\n").as_bytes()).expect("good").audit;
    assert_eq!(read("{required: true}"), AuditSettings { required: true, wait_ms_max: 2_000 });
    assert_eq!(read("{required: true, wait_ms_max: 500}").wait_ms_max, 500);
    assert!(!read("{required: false}").required);
    for (audit, why) in [
        ("{required: false, wait_ms_max: 500}", "which is not set"),
        ("{required: true, wait_ms_max: 1}", "100"),
        ("{required: maybe}", "true"),
    ] {
        let found = problems(&format!("{GOOD}audit: {audit}\n"));
        assert!(found.iter().any(|line| line.contains(why)), "{audit}: {found:?}");
    }
}

#[test]
fn a_wrong_key_says_how_to_get_the_right_one() {
    let found = problems(&GOOD.replace("d75a98", "zz"));
    assert!(found.iter().any(|line| line.contains("holdpoint keys show")), "{found:?}");
}

#[test]
fn several_keys_are_trusted_while_one_takes_the_place_of_another() {
    let key = "\"ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"";
    let other = "\"ed25519:3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c\"";
    let config = FilterConfig::read(GOOD.replace(key, &format!("[{key}, {other}]")).as_bytes()).expect("good");
    assert_eq!(config.approval.service_keys.iter().count(), 2);
    let many = [key; 5].join(", ");
    assert!(problems(&GOOD.replace(key, &format!("[{many}]"))).iter().any(|line| line.contains("at most 4 keys")));
    assert!(problems(&GOOD.replace(key, "[]")).iter().any(|line| line.contains("empty list")));
}

/// The problems of a configuration with these identity sources.
fn source_problems(sources: &str) -> Vec<String> {
    problems(&GOOD.replace("[{jwt: {metadata_key: jwt}}]", sources))
}

#[test]
fn identity_sources_are_read_in_their_order() {
    let sources = "[{jwt: {metadata_key: jwt}, optional: true}, {header: x-actor, from_peers: [\"spiffe://mesh/gw\"], \
                   optional: true}, {mtls: uri_san}]";
    let text = GOOD.replace("[{jwt: {metadata_key: jwt}}]", sources);
    let config = FilterConfig::read(text.as_bytes()).expect("a good configuration");
    let optional: Vec<bool> = config.identity.iter().map(|source| source.is_optional).collect();
    assert_eq!(optional, [true, true, false]);
    assert_eq!(config.identity[2].proof, Proof::MtlsUriSan);
}

#[test]
fn an_order_in_which_a_source_would_never_be_asked_is_refused() {
    for (sources, why) in [
        ("[{jwt: {metadata_key: jwt}}, {mtls: uri_san}]", "optional: true"),
        ("[{mtls: uri_san, optional: true}, {header: x-a, from_peers: [\"spiffe://m/g\"]}]", "put it before `mtls`"),
        ("[{mtls: uri_san, optional: true}, {mtls: uri_san}]", "twice"),
        ("[{mtls: uri_san, optional: true}]", "anonymous: judged"),
    ] {
        let found = source_problems(sources);
        assert!(found.iter().any(|line| line.contains(why)), "{sources}: {found:?}");
    }
}

#[test]
fn a_source_that_could_be_forged_is_refused() {
    for (sources, why) in [
        ("[{header: x-actor}]", "`from_peers` is missing"),
        ("[{header: x-actor, from_peers: []}]", "empty list"),
        ("[{header: x-actor, from_peers: [\"spiffe://mesh/*\"]}]", "whole URI SAN"),
        ("[{header: x-forwarded-client-cert, from_peers: [\"spiffe://m/g\"]}]", "mtls: uri_san"),
        ("[{header: authorization, from_peers: [\"spiffe://m/g\"]}]", "header of your own"),
        ("[{header: X-Actor, from_peers: [\"spiffe://m/g\"]}]", "header of your own"),
        ("[{jwt: {metadata_key: jwt}, mtls: uri_san}]", "exactly one"),
        ("[{mtls: cn}]", "uri_san"),
        ("[]", "1 to 8 sources"),
    ] {
        let found = source_problems(sources);
        assert!(found.iter().any(|line| line.contains(why)), "{sources}: {found:?}");
    }
}
