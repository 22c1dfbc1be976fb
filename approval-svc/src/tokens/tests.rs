//! A token authenticates until it is revoked, and the database never sees its secret.

use super::*;
use crate::store::contract::open;

fn alice() -> NewToken {
    let groups = BTreeSet::from(["sre".to_owned()]);
    NewToken {
        role: Role::Approver,
        issuer: ISSUER_LOCAL.to_owned(),
        subject: "alice".to_owned(),
        groups,
        tenant: None,
        lasts_ms: None,
    }
}

#[tokio::test]
async fn token_stands_for_its_identity_until_revoked() {
    let bench = open().await;
    let store = &*bench.store;
    let (token, text) = create(store, alice()).await.unwrap();
    assert!(text.starts_with("hp_approver_") && text.len() == "hp_approver_".len() + 64, "{text}");
    let credential = authenticate(store, &text).await.unwrap().unwrap();
    assert_eq!((credential.name().as_str(), credential.role), ("local alice", Role::Approver));
    assert_eq!(credential.groups, token.groups);

    assert!(authenticate(store, &format!("{text}0")).await.unwrap().is_none());
    revoke(store, &token.id).await.unwrap();
    assert!(authenticate(store, &text).await.unwrap().is_none());
    assert!(revoke(store, &token.id).await.is_err());
}

#[tokio::test]
async fn token_that_ends_is_good_until_then_and_whoever_waits_by_it_is_sent_away() {
    let bench = open().await;
    let store = &*bench.store;
    let (token, text) = create(store, NewToken { lasts_ms: Some(60_000), ..alice() }).await.unwrap();
    assert_eq!(token.expires_at_ms, Some(token.created_at_ms + 60_000));
    assert_eq!(store.tokens().await.unwrap(), std::slice::from_ref(&token), "the database knows when it ends");
    bench.advance(59_999);
    let credential = authenticate(store, &text).await.unwrap().unwrap();
    assert!(credential.proof.holds(store).await.unwrap());
    bench.advance(1);
    assert!(authenticate(store, &text).await.unwrap().is_none());
    assert!(!credential.proof.holds(store).await.unwrap());
    let entries = store.entries(0, 10).await.unwrap();
    assert!(entries[0].body.contains(", until "), "{}", entries[0].body);
}

#[tokio::test]
async fn creation_and_revocation_are_recorded_without_the_secret() {
    let bench = open().await;
    let store = &*bench.store;
    let new = NewToken { tenant: Some("acme".to_owned()), ..alice() };
    let (token, text) = create(store, new).await.unwrap();
    revoke(store, &token.id).await.unwrap();
    let entries = store.entries(0, 10).await.unwrap();
    assert_eq!(entries.len(), 2);
    let secret = text.rsplit('_').next().unwrap();
    for entry in entries {
        let whose = "of role approver for `local alice`, groups [sre], tenant acme";
        assert!(entry.body.contains(whose), "{}", entry.body);
        assert!(entry.body.contains(&token.id) && !entry.body.contains(secret), "{}", entry.body);
    }
}
