//! An entry as an OCSF 1.3 event: class API Activity (6003). What OCSF has no word for stands under `unmapped`.

use holdpoint_core::audit::payload::Payload;
use holdpoint_core::audit::{AuditEntry, Outcome};
use holdpoint_core::decision::Verdict;
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

const CLASS: u32 = 6_003;
/// Activity "Other": OCSF's own words are those of a database.
const ACTIVITY: u32 = 99;

/// One event.
pub fn event(seq: u64, entry: &AuditEntry, payload: Option<&Payload>) -> Value {
    let (severity, severity_id) = if is_refused(entry) { ("Medium", 3) } else { ("Informational", 1) };
    let (status, status_id) = match (is_refused(entry), entry.outcome) {
        (true, _) | (_, Some(Outcome::Failed | Outcome::Refused)) => ("Failure", 2),
        (_, Some(Outcome::Unknown)) => ("Unknown", 0),
        (false, Some(Outcome::Committed) | None) => ("Success", 1),
    };
    let actor = entry.principal.as_ref().map_or_else(
        || json!({ "app_name": entry.by.as_deref().or(entry.source.as_deref()).unwrap_or("holdpoint") }),
        |principal| {
            let groups: Vec<Value> = principal.groups.iter().map(|group| json!({ "name": group })).collect();
            json!({
                "user": { "uid": principal.subject, "domain": principal.issuer, "groups": groups },
                "app_uid": principal.agent_id,
            })
        },
    );
    let mut event = json!({
        "activity_id": ACTIVITY,
        "activity_name": entry.kind.as_str(),
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": CLASS,
        "class_name": "API Activity",
        "type_uid": CLASS * 100 + ACTIVITY,
        "time": entry.at_ms,
        "severity": severity,
        "severity_id": severity_id,
        "status": status,
        "status_id": status_id,
        "metadata": {
            "version": "1.3.0",
            "product": { "name": "Holdpoint", "vendor_name": "Holdpoint", "version": env!("CARGO_PKG_VERSION") },
            "uid": seq.to_string(),
            "correlation_uid": entry.trace_id,
        },
        "actor": actor,
        "api": {
            "operation": entry.method.as_deref().unwrap_or(entry.kind.as_str()),
            "service": { "name": entry.server.as_deref().unwrap_or("holdpoint") },
            "request": { "uid": entry.hold_id },
        },
        "src_endpoint": { "name": entry.source.as_deref().unwrap_or("holdpoint") },
        "resources": entry.target.iter().map(|target| json!({ "name": target })).collect::<Vec<_>>(),
        "message": entry.detail,
        "duration": entry.latency_ms,
        "unmapped": { "holdpoint": entry },
    });
    if let Some(payload) = payload {
        event["unmapped"]["payload"] = json!({ "arguments": payload.arguments, "result": payload.result });
    }
    if let Some(code) = entry.http_status {
        event["http_response"] = json!({ "code": code });
    }
    without_nulls(event)
}

fn is_refused(entry: &AuditEntry) -> bool {
    entry.verdict == Some(Verdict::Deny) || entry.status.as_deref() == Some("denied")
}

/// An absent fact is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        other => other,
    }
}
