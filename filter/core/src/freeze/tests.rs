//! A freeze covers what it names and nothing else, and only the service's key makes one.

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::digest::hex_encode;
use crate::identity::ActorType;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn service_key() -> ServiceKeys {
    format!("ed25519:{}", hex_encode(key().verifying_key().as_bytes()))
        .parse::<crate::approval::ServiceKey>()
        .unwrap()
        .into()
}

fn signed(list: &str, by: &SigningKey) -> SignedFreezes {
    SignedFreezes {
        list: list.to_owned(),
        signature: hex_encode(&by.sign(&signed_bytes(list)).to_bytes()),
        also: Vec::new(),
    }
}

fn scope(server: &str, tool: &str, principal: &str) -> FreezeScope {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    FreezeScope { server: some(server), tool: some(tool), principal: some(principal) }
}

#[test]
fn only_the_service_key_signs_a_list() {
    let list = r#"{"schema":"holdpoint/freezes/v1","version":3,"freezes":[]}"#;
    assert_eq!(signed(list, &key()).verify(&service_key()).unwrap().version, 3);
    let forged = signed(list, &SigningKey::from_bytes(&[8; 32]));
    assert_eq!(forged.verify(&service_key()), Err(FreezeError::Signature));
    let altered = SignedFreezes { list: list.replace('3', "4"), ..signed(list, &key()) };
    assert_eq!(altered.verify(&service_key()), Err(FreezeError::Signature));
    let claim = crate::approval::signed_bytes(list);
    let borrowed = SignedFreezes {
        list: list.to_owned(),
        signature: hex_encode(&key().sign(&claim).to_bytes()),
        also: Vec::new(),
    };
    assert_eq!(borrowed.verify(&service_key()), Err(FreezeError::Signature), "a claim is no list");
    let other = r#"{"schema":"other","version":3,"freezes":[]}"#;
    assert_eq!(signed(other, &key()).verify(&service_key()), Err(FreezeError::Shape));
}

#[test]
fn scope_covers_what_it_names_and_nothing_else() {
    let bob = Principal {
        issuer: "https://idp".to_owned(),
        subject: "bob".to_owned(),
        agent_id: Some("bot".to_owned()),
        actor_type: ActorType::Agent,
        tenant: None,
        groups: Default::default(),
        scopes: Default::default(),
    };
    let cases = [
        (scope("github", "", ""), true),
        (scope("jira", "", ""), false),
        (scope("", "create_issue", ""), true),
        (scope("github", "create_issue", ""), true),
        (scope("github", "close_issue", ""), false),
        (scope("", "", "bob"), true),
        (scope("", "", "bot"), true),
        (scope("", "", "carol"), false),
        (scope("jira", "", "bob"), false),
        (scope("", "", ""), false),
    ];
    for (scope, expected) in cases {
        assert_eq!(scope.covers("github", Some("create_issue"), &bob), expected, "{scope}");
    }
    assert!(!scope("", "create_issue", "").covers("github", None, &bob), "a list names no tool");
}
