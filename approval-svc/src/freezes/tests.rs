//! A freeze is signed, versioned, recorded, stops what waits already, and is lifted the same way.

use holdpoint_core::approval::ServiceKeys;
use holdpoint_core::audit::EntryKind;

use super::*;
use crate::approvals::claim::ClaimError;
use crate::approvals::open::OpenError;
use crate::approvals::tests::{desk, person};

fn server(name: &str) -> FreezeScope {
    FreezeScope { server: Some(name.to_owned()), ..FreezeScope::default() }
}

#[tokio::test]
async fn frozen_call_is_neither_opened_nor_claimed_until_it_is_lifted() {
    let desk = desk().await;
    let freezes =
        Freezes::new(Arc::clone(&desk.bench.store), desk.approvals.ledger.clone(), Arc::clone(&desk.approvals.signer));
    let before = freezes.view().await.unwrap();
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    let body = FreezeBody { scope: server("github"), reason: "an incident".to_owned() };
    let freeze = freezes.add(&person("root", &[]), body, None).await.unwrap();

    assert!(
        matches!(desk.claim(&opened.id, 1, 9, "basis").await, Err(ClaimError::Frozen(reason)) if reason == "an incident")
    );
    assert!(matches!(desk.open(2, "y").await, Err(OpenError::Frozen(_))));
    let view = freezes.view().await.unwrap();
    let key: ServiceKeys = desk.approvals.signer.public_key().into();
    let list = view.signed.verify(&key).unwrap();
    assert_eq!((list.freezes, list.version), (vec![freeze.clone()], view.version));
    assert!(view.version > before.version);

    freezes.lift(&person("root", &[]), &freeze.id, None, None).await.unwrap();
    let after = freezes.view().await.unwrap();
    assert!(after.version > view.version && after.freezes.is_empty());
    assert!(matches!(freezes.lift(&person("root", &[]), &freeze.id, None, None).await, Err(FreezeError::NotFound(_))));
    desk.claim(&opened.id, 1, 9, "basis").await.unwrap();
    let told: Vec<_> =
        desk.entries().await.into_iter().filter(|entry| entry.kind == EntryKind::FreezeChanged).collect();
    let told: Vec<_> = told.iter().map(|entry| (entry.status.as_deref(), entry.by.as_deref())).collect();
    assert_eq!(told, [(Some("frozen"), Some("local root")), (Some("lifted"), Some("local root"))]);
}

#[tokio::test]
async fn freeze_of_everything_or_without_a_reason_is_refused() {
    let desk = desk().await;
    let freezes =
        Freezes::new(Arc::clone(&desk.bench.store), desk.approvals.ledger.clone(), Arc::clone(&desk.approvals.signer));
    let add = async |scope, reason: &str| {
        freezes.add(&person("root", &[]), FreezeBody { scope, reason: reason.to_owned() }, None).await
    };
    assert!(matches!(add(FreezeScope::default(), "x").await, Err(FreezeError::Scope)));
    assert!(matches!(add(server(""), "x").await, Err(FreezeError::Scope)));
    assert!(matches!(add(server("github"), " ").await, Err(FreezeError::ReasonMissing)));
}

#[tokio::test]
async fn freezes_added_at_once_are_never_more_than_may_be_in_force() {
    let desk = desk().await;
    let freezes =
        Freezes::new(Arc::clone(&desk.bench.store), desk.approvals.ledger.clone(), Arc::clone(&desk.approvals.signer));
    let add = async |n: usize| {
        let body = FreezeBody { scope: server(&n.to_string()), reason: "x".to_owned() };
        freezes.add(&person("root", &[]), body, None).await
    };
    let added = futures_util::future::join_all((0..FREEZES_MAX + 5).map(add)).await;
    let refused = added.iter().filter(|answer| matches!(answer, Err(FreezeError::TooMany))).count();
    assert_eq!((refused, freezes.view().await.unwrap().freezes.len()), (5, FREEZES_MAX));
    let first = added.into_iter().find_map(Result::ok).unwrap();
    freezes.lift(&person("root", &[]), &first.id, None, None).await.unwrap();
    add(FREEZES_MAX).await.unwrap();
}
