//! Step 12: entries as OpenTelemetry log records in OTLP/JSON, with the attribute names of its MCP and GenAI conventions where there
//! are any, and `holdpoint.` before the rest.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::payload::{Part, Payload};
use holdpoint_core::decision::Verdict;
use serde_json::{Value, json};

use super::{Origin, nanos, number as number_of, target_name, text};

/// Log records in one request.
pub const RECORDS_MAX: usize = 512;

/// One export request, as a collector takes it at `/v1/logs`.
pub fn request(records: Vec<Value>) -> Value {
    json!({ "resourceLogs": [{
        "resource": Origin::Service.resource(),
        "scopeLogs": [{
            "scope": { "name": "holdpoint.audit", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

/// One log record.
pub fn record(seq: u64, entry: &AuditEntry, payload: Option<&Payload>) -> Value {
    // Severity numbers of the OpenTelemetry log data model: 9 INFO, 13 WARN.
    let (severity, number) = if entry.verdict == Some(Verdict::Deny) { ("WARN", 13) } else { ("INFO", 9) };
    let mut attributes =
        vec![number_of("holdpoint.seq", seq), text("event.name", &format!("holdpoint.{}", entry.kind.as_str()))];
    let mut add = |name: &str, value: Option<&str>| attributes.extend(value.map(|value| text(name, value)));
    let is_tool_call = entry.method.as_deref() == Some("tools/call");
    add("mcp.method.name", entry.method.as_deref());
    add("mcp.protocol.version", entry.protocol_version.as_deref());
    add("mcp.session.id", entry.mcp_session.map(|session| session.to_string()).as_deref());
    add("gen_ai.operation.name", is_tool_call.then_some("execute_tool"));
    let target = entry.method.as_deref().map_or("holdpoint.target", target_name);
    add(target, entry.target.as_deref());
    add("holdpoint.server", entry.server.as_deref());
    add("holdpoint.verdict", entry.verdict.map(Verdict::as_str));
    add("holdpoint.rule", entry.rule_ids.first().map(String::as_str));
    add("holdpoint.approval_id", entry.approval_id.as_deref());
    add("holdpoint.hold_id", entry.hold_id.as_deref());
    add("holdpoint.status", entry.status.as_deref());
    add("holdpoint.by", entry.by.as_deref());
    add("holdpoint.outcome", entry.outcome.map(|outcome| outcome.as_str()));
    add("enduser.id", entry.principal.as_ref().map(|principal| principal.subject.as_str()));
    let digest = |part| entry.said_of(part).and_then(|said| said.digest).map(|digest| digest.to_string());
    add("holdpoint.arguments_digest", digest(Part::Arguments).as_deref());
    add("holdpoint.result_digest", digest(Part::Result).as_deref());
    let (arguments, result) = match is_tool_call {
        true => ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
        false => ("holdpoint.arguments", "holdpoint.result"),
    };
    add(arguments, payload.and_then(|payload| payload.arguments.as_deref()));
    add(result, payload.and_then(|payload| payload.result.as_deref()));
    let snapshot = entry.snapshot_id.map(|id| id.to_string());
    add("holdpoint.snapshot", snapshot.as_deref());
    attributes.extend(entry.http_status.map(|status| number_of("http.response.status_code", status.into())));
    attributes.extend(entry.latency_ms.map(|latency| number_of("holdpoint.latency_ms", latency)));
    let mut record = json!({
        "timeUnixNano": nanos(entry.at_ms),
        "severityNumber": number,
        "severityText": severity,
        "body": { "stringValue": entry.detail.as_deref().unwrap_or(entry.kind.as_str()) },
        "attributes": attributes,
    });
    if let Some(trace_id) = &entry.trace_id {
        record["traceId"] = json!(trace_id);
        // The span of the call, which the spans of the export have too.
        record["spanId"] = json!(entry.span_id);
    }
    record
}
