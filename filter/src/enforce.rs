//! Step 7: what becomes of a judged call: forwarded, refused or held; and what its constraints do to its headers.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdpoint_core::decision::{Constraints, Decision, Evaluated, Permit, Verdict};
use holdpoint_core::envelope::CallCredential;

#[cfg(test)]
mod tests;

/// What becomes of a judged call.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a plan is taken apart as soon as it is made; it is large on 64 bits alone"
)]
pub enum Plan {
    Forward(Permit),
    Reject,
    Hold,
}

/// Decision → plan. A verdict of allow without its permit is refused: the type that lets a call through is the
/// permit, not the word.
pub fn plan(evaluated: Evaluated) -> (Arc<Decision>, Plan) {
    let Evaluated { decision, permit } = evaluated;
    let plan = match (decision.verdict, permit) {
        (Verdict::Allow, Some(permit)) => Plan::Forward(permit),
        (Verdict::RequireApproval, None) => Plan::Hold,
        (Verdict::Allow | Verdict::Deny, None) | (Verdict::RequireApproval | Verdict::Deny, Some(_)) => Plan::Reject,
    };
    (decision, plan)
}

/// One change to the request's headers before it is forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderEdit {
    Remove(String),
    Set(&'static str, String),
}

/// Causes for which Envoy may forward again: those in which no server can have seen the request. They add to the causes
/// of the route's own `retry_policy`, which therefore has to be as safe (`envoy/README.md`).
const SAFE_RETRY_CAUSES: &str = "connect-failure,refused-stream";

/// How names begin with which an internal client may steer Envoy's router.
const STEERING_PREFIXES: &[&str] = &["x-envoy-upstream-rq-", "x-envoy-max-retries", "x-envoy-retr", "x-envoy-hedge-"];

/// Invites the server to compress its answer, which then nobody could judge. Never forwarded.
const ACCEPT_ENCODING: &str = "accept-encoding";

/// How much longer than the filter Envoy's router waits: it cannot tell the client why, so it only ends what the filter
/// did not.
const ROUTER_MARGIN_MS: u64 = 1_000;

const TIMEOUT_HEADER: &str = "x-envoy-upstream-rq-timeout-ms";
const RETRIES_HEADER: &str = "x-envoy-max-retries";
const RETRY_ON_HEADER: &str = "x-envoy-retry-on";

/// Headers of an approved call that reach the server: transport, MCP, trace. What is bound to the call or steers
/// nothing may pass; everything else was not part of what people approved.
const APPROVED_HEADERS: &[&str] = &[
    "host",
    "content-type",
    "content-length",
    "accept",
    "user-agent",
    "te",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    "last-event-id",
];

/// Which of a call's headers reach the server.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Only `APPROVED_HEADERS`, MCP's own, `bound` and forwarded credentials pass (so no `accept-encoding` either: the answer of an approved
    /// call must be readable to tell its outcome).
    pub is_approved: bool,
    pub bound: &'a BTreeSet<String>,
    /// What becomes of credentials: those the catalogue forwards pass, the others never do.
    pub credential: &'a CallCredential,
    /// These never pass, bound or not.
    pub stripped: &'a [&'a str],
}

/// The edits that make a request obey its constraints.
///
/// `names` are the request's header names. Headers with which a client could steer Envoy's retries and timeouts are
/// removed from every governed call, and so is `accept-encoding`: answers must be readable.
pub fn header_edits<'a>(
    names: impl Iterator<Item = &'a str>,
    constraints: &Constraints,
    passage: &Passage<'_>,
) -> Vec<HeaderEdit> {
    let mut edits: Vec<HeaderEdit> = Vec::new();
    for name in names {
        let steers = name == ACCEPT_ENCODING
            || name.starts_with('x') && STEERING_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let passes = !passage.is_approved
            || name.starts_with(':')
            || name.starts_with("mcp-")
            || APPROVED_HEADERS.contains(&name)
            || passage.bound.contains(name)
            || passage.credential.forwarded.iter().any(|forwarded| forwarded == name);
        let stripped =
            passage.stripped.contains(&name) || passage.credential.stripped.iter().any(|stripped| stripped == name);
        let is_removed = |edit: &HeaderEdit| matches!(edit, HeaderEdit::Remove(removed) if removed == name);
        if (steers || stripped || !passes) && !edits.iter().any(is_removed) {
            edits.push(HeaderEdit::Remove(name.to_owned()));
        }
    }
    if let Some(max_runtime_ms) = constraints.max_runtime_ms {
        let router_ms = max_runtime_ms.saturating_add(ROUTER_MARGIN_MS);
        edits.push(HeaderEdit::Set(TIMEOUT_HEADER, router_ms.to_string()));
    }
    // An approval is for one forward, so an approved call is never forwarded again, whatever its limit: the header of
    // causes only adds to the route's own, and a route that retries on 5xx would run the call twice.
    let max_retries = if passage.is_approved { Some(0) } else { constraints.max_retries };
    if let Some(max_retries) = max_retries {
        edits.push(HeaderEdit::Set(RETRIES_HEADER, max_retries.to_string()));
        if max_retries > 0 {
            edits.push(HeaderEdit::Set(RETRY_ON_HEADER, SAFE_RETRY_CAUSES.to_owned()));
        }
    }
    edits
}
