//! Step 12: the spans of a call, told from its entries.
//!
//! ```text
//! the client's span
//! └─ tools/call create_issue   SERVER    the filter: received, decided (an event), answered
//!    ├─ holdpoint.hold         INTERNAL  waited for people
//!    │  ├─ holdpoint.review    INTERNAL  one person's word, since it was asked for
//!    │  └─ POST /v1/approvals  SERVER    the service's own requests (see `requests`)
//!    └─ tools/call create_issue CLIENT   sent to the server, whose spans are below
//! ```
//!
//! Names follow the conventions for MCP and GenAI where they have any; the rest is ours, below `holdpoint.`.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use holdpoint_core::digest::{Digest, hex_encode};
use holdpoint_core::trace_parent::{HOLD_SPAN, UPSTREAM_SPAN, span_below};
use serde_json::{Value, json};

use super::{Origin, nanos, number, target_name, text};
use crate::trail::Numbered;
use crate::trail::call::happened_ms;
use crate::trail::clue::{Clue, clues_of};

/// Spans in one request.
pub const SPANS_MAX: usize = 512;
/// Entries of calls that have not ended yet, as far as is known; the oldest are forgotten.
const KEPT_MAX: usize = 50_000;

/// What OTLP calls the kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Internal,
    Server,
    Client,
}

impl SpanKind {
    fn number(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Server => 2,
            Self::Client => 3,
        }
    }
}

/// One span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub origin: Origin,
    pub trace_id: String,
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub name: String,
    pub kind: SpanKind,
    pub start_ms: u64,
    pub end_ms: u64,
    /// In the form of OTLP.
    pub attributes: Vec<Value>,
    pub events: Vec<Value>,
    /// Why it counts as failed.
    pub error: Option<String>,
}

impl Span {
    fn value(&self) -> Value {
        let mut span = json!({
            "traceId": self.trace_id,
            "spanId": self.span_id,
            "name": self.name,
            "kind": self.kind.number(),
            "startTimeUnixNano": nanos(self.start_ms),
            "endTimeUnixNano": nanos(self.end_ms.max(self.start_ms)),
            "attributes": self.attributes,
            "events": self.events,
            // 2 is ERROR; what went well says nothing, as the conventions ask.
            "status": self.error.as_ref().map_or(json!({}), |error| json!({ "code": 2, "message": error })),
        });
        if let Some(parent) = &self.parent_span_id {
            span["parentSpanId"] = json!(parent);
        }
        span
    }
}

/// One export request, as a collector takes it at `/v1/traces`.
pub fn request(spans: &[Span]) -> Value {
    let mut by_origin: BTreeMap<&Origin, Vec<Value>> = BTreeMap::new();
    for span in spans {
        by_origin.entry(&span.origin).or_default().push(span.value());
    }
    let resource = |(origin, spans): (&Origin, Vec<Value>)| {
        let scope = json!({ "name": "holdpoint", "version": env!("CARGO_PKG_VERSION") });
        json!({ "resource": origin.resource(), "scopeSpans": [{ "scope": scope, "spans": spans }] })
    };
    json!({ "resourceSpans": by_origin.into_iter().map(resource).collect::<Vec<_>>() })
}

/// Reads the record in its order and gives the spans of each call when it ends.
#[derive(Debug, Default)]
pub struct Gatherer {
    kept: BTreeMap<u64, Numbered>,
    named: BTreeMap<Clue, BTreeSet<u64>>,
}

impl Gatherer {
    /// Takes the next entry; the spans of the call that ended with it.
    pub fn take(&mut self, one: Numbered) -> Vec<Span> {
        let names: Vec<Clue> = clues_of(&one.entry).into_iter().filter(Clue::names_call).collect();
        let ends = ends(&one.entry);
        for name in &names {
            self.named.entry(name.clone()).or_default().insert(one.seq);
        }
        let related = if ends { self.related(&names) } else { Vec::new() };
        // What ended between claim and forward has an outcome of its own: one end, and one set of spans.
        let is_claimed =
            |other: &Numbered| other.entry.kind == EntryKind::Claim && other.entry.hold_id == one.entry.hold_id;
        let told_by_outcome = one.entry.kind == EntryKind::HoldEnded && related.iter().any(is_claimed);
        let spans = if ends && !told_by_outcome { spans_of(&one, &related) } else { Vec::new() };
        if !names.is_empty() {
            self.kept.insert(one.seq, one);
        }
        while self.kept.len() > KEPT_MAX {
            self.forget_oldest();
        }
        spans
    }

    /// Entries under any of these names, and of the approvals that they name.
    fn related(&self, names: &[Clue]) -> Vec<Numbered> {
        let seqs: BTreeSet<u64> = names.iter().filter_map(|name| self.named.get(name)).flatten().copied().collect();
        seqs.into_iter().filter_map(|seq| self.kept.get(&seq)).cloned().collect()
    }

    fn forget_oldest(&mut self) {
        let Some((seq, one)) = self.kept.pop_first() else { return };
        for name in clues_of(&one.entry).into_iter().filter(Clue::names_call) {
            if let Some(seqs) = self.named.get_mut(&name) {
                seqs.remove(&seq);
                if seqs.is_empty() {
                    self.named.remove(&name);
                }
            }
        }
    }
}

/// Whether a call is over with this entry.
fn ends(entry: &AuditEntry) -> bool {
    match entry.kind {
        EntryKind::Outcome | EntryKind::HoldEnded => true,
        EntryKind::Decision => match entry.verdict {
            Some(Verdict::Deny) => true,
            // With `audit.required` the outcome follows; a call that a limit kept out says why.
            Some(Verdict::Allow) => entry.outcome.is_some() || entry.detail.is_some(),
            Some(Verdict::RequireApproval) => entry.hold_id.is_none(),
            None => false,
        },
        _ => false,
    }
}

/// The spans of the call that ended with `end`; `related` are the entries that share a name with it.
fn spans_of(end: &Numbered, related: &[Numbered]) -> Vec<Span> {
    let entry = &end.entry;
    let Some(method) = entry.method.as_deref() else { return Vec::new() };
    let last = |is: &dyn Fn(&AuditEntry) -> bool| related.iter().map(|one| &one.entry).rfind(|one| is(one));
    let same_hold = |one: &AuditEntry| entry.hold_id.is_some() && one.hold_id == entry.hold_id;
    let same_span = |one: &AuditEntry| entry.span_id.is_some() && one.span_id == entry.span_id;
    let is_same = |one: &AuditEntry| same_hold(one) || (entry.hold_id.is_none() && same_span(one));
    let decision = last(&|one| one.kind == EntryKind::Decision && is_same(one)).unwrap_or(entry);
    // An end that the service wrote tells of its approval's trace, which may be the one of another call that waited too.
    let of_call = if entry.source.is_some() { entry } else { decision };
    let (trace_id, span_id) = match (&of_call.trace_id, &of_call.span_id) {
        (Some(trace_id), Some(span_id)) => (trace_id.clone(), span_id.clone()),
        _ => own_ids(end),
    };
    let below = |part: &str| span_below(&span_id, part);
    let origin = Origin::Filter(of_call.source.clone().or_else(|| decision.source.clone()));
    let mut attributes = vec![text("mcp.method.name", method)];
    if method == "tools/call" {
        attributes.push(text("gen_ai.operation.name", "execute_tool"));
    }
    attributes.extend(entry.target.as_deref().map(|target| text(target_name(method), target)));
    let name = match (method, entry.target.as_deref()) {
        // Of few values, as names of spans have to be; URIs are not.
        ("tools/call" | "prompts/get", Some(target)) => format!("{method} {target}"),
        _ => method.to_owned(),
    };
    let call = Span {
        origin: origin.clone(),
        trace_id: trace_id.clone(),
        span_id: span_id.clone(),
        parent_span_id: decision.parent_span_id.clone().or_else(|| of_call.parent_span_id.clone()),
        name: name.clone(),
        kind: SpanKind::Server,
        start_ms: decision.at_ms.min(entry.at_ms),
        end_ms: happened_ms(entry).max(entry.at_ms.saturating_add(entry.latency_ms.unwrap_or(0))),
        attributes: call_attributes(attributes.clone(), entry, decision),
        events: vec![decided(decision)],
        error: failure(entry, decision),
    };
    let mut spans = vec![call];
    let opens = |one: &AuditEntry| matches!(one.kind, EntryKind::ApprovalOpened | EntryKind::ApprovalJoined);
    let opened = last(&|one| one.approval_id.is_some() && opens(one));
    if let (Some(hold_id), Some(opened)) = (&entry.hold_id, opened) {
        let hold = below(HOLD_SPAN);
        let claim = last(&|one| one.kind == EntryKind::Claim && one.hold_id.as_ref() == Some(hold_id));
        let approval_id = opened.approval_id.as_deref().unwrap_or_default();
        let closed = last(&|one| one.kind == EntryKind::ApprovalClosed);
        let status = match claim {
            Some(_) => Some("consumed"),
            None => closed.and_then(|closed| closed.status.as_deref()),
        };
        let mut attributes = vec![text("holdpoint.approval_id", approval_id), text("holdpoint.hold_id", hold_id)];
        attributes.extend(status.map(|status| text("holdpoint.status", status)));
        spans.push(Span {
            origin,
            trace_id: trace_id.clone(),
            span_id: hold.clone(),
            parent_span_id: Some(span_id.clone()),
            name: "holdpoint.hold".to_owned(),
            kind: SpanKind::Internal,
            start_ms: decision.at_ms.min(opened.at_ms),
            end_ms: claim.map_or(entry.at_ms, |claim| claim.at_ms),
            attributes,
            events: Vec::new(),
            error: None,
        });
        for review in related.iter().filter(|one| one.entry.kind == EntryKind::Review) {
            let said = &review.entry;
            let mut attributes = vec![text("holdpoint.approval_id", approval_id)];
            attributes.extend(said.status.as_deref().map(|status| text("holdpoint.review", status)));
            attributes.extend(said.by.as_deref().map(|by| text("holdpoint.by", by)));
            spans.push(Span {
                origin: Origin::Service,
                trace_id: trace_id.clone(),
                span_id: below(&format!("review {}", review.seq)),
                parent_span_id: Some(hold.clone()),
                name: "holdpoint.review".to_owned(),
                kind: SpanKind::Internal,
                start_ms: opened.at_ms.min(said.at_ms),
                end_ms: said.at_ms,
                attributes,
                events: Vec::new(),
                error: None,
            });
        }
    }
    if matches!(entry.outcome, Some(Outcome::Committed | Outcome::Failed | Outcome::Unknown)) {
        attributes.extend(entry.http_status.map(|status| number("http.response.status_code", status.into())));
        attributes.extend(entry.answer_bytes.map(|bytes| number("holdpoint.answer_bytes", bytes)));
        attributes.extend(error_type(entry, decision).map(|kind| text("error.type", &kind)));
        spans.push(Span {
            origin: Origin::Filter(entry.source.clone()),
            trace_id,
            span_id: below(UPSTREAM_SPAN),
            parent_span_id: Some(span_id),
            name,
            kind: SpanKind::Client,
            start_ms: entry.at_ms,
            end_ms: entry.at_ms.saturating_add(entry.latency_ms.unwrap_or(0)),
            attributes,
            events: Vec::new(),
            error: failure(entry, decision),
        });
    }
    spans
}

/// Ids of a call that belongs to no trace of its client's: always the same ones.
fn own_ids(end: &Numbered) -> (String, String) {
    let entry = &end.entry;
    let name = match &entry.hold_id {
        Some(hold_id) => hold_id.clone(),
        None => format!("{} {}", entry.source.as_deref().unwrap_or_default(), end.seq),
    };
    let digest = Digest::tagged("holdpoint/trace/v1", name.as_bytes());
    let (trace_id, rest) = digest.as_bytes().split_at(16);
    (hex_encode(trace_id), hex_encode(rest.split_at(8).0))
}

fn call_attributes(mut attributes: Vec<Value>, entry: &AuditEntry, decision: &AuditEntry) -> Vec<Value> {
    let mut add = |name: &str, value: Option<&str>| attributes.extend(value.map(|value| text(name, value)));
    add("mcp.protocol.version", decision.protocol_version.as_deref());
    add("mcp.session.id", decision.mcp_session.map(|session| session.to_string()).as_deref());
    add("holdpoint.server", entry.server.as_deref());
    add("holdpoint.verdict", decision.verdict.map(Verdict::as_str));
    add("holdpoint.rule", decision.rule_ids.first().map(String::as_str));
    add("holdpoint.outcome", entry.outcome.map(Outcome::as_str));
    add("holdpoint.approval_id", entry.approval_id.as_deref());
    add("enduser.id", entry.principal.as_ref().map(|principal| principal.subject.as_str()));
    add("error.type", error_type(entry, decision).as_deref());
    let snapshot = decision.snapshot_id.map(|id| id.to_string());
    add("holdpoint.snapshot", snapshot.as_deref());
    attributes
}

/// The decision, as an event of the call.
fn decided(decision: &AuditEntry) -> Value {
    let mut attributes: Vec<Value> =
        decision.verdict.iter().map(|verdict| text("holdpoint.verdict", verdict.as_str())).collect();
    let rules: Vec<Value> = decision.rule_ids.iter().map(|rule| json!({ "stringValue": rule })).collect();
    attributes.push(json!({ "key": "holdpoint.rules", "value": { "arrayValue": { "values": rules } } }));
    json!({ "timeUnixNano": nanos(decision.at_ms), "name": "holdpoint.decision", "attributes": attributes })
}

/// Why a call did not go well, of few values; nothing where it did.
fn error_type(entry: &AuditEntry, decision: &AuditEntry) -> Option<String> {
    match (entry.outcome, decision.verdict) {
        (Some(Outcome::Committed), _) => None,
        (Some(Outcome::Failed), _) => Some(match entry.http_status {
            Some(status @ 400..) => status.to_string(),
            // The server answered, and the answer is an error: of a tool, as the conventions call it.
            Some(_) | None if entry.method.as_deref() == Some("tools/call") => "tool_error".to_owned(),
            Some(_) | None => "_OTHER".to_owned(),
        }),
        (Some(Outcome::Refused), _) => Some("holdpoint.not_run".to_owned()),
        (Some(Outcome::Unknown), _) => Some("holdpoint.unknown".to_owned()),
        (None, Some(Verdict::Deny)) => Some("holdpoint.denied".to_owned()),
        (None, _) => Some("holdpoint.not_run".to_owned()),
    }
}

fn failure(entry: &AuditEntry, decision: &AuditEntry) -> Option<String> {
    let kind = error_type(entry, decision)?;
    Some(entry.detail.clone().unwrap_or(kind))
}
