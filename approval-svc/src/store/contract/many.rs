//! What every store does with many things at once: few transactions, few statements, and nothing lost among them.

use std::collections::BTreeMap;

use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::decision::AuditLevel;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::in_force::{PolicyReport, PolicyStanding};

use super::*;
use crate::store::inventory::{CallerName, InventoryWrite, SeenItem};
use crate::store::row::InForceRow;

pub(super) async fn changes_at_once_share_transactions(store: &dyn Store) {
    let before = store.transactions();
    let commits =
        (0..2_000).map(|at| store.commit(Change { writes: Vec::new(), entries: vec![entry(&at.to_string())] }));
    for answer in join_all(commits).await {
        answer.unwrap();
    }
    let transactions = store.transactions() - before;
    assert!((1..=100).contains(&transactions), "2,000 changes took {transactions} transactions");
    assert_eq!(store.head().await.unwrap().frontier.size(), 2_000);
    assert_eq!(store.hashes(1, 0, 100).await.unwrap().len(), 7, "every full subtree has its root");
}

pub(super) async fn what_a_claim_is_decided_by_is_what_each_read_tells(store: &dyn Store) {
    use ApprovalStatus::{Approved, Consumed, Pending};
    assert!(store.claiming("a", &number(1), None).await.unwrap().is_none());
    store.commit(opening("a", 1, "x")).await.unwrap();
    let review = Write::AddReview { approval_id: "a".to_owned(), review: review("alice") };
    let approve = Write::MoveApproval(Box::new(moving("a", Pending, 1, Approved)));
    let standing = PolicyStanding { instance: number(7), plugin: "holdpoint".to_owned(), sequence: 3 };
    let report = PolicyReport { gateway: "edge".to_owned(), standing, snapshot_id: snapshot_id(), since_ms: START_MS };
    let row = Box::new(InForceRow { report, seen_at_ms: START_MS });
    let in_force = Write::PutInForce { row, forget_before_ms: 0 };
    store.commit(Change { writes: vec![review, approve, in_force], entries: Vec::new() }).await.unwrap();

    let instance = number(7);
    let known = store.claiming("a", &number(1), Some((&instance, "holdpoint"))).await.unwrap().unwrap();
    assert_eq!(Some(known.approval), store.approval("a").await.unwrap());
    assert_eq!(known.reviews, store.reviews("a").await.unwrap());
    assert_eq!(known.hold, store.hold(&number(1)).await.unwrap());
    assert_eq!((known.claim, known.in_force), (None, Some((3, snapshot_id()))));
    assert_eq!(known.freeze_version, store.freeze_version().await.unwrap());
    assert_eq!(store.claiming("a", &number(1), None).await.unwrap().unwrap().in_force, None);
    let other = store.claiming("a", &number(2), Some((&instance, "another"))).await.unwrap().unwrap();
    assert_eq!((other.hold, other.claim, other.in_force), (None, None, None));

    let row = ClaimRow {
        hold_id: number(1),
        approval_id: "a".to_owned(),
        nonce: number(9),
        claim: "{}".to_owned(),
        signature: "00".to_owned(),
        claimed_at_ms: START_MS,
        outcome: None,
    };
    let used = Write::MoveApproval(Box::new(moving("a", Approved, 2, Consumed)));
    store.commit(Change { writes: vec![used, Write::AddClaim(Box::new(row.clone()))], entries: vec![] }).await.unwrap();
    assert_eq!(store.claiming("a", &number(1), None).await.unwrap().unwrap().claim, Some(row));
}

fn review(subject: &str) -> Review {
    Review {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        groups: ["sre".to_owned()].into(),
        verdict: ReviewVerdict::Approve,
        reason: None,
        at_ms: START_MS,
        on_behalf_of: None,
        break_glass: false,
        scope: None,
    }
}

pub(super) async fn callers_of_a_batch_are_added_up(store: &dyn Store) {
    let item = |name: &str| {
        Write::Inventory(Box::new(InventoryWrite::Item(Box::new(SeenItem {
            server: "github".to_owned(),
            kind: DefinitionKind::Tool,
            name: name.to_owned(),
            digest: Digest::of(name.as_bytes()),
            text: None,
            has_changed: false,
            is_latest: true,
            at_ms: START_MS,
        }))))
    };
    store.commit(Change { writes: vec![item("get"), item("set")], entries: Vec::new() }).await.unwrap();
    let caller = |at: u64| CallerName { subject: format!("bob {at:03}"), ..CallerName::default() };
    let calls = || {
        let mut calls = BTreeMap::from([
            (("get".to_owned(), caller(0)), 2),
            (("made up".to_owned(), caller(0)), 3),
            (("made up too".to_owned(), caller(0)), 4),
        ]);
        calls.extend((0..100).map(|at| (("set".to_owned(), caller(at)), 1)));
        let calls = InventoryWrite::Calls { server: "github".to_owned(), calls, at_ms: START_MS };
        store.commit(one(Write::Inventory(Box::new(calls))))
    };
    calls().await.unwrap();
    calls().await.unwrap();
    let rows = store.inventory_callers("github", 1_000).await.unwrap();
    let counted = |target: &str, at: u64| {
        let of = |row: &&crate::store::inventory::CallerRow| row.target == target && row.caller == caller(at);
        rows.iter().find(of).map(|row| row.calls)
    };
    assert_eq!(rows.len(), 102);
    assert_eq!(counted("get", 0), Some(4));
    assert_eq!(counted("", 0), Some(14), "what no list has is one row");
    assert!((0..100).all(|at| counted("set", at) == Some(2)));
}

pub(super) async fn what_stands_beside_entries_stands_beside_its_own(store: &dyn Store) {
    let entries: Vec<AuditEntry> = (0..300_u64)
        .map(|at| {
            let mut entry = entry(&at.to_string());
            if !at.is_multiple_of(3) {
                let salt: Salt = format!("{at:032x}").parse().unwrap();
                let mut payload = Payload::new(salt);
                entry.arguments = payload.keep(Part::Arguments, AuditLevel::Digest, "{}");
                entry.payload = Some(Box::new(payload));
            }
            entry
        })
        .collect();
    store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    let rows = store.entries_beside(0, 1_000).await.unwrap();
    assert_eq!(rows.len(), 300);
    for row in rows {
        let salt = row.payload.map(|payload| payload.salt.to_string());
        let own = (!row.entry.seq.is_multiple_of(3)).then(|| format!("{:032x}", row.entry.seq));
        assert_eq!(salt, own, "{row:?}", row = row.entry);
    }
}
