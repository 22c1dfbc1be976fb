//! One call and one catalogue in; envelope, digest or refusal out.

use serde_json::json;

use super::*;
use crate::policy::tests::{call, guide, seal, snapshot, tool};
use crate::policy::{PolicySnapshot, ServerError};

fn check(call: Call) -> CallEnvelope {
    seal(&snapshot(&guide()), call)
}

fn refused(call: Call) -> SealError {
    snapshot(&guide()).seal(call).map(|_| ()).map_err(|(_, error)| error).unwrap_err()
}

fn record(envelope: &CallEnvelope) -> serde_json::Value {
    serde_json::to_value(envelope.record()).unwrap()
}

#[test]
fn the_envelope_has_the_guides_shape() {
    let envelope = check(tool("create_issue", r#"{"owner":"acme","repo":"site","title":"x"}"#));
    let expected = json!({
        "topic": "job.mcp.tool",
        "labels": {
            "env": "prod", "mcp.action": "write", "mcp.method": "tools/call", "mcp.resource": "repo:acme/site",
            "mcp.server": "github", "mcp.tool": "create_issue"
        },
        "meta": {
            "capability": "repo.write", "risk_tags": ["external", "prod"], "requires": ["github", "network:egress"],
            "actor_id": "user_123", "actor_type": "human", "tenant": "acme"
        }
    });
    assert_eq!(record(&envelope), expected);
    assert_eq!(
        (envelope.server(), envelope.method(), envelope.target()),
        ("github", "tools/call", Some("create_issue"))
    );
}

#[test]
fn an_unlisted_tool_has_no_action_and_its_risk_tags_show() {
    let envelope = check(tool("odd", "{}"));
    assert_eq!(envelope.labels().get("mcp.action"), None);
    assert_eq!(envelope.meta().risk_tags, ["external", "unclassified"].map(str::to_owned).into());
    let actions: Vec<&str> =
        envelope.readings().iter().filter_map(|reading| reading.action).map(|a| a.as_str()).collect();
    assert_eq!(actions, ["read", "write", "admin"]);
}

#[test]
fn every_kind_of_message_has_its_topic_and_labels() {
    for (method, params, topic, label, value) in [
        ("resources/read", r#"{"uri":"repo://acme/x"}"#, "job.mcp.resource", "mcp.resource", Some("repo://acme/x")),
        ("resources/read", r#"{"uri":"repo://acme/x"}"#, "job.mcp.resource", "mcp.action", Some("read")),
        ("resources/read", r#"{"uri":"other://x"}"#, "job.mcp.resource", "mcp.action", None),
        (
            "resources/subscribe",
            r#"{"uri":"repo://acme/x"}"#,
            "job.mcp.subscription",
            "mcp.resource",
            Some("repo://acme/x"),
        ),
        ("prompts/get", r#"{"name":"p"}"#, "job.mcp.prompt", "mcp.prompt", Some("p")),
        ("tasks/cancel", r#"{"taskId":"7"}"#, "job.mcp.task", "mcp.action", Some("write")),
        ("tasks/get", r#"{"taskId":"7"}"#, "job.mcp.task", "mcp.action", Some("read")),
        ("tools/list", "{}", "job.mcp.list", "mcp.method", Some("tools/list")),
        ("ping", "{}", "job.mcp.lifecycle", "mcp.action", None),
        ("notifications/initialized", "{}", "job.mcp.lifecycle", "mcp.server", Some("github")),
        ("notifications/odd", "{}", "job.mcp.unknown", "mcp.method", Some("notifications/odd")),
        ("odd/method", "{}", "job.mcp.unknown", "mcp.method", Some("odd/method")),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"repo://acme/secrets/k"},"argument":{"name":"a","value":""}}"#,
            "job.mcp.completion",
            "mcp.action",
            Some("read"),
        ),
    ] {
        let envelope = check(call("github", method, params));
        assert_eq!(envelope.topic().as_str(), topic, "{method}");
        assert_eq!(envelope.labels().get(label).map(String::as_str), value, "{method} {label}");
    }
}

#[test]
fn client_tags_become_readings_and_no_facts() {
    let params = r#"{"name":"list_x","_meta":{"holdpoint.dev/tags":["prod"]}}"#;
    let envelope = check(call("github", "tools/call", params));
    assert_eq!(envelope.readings().len(), 2);
    assert_eq!(envelope.meta().risk_tags, ["external".to_owned()].into());
    for tags in [
        r#""prod""#,
        "5",
        "[5]",
        r#"[""]"#,
        r#"{"risk_tags":"prod"}"#,
        r#"{"action":"destroy"}"#,
        r#"{"tenant":"x"}"#,
        &format!("[{}1]", "\"a\",".repeat(40)),
    ] {
        let params = format!(r#"{{"name":"list_x","_meta":{{"holdpoint.dev/tags":{tags}}}}}"#);
        let error = refused(call("github", "tools/call", &params));
        assert!(matches!(error, SealError::ClientTags(_)), "{tags}: {error}");
    }
}

#[test]
fn the_call_text_is_canonical_and_leaves_out_what_changes_nothing() {
    let params = r#"{ "name":"create_issue", "_meta":{"progressToken":1}, "arguments":{"repo":"s\u0069te","owner":"acme","n":1.0} }"#;
    let envelope = check(call("github", "tools/call", params));
    let expected = r#"{"agent":"agent-7","headers":{"x-mcp-readonly":null},"issuer":"https://issuer","method":"tools/call","params":{"arguments":{"n":1.0,"owner":"acme","repo":"site"},"name":"create_issue"},"path":"/mcp?x=1","server":"github","subject":"user_123","tenant":"acme"}"#;
    assert_eq!(envelope.call_text(), expected);
    let digest = Digest::of(format!("holdpoint/call/v1\n{expected}").as_bytes());
    assert_eq!(envelope.call_digest(), digest);
    assert_eq!(digest.to_string(), VECTOR);
}

/// Published: sha256 of `holdpoint/call/v1`, a line feed and the text above.
const VECTOR: &str = "sha256:93665557c2d0a913e3cd1383bf8dabacac217a25c21567cd4f72cb35683f9e79";

#[test]
fn equal_calls_share_a_digest_and_any_difference_that_matters_shows() {
    let with = |change: &dyn Fn(&mut Call)| {
        let mut call = tool("create_issue", r#"{"owner":"acme","repo":"site"}"#);
        change(&mut call);
        check(call).call_digest()
    };
    let params = |params: &'static str| move |changed: &mut Call| *changed = call("github", "tools/call", params);
    let header =
        |value: &'static [u8]| move |call: &mut Call| call.headers.push(("x-mcp-readonly".into(), value.into()));
    let before = with(&|_| {});
    let same: [&dyn Fn(&mut Call); 5] = [
        &params(r#"{"arguments":{"repo":"site","owner":"acme"},"name":"create_issue"}"#),
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site"},"task":{"ttl":1},"_meta":{}}"#),
        &|call| Arc::make_mut(&mut call.principal).groups = ["more".to_owned()].into(),
        &|call| call.headers.push(("x-other".to_owned(), b"1".to_vec())),
        &|call| call.route.cluster = Some("c".to_owned()),
    ];
    for (index, change) in same.into_iter().enumerate() {
        assert_eq!(with(change), before, "{index}");
    }
    let different: [&dyn Fn(&mut Call); 16] = [
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site"},"requestState":"s"}"#),
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site"},"inputResponses":{"a":1}}"#),
        &|call| call.headers.push(("mcp-param-repo".to_owned(), b"other".to_vec())),
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"Site"}}"#),
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site","n":1}}"#),
        &params(r#"{"name":"create_issue","arguments":{"owner":"acme","repo":"site","n":1.0}}"#),
        &params(r#"{"name":"create_issue"}"#),
        &|call| Arc::make_mut(&mut call.principal).subject = "other".to_owned(),
        &|call| Arc::make_mut(&mut call.principal).issuer = "other".to_owned(),
        &|call| Arc::make_mut(&mut call.principal).agent_id = None,
        &|call| Arc::make_mut(&mut call.principal).tenant = None,
        &|call| call.route.path = "/mcp?x=2".to_owned(),
        &header(b"true"),
        &header(b"false"),
        &header(b"\xff"),
        &|call| {
            call.headers = vec![("x-mcp-readonly".into(), b"true".into()), ("x-mcp-readonly".into(), b"true".into())]
        },
    ];
    let mut seen = BTreeSet::from([before]);
    for (index, change) in different.into_iter().enumerate() {
        assert!(seen.insert(with(change)), "{index}");
    }
}

#[test]
fn dot_segments_and_odd_spellings_of_resources_are_refused() {
    let error = refused(tool("create_issue", r#"{"owner":"acme","repo":".."}"#));
    assert_eq!(error, SealError::DotSegment { argument: "repo".to_owned() });
    for uri in ["repo://acme/%73ecrets/key", "REPO://acme/x", "repo://acme/a%2Db"] {
        let error = refused(call("github", "resources/read", &format!(r#"{{"uri":"{uri}"}}"#)));
        assert_eq!(error, SealError::ResourceSpelling, "{uri}");
    }
    check(call("github", "resources/read", r#"{"uri":"repo://acme/a%20b%C3%A9"}"#));
}

fn recognise(servers: &str, route: RouteFacts) -> Result<String, SealError> {
    let policy: PolicySnapshot = snapshot(&format!("version: \"2026-01-27\"\nservers:\n{servers}\nrules: []"));
    let mut call = tool("x", "{}");
    call.route = route;
    policy.seal(call).map(|envelope| envelope.server().to_owned()).map_err(|(_, error)| error)
}

fn route(metadata: Option<&str>, host: &str, path: &str, cluster: &str) -> RouteFacts {
    RouteFacts {
        metadata_server: metadata.map(str::to_owned),
        host: Some(host.to_owned()),
        path: path.to_owned(),
        cluster: Some(cluster.to_owned()),
    }
}

#[test]
fn a_server_is_recognised_by_every_fact_it_names_and_only_one_may_be() {
    let servers = "  a: {match: {hosts: [api.example.com, \"*.a.example\"], path_prefixes: [/a, /shared/]}}\n  \
                   b: {match: {hosts: api.example.com, path_prefixes: /b}}\n  \
                   c: {match: {clusters: [c1, c2]}}\n  d: {}\n  e: {match: {route_metadata: [e, ee]}}";
    for (facts, expected) in [
        (route(None, "api.example.com", "/a", "x"), "a"),
        (route(None, "API.example.com.:8443", "/a/mcp?q=/b", "x"), "a"),
        (route(None, "x.a.example", "/shared/mcp", "x"), "a"),
        (route(None, "api.example.com", "/b/mcp", "x"), "b"),
        (route(None, "nowhere", "/", "c2"), "c"),
        (route(Some("d"), "nowhere", "/", "x"), "d"),
        (route(Some("ee"), "nowhere", "/", "x"), "e"),
    ] {
        assert_eq!(recognise(servers, facts.clone()), Ok(expected.to_owned()), "{facts:?}");
    }
    let none = Err(SealError::Server(ServerError::None));
    for path in
        ["/ab", "/c", "/a/../b/", "/a/%2e%2e/b", "/a/%2E./b", "/a%2fb", "/a/..;x/b", "/a\\b", "//a", "/a//b", "/a/."]
    {
        assert_eq!(recognise(servers, route(None, "api.example.com", path, "x")), none, "{path}");
    }
    assert_eq!(recognise(servers, route(Some("nobody"), "nowhere", "/", "x")), none);
    let several = Err(SealError::Server(ServerError::Several(vec!["a".to_owned(), "c".to_owned()])));
    assert_eq!(recognise(servers, route(None, "api.example.com", "/a", "c1")), several);
    let metadata = "d".to_owned();
    let several = Err(SealError::Server(ServerError::Several(vec!["c".to_owned(), metadata])));
    assert_eq!(recognise(servers, route(Some("d"), "nowhere", "/", "c1")), several);
    let contradicted = recognise(servers, route(Some("nobody"), "nowhere", "/", "c1")).unwrap_err();
    assert!(contradicted.to_string().contains("the route names server `nobody`"), "{contradicted}");
}

#[test]
fn arguments_and_header_values_never_reach_debug() {
    let mut call = tool("create_issue", r#"{"owner":"hush-hush"}"#);
    call.headers.push(("x-mcp-readonly".to_owned(), b"hush-hush".to_vec()));
    let envelope = check(call);
    assert!(!format!("{envelope:?} {:?}", envelope.call()).contains("hush"));
}
