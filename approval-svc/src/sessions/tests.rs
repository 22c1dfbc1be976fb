//! Links and sessions: each works once or for so long, and never longer.

use std::collections::BTreeSet;

use super::*;
use crate::store::contract;

fn bob() -> Visitor {
    Visitor {
        role: Role::Approver,
        issuer: "local".to_owned(),
        subject: "bob".to_owned(),
        groups: BTreeSet::from(["sre".to_owned()]),
        tenant: Some("acme".to_owned()),
    }
}

#[tokio::test]
async fn link_signs_in_once() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let code = invite(store, bob()).await.unwrap();
    assert_eq!(invited(store, &code).await.unwrap(), bob());
    assert_eq!(invited(store, &code).await.unwrap(), bob(), "looking uses nothing up");
    let (one, two) = tokio::join!(sign_in(store, &code), sign_in(store, &code));
    assert!(one.is_ok() != two.is_ok(), "two sessions from one link");
    assert!(matches!(sign_in(store, &code).await, Err(SignInError::Used)));
    assert!(matches!(invited(store, &code).await, Err(SignInError::Used)));
}

#[tokio::test]
async fn link_is_too_old_after_ten_minutes_and_a_session_after_twelve_hours() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let (early, late) = (invite(store, bob()).await.unwrap(), invite(store, bob()).await.unwrap());
    bench.advance(CODE_MS_MAX - 1);
    let session = sign_in(store, &early).await.unwrap();
    bench.advance(1);
    assert!(matches!(sign_in(store, &late).await, Err(SignInError::Used)));
    let found = find(store, session.secret.clone().unwrap()).await.unwrap().unwrap();
    assert_eq!((found.person.subject.as_str(), found.person.role), ("bob", Role::Approver));
    assert_eq!(found.person.tenant.as_deref(), Some("acme"), "a browser sees no more than its person's tenant");
    bench.advance(SESSION_MS_MAX);
    assert!(find(store, session.secret.unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn session_that_was_ended_is_gone() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let session = sign_in(store, &invite(store, bob()).await.unwrap()).await.unwrap();
    sign_out(store, &session).await.unwrap();
    sign_out(store, &session).await.unwrap();
    assert!(find(store, session.secret.unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn record_says_what_a_link_and_a_session_let_somebody_do() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let session = sign_in(store, &invite(store, bob()).await.unwrap()).await.unwrap();
    sign_out(store, &session).await.unwrap();
    let rows = store.entries(0, 10).await.unwrap();
    let entries = rows.iter().map(|row| serde_json::from_str::<AuditEntry>(&row.body).unwrap());
    let said: Vec<_> = entries.map(|entry| (entry.status.unwrap(), entry.detail.unwrap())).collect();
    let whose = "of role approver for `local bob`, groups [sre], tenant acme";
    let expected = [("created", "sign-in link"), ("signed_in", "browser session"), ("signed_out", "browser session")];
    assert_eq!(said, expected.map(|(status, what)| (status.to_owned(), format!("{what} {whose}"))));
}

#[tokio::test]
async fn neither_the_database_nor_the_record_holds_a_secret() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let code = invite(store, bob()).await.unwrap();
    let session = sign_in(store, &code).await.unwrap();
    for file in std::fs::read_dir(&bench.dir).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for secret in [code.text(), session.secret.as_ref().unwrap().text()] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
    assert_ne!(session.form_token, session.secret.as_ref().unwrap().text());
}
