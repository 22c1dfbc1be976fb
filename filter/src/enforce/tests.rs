//! Constraints in, header edits out.

use super::*;

fn check(names: &[&str], constraints: &Constraints, approved: bool, edits: &[HeaderEdit]) {
    let (bound, stripped) = (["x-bound".to_owned()].into(), ["x-actor"]);
    let credential = CallCredential {
        forwarded: vec!["x-api-key".into()],
        stripped: vec!["authorization".into(), "cookie".into()],
        ..CallCredential::default()
    };
    let passage = Passage { is_approved: approved, bound: &bound, credential: &credential, stripped: &stripped };
    assert_eq!(header_edits(names.iter().copied(), constraints, &passage), edits);
}

fn remove(name: &str) -> HeaderEdit {
    HeaderEdit::Remove(name.to_owned())
}

#[test]
fn an_allowed_call_without_constraints_keeps_its_headers() {
    check(&[":path", "host", "x-team", "x-api-key"], &Constraints::default(), false, &[]);
    check(&["accept-encoding"], &Constraints::default(), false, &[remove("accept-encoding")]);
}

#[test]
fn what_steers_envoy_never_passes() {
    check(
        &["x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-envoy-retry-on", "x-envoy-internal"],
        &Constraints::default(),
        false,
        &[remove("x-envoy-upstream-rq-timeout-ms"), remove("x-envoy-retry-on")],
    );
}

#[test]
fn constraints_become_envoys_own_headers_and_an_approved_call_is_forwarded_once() {
    let constraints = Constraints { max_runtime_ms: Some(30_000), max_retries: Some(1), ..Constraints::default() };
    check(
        &[],
        &constraints,
        false,
        &[
            HeaderEdit::Set("x-envoy-upstream-rq-timeout-ms", "31000".to_owned()),
            HeaderEdit::Set("x-envoy-max-retries", "1".to_owned()),
            HeaderEdit::Set("x-envoy-retry-on", "connect-failure,refused-stream".to_owned()),
        ],
    );
    check(
        &[],
        &constraints,
        true,
        &[
            HeaderEdit::Set("x-envoy-upstream-rq-timeout-ms", "31000".to_owned()),
            HeaderEdit::Set("x-envoy-max-retries", "0".to_owned()),
        ],
    );
}

#[test]
fn an_approved_call_carries_only_what_was_approved_and_is_never_forwarded_twice() {
    check(
        &[":method", "mcp-session-id", "traceparent", "x-bound", "x-tenant-override", "cookie", "authorization"],
        &Constraints::default(),
        true,
        &[
            remove("x-tenant-override"),
            remove("cookie"),
            remove("authorization"),
            HeaderEdit::Set("x-envoy-max-retries", "0".to_owned()),
        ],
    );
}

#[test]
fn who_a_client_says_it_acts_for_never_reaches_the_server() {
    check(&["x-actor", "x-team"], &Constraints::default(), false, &[remove("x-actor")]);
}

#[test]
fn credentials_reach_the_server_only_on_purpose_approved_or_not() {
    let stripped = [remove("authorization"), remove("cookie")];
    check(&["authorization", "cookie", "x-api-key"], &Constraints::default(), false, &stripped);
    let once = [remove("authorization"), remove("cookie"), HeaderEdit::Set("x-envoy-max-retries", "0".to_owned())];
    check(&["authorization", "cookie", "x-api-key"], &Constraints::default(), true, &once);
}
