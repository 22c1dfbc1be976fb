//! What a SIEM reads of an entry: who, what, how it went; and nothing that stands beside it unless that was asked for.

use holdpoint_core::audit::EntryKind;
use holdpoint_core::audit::payload::Salt;

use super::*;

fn entry(verdict: Verdict, outcome: Option<Outcome>) -> AuditEntry {
    let principal = json!({"issuer": "https://idp", "subject": "bob", "agent_id": "bot", "actor_type": "agent",
                           "groups": ["dev"]});
    AuditEntry {
        principal: serde_json::from_value(principal).unwrap(),
        verdict: Some(verdict),
        outcome,
        method: Some("tools/call".to_owned()),
        target: Some("create_issue".to_owned()),
        server: Some("tracker".to_owned()),
        http_status: Some(200),
        ..AuditEntry::new(EntryKind::Decision, 5)
    }
}

#[test]
fn how_a_call_went_is_told_in_words_of_the_schema() {
    for (verdict, outcome, status, severity) in [
        (Verdict::Allow, None, 1, 1),
        (Verdict::Allow, Some(Outcome::Committed), 1, 1),
        (Verdict::Allow, Some(Outcome::Failed), 2, 1),
        (Verdict::Allow, Some(Outcome::Refused), 2, 1),
        (Verdict::Allow, Some(Outcome::Unknown), 0, 1),
        (Verdict::Deny, None, 2, 3),
    ] {
        let event = event(7, &entry(verdict, outcome), None);
        assert_eq!((&event["status_id"], &event["severity_id"]), (&status.into(), &severity.into()), "{event}");
    }
    let denied = AuditEntry { status: Some("denied".to_owned()), ..AuditEntry::new(EntryKind::Review, 5) };
    assert_eq!(event(7, &denied, None)["status_id"], 2, "a person's no");
}

#[test]
fn actor_api_and_target_stand_where_the_schema_has_them_and_no_fact_is_null() {
    let event = event(7, &entry(Verdict::Allow, None), None);
    assert_eq!(
        (&event["class_uid"], &event["type_uid"], &event["metadata"]["uid"]),
        (&6003.into(), &600_399.into(), &"7".into())
    );
    assert_eq!(event["actor"]["user"], json!({"uid": "bob", "domain": "https://idp", "groups": [{"name": "dev"}]}));
    assert_eq!((&event["actor"]["app_uid"], &event["resources"][0]["name"]), (&"bot".into(), &"create_issue".into()));
    assert_eq!(
        (&event["api"]["operation"], &event["api"]["service"]["name"]),
        (&"tools/call".into(), &"tracker".into())
    );
    assert_eq!(event["http_response"]["code"], 200);
    assert!(!event.to_string().contains("null"), "{event}");
}

#[test]
fn arguments_are_told_only_where_they_are_handed_over() {
    let mut call = entry(Verdict::Allow, None);
    let mut payload = Payload::new(Salt::new([7; 16]));
    call.arguments = payload.keep(
        holdpoint_core::audit::payload::Part::Arguments,
        holdpoint_core::decision::AuditLevel::Full,
        "{\"a\":\"hunter2\"}",
    );
    call.payload = Some(Box::new(payload.clone()));
    assert!(!event(7, &call, None).to_string().contains("hunter2"));
    assert_eq!(event(7, &call, Some(&payload))["unmapped"]["payload"]["arguments"], "{\"a\":\"hunter2\"}");
}
