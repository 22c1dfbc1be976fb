//! Claims in, principal out.

use serde_json::json;

use super::*;

fn check(claims: serde_json::Value) -> Result<Principal, IdentityError> {
    match claims {
        serde_json::Value::Object(claims) => from_claims(&claims),
        other => panic!("{other} is not a claims object"),
    }
}

#[test]
fn a_person_is_issuer_and_subject() {
    let principal = check(json!({"iss": "https://idp", "sub": "alice", "groups": ["dev"], "scope": "repo read"}))
        .expect("a principal");
    assert_eq!((principal.issuer.as_str(), principal.subject.as_str()), ("https://idp", "alice"));
    assert_eq!(principal.actor_type, ActorType::Human);
    assert_eq!(principal.agent_id, None);
    assert!(principal.groups.contains("dev"));
    assert_eq!(principal.scopes, ["read".to_owned(), "repo".to_owned()].into());
}

#[test]
fn an_agent_acts_for_its_subject() {
    let principal =
        check(json!({"iss": "i", "sub": "alice", "azp": "app", "act": {"sub": "agent-7"}})).expect("a principal");
    assert_eq!(principal.actor_type, ActorType::Agent);
    assert_eq!(principal.agent_id.as_deref(), Some("agent-7"));
    assert_eq!(principal.subject, "alice");
}

#[test]
fn claims_of_the_wrong_type_are_refused_rather_than_skipped() {
    for claims in [
        json!({"sub": "alice"}),
        json!({"iss": "i"}),
        json!({"iss": "i", "sub": 7}),
        json!({"iss": "i", "sub": ""}),
        json!({"iss": "i", "sub": "a\nb"}),
        json!({"iss": "i", "sub": "a", "act": "agent"}),
        json!({"iss": "i", "sub": "a", "groups": "admin"}),
        json!({"iss": "i", "sub": "a", "groups": ["admin", 1]}),
        json!({"iss": "i", "sub": "a", "scope": 1}),
    ] {
        let shown = claims.to_string();
        assert!(matches!(check(claims), Err(IdentityError::Unusable(_))), "{shown}");
    }
}

#[test]
fn without_verified_claims_nobody_is_there() {
    let sources = [IdentitySource::Jwt { metadata_key: "jwt".to_owned() }];
    assert_eq!(resolve(&sources, &[]), Err(IdentityError::Absent));
    assert_eq!(resolve(&[], &[]), Err(IdentityError::Absent));
}
