//! One POST in, one message or one refusal out. Bodies stand here as they come over the wire.

use super::*;
use crate::json::{Limits, Value};

mod batch;
mod bodiless;
mod own_round;

type Headers<'a> = &'a [(&'a str, &'a str)];

const MODERN: Headers<'static> =
    &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "t")];
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;

fn post_bytes(headers: &[(Vec<u8>, Vec<u8>)], body: &[u8]) -> Result<McpMessage, Malformed> {
    let head = Head { method: b"POST", path: b"/mcp", headers };
    read(&head, body.to_vec(), &Limits::default())
}

fn pairs(headers: Headers<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn post(headers: Headers<'_>, body: &str) -> Result<McpMessage, Malformed> {
    let mut all = pairs(&[(":authority", "mcp.example"), ("content-type", "application/json")]);
    all.extend(pairs(headers));
    post_bytes(&all, body.as_bytes())
}

fn accepted(headers: Headers<'_>, body: &str) -> McpMessage {
    post(headers, body).unwrap_or_else(|error| panic!("{body}: {error}"))
}

/// A legacy request with these `params`.
fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn check_refused(headers: Headers<'_>, body: &str, status: u16, code: i32, expected: &str) {
    let error = post(headers, body).expect_err(body);
    assert_eq!((error.to_string().as_str(), error.status, error.code), (expected, status, code), "{body}");
}

#[test]
fn legacy_tool_call_is_read_whole() {
    let headers = &[("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", "s-1")];
    let body = r#"{"jsonrpc":"2.0","id":"x\u0041","method":"tools/call","params":{"name":"create_issue","arguments":{"n":1.0},"_meta":{"progressToken":0}},"extra":1}"#;
    let message = accepted(headers, body);
    assert_eq!((message.era(), message.kind()), (Era::V2025_11_25, MessageKind::Request));
    assert_eq!((message.method(), message.method().class()), (&Method::ToolsCall, MethodClass::Governed));
    assert_eq!(message.target(), &Target::Tool("create_issue".to_owned()));
    assert_eq!(message.id_raw(), Some(r#""x\u0041""#));
    assert_eq!(message.id().unwrap().as_str().unwrap(), "xA");
    assert_eq!(message.arguments().unwrap().raw(), r#"{"n":1.0}"#);
    assert_eq!(message.meta().unwrap().len(), 1);
    assert_eq!(message.progress_token().unwrap().raw(), "0");
    assert_eq!(message.params().unwrap().len(), 3);
    assert_eq!(message.mcp_session_id(), Some("s-1"));
    assert!(!message.declares_url_elicitation() && !message.declares_tasks());
    assert_eq!(message.document().bytes(), body.as_bytes());
    assert!(!format!("{message:?}").contains("1.0"));
    assert_eq!(message.into_bytes(), body.as_bytes());
}

#[test]
fn modern_tool_call_carries_its_capabilities_and_bound_headers() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","requestState":"s","inputResponses":{"k":{}},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}"#;
    let mut headers = MODERN.to_vec();
    headers.extend([("Mcp-Param-Region", " eu "), ("mcp-param-a", "=?base64?4pyT?="), ("mcp-session-id", "stale")]);
    let body = &body.replace(r#""name":"t","#, r#""name":"t","arguments":{"where":{"region":"eu"},"tick":"✓"},"#);
    let message = accepted(&headers, body);
    assert_eq!((message.era(), message.arguments().is_some()), (Era::V2026_07_28, true));
    assert!(message.declares_url_elicitation() && message.declares_tasks());
    assert_eq!(message.request_state().unwrap().raw(), "\"s\"");
    assert_eq!(message.input_responses().unwrap().raw(), r#"{"k":{}}"#);
    let carried: Vec<_> = message.param_headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(carried, [("mcp-param-a", "=?base64?4pyT?="), ("mcp-param-region", "eu")]);
}

#[test]
fn capabilities_count_only_where_the_era_declares_them_per_message() {
    let body = request(
        "tools/call",
        r#"{"name":"t","_meta":{"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"url":{}}}}}"#,
    );
    assert!(!accepted(&[], &body).declares_url_elicitation());
    let wrong =
        format!(r#"{{"name":"t",{}}}"#, META.replace('}', r#","io.modelcontextprotocol/clientCapabilities":[]}"#));
    let expected = "envelope: `params._meta[\"io.modelcontextprotocol/clientCapabilities\"]` must be an object";
    check_refused(MODERN, &request("tools/call", &wrong), 400, -32602, expected);
}

#[test]
fn era_is_judged_per_message() {
    let call = request("tools/call", r#"{"name":"t"}"#);
    let initialize = |version: &str| request("initialize", &format!(r#"{{"protocolVersion":"{version}"}}"#));
    for (version, body, era) in [
        (None, call.clone(), Era::V2025_03_26),
        (Some("2024-11-05"), call.clone(), Era::V2024_11_05),
        (Some("2025-03-26"), call.clone(), Era::V2025_03_26),
        (Some(" 2025-06-18\t"), call.clone(), Era::V2025_06_18),
        (Some("2025-11-25"), call, Era::V2025_11_25),
        (None, initialize("2025-06-18"), Era::V2025_06_18),
        // A client that offers a modern or unknown version in the old handshake still speaks the old way.
        (None, initialize("2026-07-28"), Era::V2025_11_25),
        (Some("2026-07-28"), initialize("2026-07-28"), Era::V2025_11_25),
        (None, initialize("2031-01-01"), Era::V2025_11_25),
        (Some("2026-07-28"), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(), Era::V2026_07_28),
        (None, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.to_owned(), Era::V2025_03_26),
    ] {
        let headers: Vec<_> = version.map(|version| ("mcp-protocol-version", version)).into_iter().collect();
        assert_eq!(accepted(&headers, &body).era(), era, "{version:?} {body}");
    }
}

#[test]
fn versions_nobody_knows_are_refused_in_the_code_of_their_era() {
    let known = "use one of 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28";
    let expected = format!("version: this protocol version is not known; {known}");
    let ping = r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#;
    check_refused(&[("mcp-protocol-version", "1900-01-01")], ping, 400, -32600, &expected);
    let enveloped = |version: &str| {
        request(
            "tools/call",
            &format!(r#"{{"name":"t","_meta":{{"io.modelcontextprotocol/protocolVersion":{version}}}}}"#),
        )
    };
    check_refused(&[("mcp-protocol-version", "2031-01-01")], &enveloped("\"2031-01-01\""), 400, -32022, &expected);
    check_refused(&[("mcp-protocol-version", "2025-11-25")], &enveloped("\"2025-11-25\""), 400, -32022, &expected);
    let unknown = post(&[("mcp-protocol-version", "2031-01-01")], &enveloped("\"2031-01-01\"")).unwrap_err();
    assert_eq!(unknown.requested_version.as_deref(), Some("2031-01-01"));
    let text = "envelope: `params._meta[\"io.modelcontextprotocol/protocolVersion\"]` must be a string";
    check_refused(MODERN, &enveloped("7"), 400, -32602, text);
    let text = "envelope: a 2026-07-28 request must carry `params._meta[\"io.modelcontextprotocol/protocolVersion\"]`";
    check_refused(MODERN, &request("tools/call", r#"{"name":"t"}"#), 400, -32602, text);
    let error = post(&[("mcp-protocol-version", "x")], ping).unwrap_err();
    assert_eq!((error.id.as_deref(), error.era, error.kind), (Some("7"), None, MalformedKind::Version));
}

#[test]
fn modern_headers_must_equal_the_body() {
    let call = request("tools/call", &format!(r#"{{"name":"t",{META}}}"#));
    let version = ("mcp-protocol-version", "2026-07-28");
    let method = ("mcp-method", "tools/call");
    let name = ("mcp-name", "t");
    let differs = "header: header `mcp-name` differs from what the body names; make them equal";
    let wrong_version =
        "header: header `mcp-protocol-version` must equal `params._meta[\"io.modelcontextprotocol/protocolVersion\"]`";
    let cases: &[(Headers<'_>, &str)] = &[
        (&[method, name], wrong_version),
        (&[("mcp-protocol-version", "2025-11-25"), method, name], wrong_version),
        (&[version, name], "header: header `mcp-method` is missing; repeat the body's `method` in it"),
        (
            &[version, ("mcp-method", "Tools/call"), name],
            "header: header `mcp-method` differs from the body's `method`; make them equal",
        ),
        (&[version, method], "header: header `mcp-name` is missing; repeat what the body names in it"),
        (&[version, method, ("mcp-name", "T")], differs),
        (&[version, method, ("mcp-name", "")], differs),
        (&[version, method, ("mcp-name", "=?BASE64?dA==?=")], differs),
        (&[version, method, ("mcp-name", "=?base64?dA?=")], differs),
        // The same letter in base64 that only a sloppy decoder takes.
        (&[version, method, ("mcp-name", "=?base64?dB==?=")], differs),
        (&[version, method, name, name], "header: header `mcp-name` comes more than once; send it once"),
        (
            &[version, method, ("mcp-method", "tools/call"), name],
            "header: header `mcp-method` comes more than once; send it once",
        ),
        (&[version, version, method, name], "header: header `mcp-protocol-version` comes more than once; send it once"),
        (&[version, method, name, ("host", "other")], "header: header `host` comes more than once; send it once"),
        (
            &[version, method, name, ("mcp-param-x", "1"), ("Mcp-Param-X", "2")],
            "header: header `mcp-param-x` comes more than once; send it once",
        ),
        (
            &[version, method, name, ("mcp-param-x", "é")],
            "header: header `mcp-param-x` holds other than printable ASCII characters",
        ),
    ];
    for (headers, expected) in cases {
        check_refused(headers, &call, 400, -32020, expected);
        let error = post(headers, &call).unwrap_err();
        assert_eq!((error.id.as_deref(), error.era), (Some("1"), Some(Era::V2026_07_28)));
    }
    accepted(&[version, method, ("mcp-name", "=?base64?dA==?=")], &call);
}

#[test]
fn encoded_names_stand_for_what_they_encode() {
    for (name, header) in [
        ("ü", "=?base64?w7w=?="),
        ("a\u{e9}b", "=?base64?YcOpYg==?="),
        ("日本", "=?base64?5pel5pys?="),
        ("=?base64?dA==?=", "=?base64?PT9iYXNlNjQ/ZEE9PT89?="),
    ] {
        let body = request("tools/call", &format!(r#"{{"name":"{name}",{META}}}"#));
        let headers = &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", header)];
        assert_eq!(accepted(headers, &body).target(), &Target::Tool(name.to_owned()));
        let plain = &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", name)];
        assert_eq!(post(plain, &body).unwrap_err().kind, MalformedKind::Header, "{name}");
    }
}

#[test]
fn headers_before_their_era_may_be_absent_but_not_lie() {
    let call = request("tools/call", r#"{"name":"t"}"#);
    accepted(&[("mcp-method", "tools/call"), ("mcp-name", "t")], &call);
    let text = "header: header `mcp-method` differs from the body's `method`; make them equal";
    check_refused(&[("mcp-method", "tools/list")], &call, 400, -32600, text);
    let text = "header: header `mcp-name` differs from what the body names; make them equal";
    check_refused(&[("mcp-name", "u")], &call, 400, -32600, text);
    let text = "header: header `mcp-name` is there, but the body names nothing for it; leave it out";
    check_refused(&[("mcp-name", "t")], &request("tools/list", "{}"), 400, -32600, text);
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let text = "header: header `mcp-method` differs from the body's `method`; make them equal";
    check_refused(&[("mcp-method", "tools/call")], response, 400, -32600, text);
}

#[test]
fn resource_and_task_names_are_mirrored_too() {
    for (method, member, name) in [
        ("resources/read", "uri", "file:///p/config.json"),
        ("prompts/get", "name", "review"),
        ("tasks/get", "taskId", "786"),
        ("tasks/update", "taskId", "786"),
        ("tasks/cancel", "taskId", "786"),
    ] {
        let body = request(method, &format!(r#"{{"{member}":"{name}",{META}}}"#));
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method), ("mcp-name", name)];
        assert_eq!(accepted(&headers, &body).target().name(), Some(name));
        assert_eq!(post(&headers[..2], &body).unwrap_err().code, -32020, "{method}");
    }
    for method in ["server/discover", "tools/list"] {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        assert_eq!(accepted(&headers, &request(method, &format!("{{{META}}}"))).target(), &Target::None);
    }
}

#[test]
fn the_body_must_be_plain_json() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let with = |headers: Headers<'_>| post_bytes(&pairs(headers), body.as_bytes());
    for content_type in [
        "application/json",
        "Application/JSON; Charset=UTF-8",
        "application/json;charset=\"utf-8\"",
        " application/json ",
    ] {
        assert!(with(&[("content-type", content_type)]).is_ok(), "{content_type}");
    }
    for content_type in [
        "",
        "text/plain",
        "application/json; charset=utf-7",
        "application/json, text/plain",
        "application/jsonx",
        "application/json; charset=utf-8; boundary=x",
        "application/json;",
        "application/vnd.api+json",
    ] {
        let error = with(&[("content-type", content_type)]).unwrap_err();
        assert_eq!((error.kind, error.status), (MalformedKind::ContentType, 415), "{content_type}");
    }
    let json = ("content-type", "application/json");
    assert_eq!(with(&[]).unwrap_err().kind, MalformedKind::ContentType);
    assert_eq!(with(&[json, json]).unwrap_err().kind, MalformedKind::ContentType);
    assert_eq!(with(&[json, ("content-encoding", "gzip")]).unwrap_err().kind, MalformedKind::Encoding);
    let twice = with(&[json, ("content-encoding", "identity"), ("content-encoding", "identity")]);
    assert_eq!(twice.unwrap_err().kind, MalformedKind::Encoding);
    assert!(with(&[json, ("content-encoding", "Identity")]).is_ok());
    let lengths = with(&[json, ("content-length", "40"), ("content-length", "40")]);
    assert_eq!(lengths.unwrap_err().kind, MalformedKind::Header);
    for session in ["", "a b", "a\tb", &"s".repeat(1025)] {
        assert_eq!(with(&[json, ("mcp-session-id", session)]).unwrap_err().kind, MalformedKind::Header, "{session}");
    }
    let mut headers = pairs(&[json]);
    headers.push((b"mcp-name".to_vec(), vec![0xff]));
    assert_eq!(post_bytes(&headers, body.as_bytes()).unwrap_err().kind, MalformedKind::Header);
    for name in ["x-http-method-override", "X-HTTP-Method", "x-method-override", "x-original-url", "X-Rewrite-URL"] {
        assert_eq!(with(&[json, (name, "DELETE")]).unwrap_err().kind, MalformedKind::Header, "{name}");
    }
    for (path, is_fine) in [
        ("/mcp?_method=DELETE", false),
        ("/mcp?a=1&_method=GET", false),
        ("/mcp?a_method=1&method=2", true),
        ("/_method=1", true),
    ] {
        let head = Head { method: b"POST", path: path.as_bytes(), headers: &pairs(&[json]) };
        assert_eq!(read(&head, body.as_bytes().to_vec(), &Limits::default()).is_ok(), is_fine, "{path}");
    }
    let get = Head { method: b"GET", path: b"/mcp", headers: &pairs(&[json]) };
    let error = read(&get, body.as_bytes().to_vec(), &Limits::default()).unwrap_err();
    assert_eq!((error.kind, error.status), (MalformedKind::HttpMethod, 405));
}

#[test]
fn broken_json_is_a_parse_error_without_id() {
    check_refused(&[], "{", 400, -32700, "json: byte 1: expected a key or `}`, found the end of the text");
    let twice = r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#;
    check_refused(
        &[],
        twice,
        400,
        -32600,
        "duplicate_key: byte 40: key `method` stands twice in one object; send it once",
    );
    assert_eq!(post(&[], twice).unwrap_err().id, None);
    let batch = "batch: batches are refused; send each message by itself";
    check_refused(&[], r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, 400, -32600, batch);
    check_refused(&[], "7", 400, -32600, "envelope: a message is an object, found number");
}

#[test]
fn a_message_is_exactly_one_thing() {
    for (body, expected) in [
        (r#"{"id":1,"method":"ping"}"#, "`jsonrpc` must be the string \"2.0\""),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "`jsonrpc` must be the string \"2.0\""),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "`jsonrpc` must be the string \"2.0\""),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            "a message has a `method`, a `result` or an `error`; this one has none of them",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "`method` must be a string"),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, "`method` must have 1 to 128 visible ASCII characters"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000"}"#,
            "`method` must have 1 to 128 visible ASCII characters",
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            "a message with a `method` has neither `result` nor `error`",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, "a response has a `result` or an `error`, not both"),
        (r#"{"jsonrpc":"2.0","result":{}}"#, "a response must carry the `id` of the request it answers"),
        (r#"{"jsonrpc":"2.0","id":1,"result":1}"#, "the `result` or `error` of a response must be an object"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, "a response has no `params`"),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#,
            "this method wants an answer, so it must carry an `id`",
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#, "a notification has no `id`"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["t"]}"#, "`params` must be an object"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":null}"#, "`params` must be an object"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":"s"}"#, "`params` must be an object"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":[]}}"#, "`params._meta` must be an object"),
    ] {
        check_refused(&[], body, 400, -32600, &format!("envelope: {expected}"));
    }
    let modern = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let text = "envelope: in 2026-07-28 a client posts no responses; answer in `inputResponses`";
    check_refused(&[("mcp-protocol-version", "2026-07-28")], modern, 400, -32600, text);
}

#[test]
fn responses_notifications_and_unknown_methods_are_read() {
    let response = accepted(&[], r#"{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"no"}}"#);
    assert_eq!(
        (response.kind(), response.method(), response.id_raw()),
        (MessageKind::Response, &Method::Response, Some("0"))
    );
    let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"123"}}"#;
    let cancelled = accepted(&[], cancelled);
    assert_eq!((cancelled.kind(), cancelled.id_raw()), (MessageKind::Notification, None));
    assert_eq!(cancelled.cancelled_request_id().unwrap().raw(), "\"123\"");
    let other = accepted(&[], r#"{"jsonrpc":"2.0","id":1,"method":"x/y","params":[1]}"#);
    assert_eq!((other.method(), other.method().class()), (&Method::Unknown("x/y".to_owned()), MethodClass::Unknown));
    assert_eq!(accepted(&[], r#"{"jsonrpc":"2.0","method":"x/y"}"#).kind(), MessageKind::Notification);
    assert!(
        accepted(&[], r#"{"jsonrpc":"2.0","id":1,"method":"Tools/call"}"#).method().class() == MethodClass::Unknown
    );
}

#[test]
fn ids_are_strings_or_exact_integers() {
    let with_id = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    for id in ["0", "-1", "9007199254740991", "-9007199254740991", r#""""#, r#""server-discover-probe-1""#] {
        assert_eq!(accepted(&[], &with_id(id)).id_raw(), Some(id));
    }
    let long = format!("\"{}\"", "x".repeat(255));
    let text =
        "envelope: `id` must be a string of at most 256 bytes or an integer within ±(2^53 - 1), without fraction";
    for id in ["null", "true", "[]", "{}", "1.0", "1e2", "-0", "9007199254740992", "18446744073709551616", &long] {
        check_refused(&[], &with_id(id), 400, -32600, text);
        assert_eq!(post(&[], &with_id(id)).unwrap_err().id, None, "{id}");
    }
}

#[test]
fn near_names_of_protocol_keys_are_refused() {
    for (key, meant) in [
        ("Method", "method"),
        ("METHOD", "method"),
        ("method ", "method"),
        ("_method", "method"),
        ("me-thod", "method"),
        ("meth\u{200b}od", "method"),
        ("param\u{17f}", "params"),
        ("Params", "params"),
        ("ID", "id"),
        ("\u{131}d", "id"),
        ("\u{130}d", "id"),
        ("re\u{17f}ult", "result"),
        ("JSONRPC", "jsonrpc"),
        ("json_rpc", "jsonrpc"),
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{key}":1}}"#);
        let error = post(&[], &body).expect_err(key);
        assert_eq!((error.kind, error.code, error.status), (MalformedKind::NearKey, -32600, 400), "{key}");
        assert!(
            error.detail.ends_with(&format!("could be taken for `{meant}`; spell it `{meant}` or leave it out")),
            "{error}"
        );
    }
    // Where strings end at a NUL it is `method`; the JSON reader refuses it wherever it stands.
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":1}"#;
    assert_eq!(post(&[], body).unwrap_err().kind, MalformedKind::NearKey);
    let body = request("tools/call", r#"{"name":"t","arguments":{"a":[{"__proto__":{"b":1}}]}}"#);
    assert_eq!(post(&[], &body).unwrap_err().kind, MalformedKind::NearKey);
    for params in [
        r#"{"name":"t","Name":"u"}"#,
        r#"{"name":"t","Arguments":{}}"#,
        r#"{"name":"t","meta":{}}"#,
        r#"{"name":"t","ta\u017fk":{}}"#,
        "{\"name\":\"t\",\"tas\u{212a}\":{}}",
        r#"{"name":"t","task_id":"1"}"#,
        r#"{"name":"t","request_state":"1"}"#,
        r#"{"name":"t","_meta":{"holdpoint.dev/Tags":[]}}"#,
        r#"{"name":"t","_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}}"#,
        r#"{"name":"t","_meta":{"progress_token":1}}"#,
    ] {
        assert_eq!(
            post(&[], &request("tools/call", params)).expect_err(params).kind,
            MalformedKind::NearKey,
            "{params}"
        );
    }
    let argument = r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"","Value":"x"}}"#;
    assert_eq!(post(&[], &request("completion/complete", argument)).unwrap_err().kind, MalformedKind::NearKey);
    let reference = r#"{"ref":{"type":"ref/prompt","name":"p","Name":"q"},"argument":{"name":"a","value":""}}"#;
    assert_eq!(post(&[], &request("completion/complete", reference)).unwrap_err().kind, MalformedKind::NearKey);
    // Arguments are the tool's own: near names in them are judged where a rule looks for a member.
    accepted(&[], &request("tools/call", r#"{"name":"t","arguments":{"id":1,"ID":2,"Method":3},"title":"x"}"#));
}

#[test]
fn targets_are_taken_by_method() {
    let subscription = |uris: &[&str], task_ids: &[&str]| Target::Subscription {
        uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
        task_ids: task_ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    for (method, params, target) in [
        ("tools/call", r#"{"name":"t","arguments":{}}"#, Target::Tool("t".into())),
        ("tools/call", r#"{"name":"\u0074","task":{"ttl":1}}"#, Target::Tool("t".into())),
        (
            "resources/read",
            r#"{"uri":"file:///a%20b?x=..&y=.#z"}"#,
            Target::Resource("file:///a%20b?x=..&y=.#z".into()),
        ),
        ("resources/read", r#"{"uri":"ui://app/v1.0/..x"}"#, Target::Resource("ui://app/v1.0/..x".into())),
        ("prompts/get", r#"{"name":"p","arguments":{"a":"b"}}"#, Target::Prompt("p".into())),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"v"}}"#,
            Target::Completion(CompletionRef::Prompt("p".into())),
        ),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"file:///{path}"},"argument":{"name":"a","value":"v"}}"#,
            Target::Completion(CompletionRef::Resource("file:///{path}".into())),
        ),
        ("resources/subscribe", r#"{"uri":"a:b"}"#, subscription(&["a:b"], &[])),
        ("resources/unsubscribe", r#"{"uri":"a:b"}"#, subscription(&["a:b"], &[])),
        (
            "subscriptions/listen",
            r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:b","c:d"],"taskIds":["7"]}}"#,
            subscription(&["a:b", "c:d"], &["7"]),
        ),
        ("tasks/result", r#"{"taskId":"7"}"#, Target::Task("7".into())),
        ("tasks/list", r#"{"cursor":""}"#, Target::None),
        ("resources/templates/list", "{}", Target::None),
        ("logging/setLevel", r#"{"level":"info"}"#, Target::None),
    ] {
        assert_eq!(accepted(&[], &request(method, params)).target(), &target, "{method} {params}");
    }
}

#[test]
fn what_a_method_needs_must_be_there_and_plain() {
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(257));
    for (method, params, expected) in [
        ("tools/call", "{}", "`params.name` is missing; its type is string"),
        ("tools/call", r#"{"name":7}"#, "`params.name` must be of type string, found number"),
        ("tools/call", r#"{"name":""}"#, "`params.name` must have 1 to 256 characters"),
        ("tools/call", &long, "`params.name` must have 1 to 256 characters"),
        ("tools/call", r#"{"name":"a\nb"}"#, "`params.name` holds a control or invisible character"),
        ("tools/call", r#"{"name":"a\u202eb"}"#, "`params.name` holds a control or invisible character"),
        ("tools/call", r#"{"name":" a"}"#, "`params.name` starts or ends with white space"),
        ("tools/call", r#"{"name":"t","arguments":[]}"#, "`params.arguments` must be of type object, found array"),
        ("tools/call", r#"{"name":"t","arguments":null}"#, "`params.arguments` must be of type object, found null"),
        ("tools/call", r#"{"name":"t","task":true}"#, "`params.task` must be of type object, found boolean"),
        (
            "tools/call",
            r#"{"name":"t","requestState":{}}"#,
            "`params.requestState` must be of type string, found object",
        ),
        ("resources/read", "{}", "`params.uri` is missing; its type is string"),
        ("resources/read", r#"{"uri":"a b"}"#, "`params.uri` holds white space or a control or invisible character"),
        ("prompts/get", r#"{"name":"p","arguments":{"a":1}}"#, "`params.arguments` of a prompt must hold strings only"),
        ("completion/complete", r#"{"argument":{}}"#, "`params.ref` is missing; its type is object"),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/tool"},"argument":{"name":"a","value":"v"}}"#,
            "`params.ref.type` must be `ref/prompt` or `ref/resource`",
        ),
        ("subscriptions/listen", "{}", "`params.notifications` is missing; its type is object"),
        (
            "subscriptions/listen",
            r#"{"notifications":{"taskIds":[1]}}"#,
            "`params.taskIds` must be of type string, found number",
        ),
        ("tasks/get", "{}", "`params.taskId` is missing; its type is string"),
        ("tools/list", r#"{"cursor":1}"#, "`params.cursor` must be of type string, found number"),
        ("initialize", "{}", "`params.protocolVersion` is missing; its type is string"),
    ] {
        // Before 2026-07-28 such an error rides on 200.
        check_refused(&[], &request(method, params), 200, -32602, &format!("params: {expected}"));
    }
    let modern = request("tools/call", &format!(r#"{{"name":7,{META}}}"#));
    check_refused(MODERN, &modern, 400, -32602, "params: `params.name` must be of type string, found number");
    let absent = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#;
    check_refused(&[], absent, 200, -32602, "params: `params.name` is missing; its type is string");
}

#[test]
fn what_the_era_dropped_is_left_to_the_server_to_refuse() {
    for method in ["resources/subscribe", "resources/unsubscribe", "tasks/result"] {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        let message = accepted(&headers, &request(method, &format!("{{{META}}}")));
        assert_eq!((message.method(), message.target()), (&Method::Unknown(method.to_owned()), &Target::None));
        assert_eq!(post(&[], &request(method, "{}")).unwrap_err().kind, MalformedKind::Params);
    }
    // Some clients keep a session beside the envelope, and name what they mean.
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "resources/subscribe")];
    let hybrid = accepted(&headers, &request("resources/subscribe", &format!(r#"{{"uri":"a:b",{META}}}"#)));
    assert_eq!(hybrid.method(), &Method::ResourcesSubscribe);
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "initialize")];
    assert_eq!(accepted(&headers, &request("initialize", &format!("{{{META}}}"))).method(), &Method::Initialize);
}

#[test]
fn uris_that_walk_are_refused_however_they_are_encoded() {
    for uri in [
        "file:///a/../b",
        "file:///a/./b",
        "file:///a/..",
        "..",
        "../a",
        "file:..",
        "file:///a/%2e%2e/b",
        "file:///a/.%2E/b",
        "file:///a/..%2fb",
        "file:///a%2f..%2fb",
        "file:///a/%252e%252e/b",
        r"file:///a\\..\\b",
        "file:///a%5c..%5cb",
        "file:///a/..;x/b",
        "file:///a/..?x",
        "file:///a/..#x",
        "file:///a/..%3fx",
        "file:///a/b%00",
        "file:///%2500",
        "file:///a%0d%0ab",
        "file:///%25252e",
    ] {
        let body = request("resources/read", &format!(r#"{{"uri":"{uri}"}}"#));
        assert_eq!(post(&[], &body).expect_err(uri).kind, MalformedKind::Params, "{uri}");
    }
    for uri in
        ["file:///a/...", "file:///a/.hidden", "file:///100%", "file:///%zz", "https://h/a%20b%2Fc", "x:%2541", "a:é"]
    {
        accepted(&[], &request("resources/read", &format!(r#"{{"uri":"{uri}"}}"#)));
    }
}

#[test]
fn a_refusal_never_echoes_a_stranger_at_length() {
    let key = "m\u{212a}".repeat(5000);
    let near = format!("{}method{}", "_".repeat(60_000), "_".repeat(60_000));
    for body in [
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","{key}":1,"{key}":2}}"#),
        format!(r#"{{"jsonrpc":"2.0","id":1,"{near}":"ping"}}"#),
        request("tools/call", &format!(r#"{{"name":"{}"}}"#, "x".repeat(100_000))),
    ] {
        assert!(post(&[], &body).unwrap_err().detail.len() < 300);
    }
}

#[test]
fn every_method_is_read_back_from_its_name() {
    for name in [
        "tools/call",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "prompts/get",
        "completion/complete",
        "subscriptions/listen",
        "tasks/get",
        "tasks/result",
        "tasks/list",
        "tasks/update",
        "tasks/cancel",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "initialize",
        "server/discover",
        "ping",
        "logging/setLevel",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
        "notifications/tasks/status",
    ] {
        let method = Method::from_wire(name);
        assert!(method.is_known() && method.as_str() == name, "{name}");
        assert_eq!(method.is_notification(), name.starts_with("notifications/"));
    }
    for name in ["tools/Call", "(response)", "tools/call ", "notifications/x"] {
        assert_eq!(Method::from_wire(name), Method::Unknown(name.to_owned()));
    }
}

#[test]
fn places_survive_a_move_of_the_message() {
    let moved = Box::new(accepted(&[], &request("tools/call", r#"{"arguments":{"a":[1,2]},"name":"t"}"#)));
    let text = moved.arguments().and_then(|arguments| arguments.pointer("/a/1")).map(|value: Value<'_>| value.raw());
    assert_eq!(text, Some("2"));
}
