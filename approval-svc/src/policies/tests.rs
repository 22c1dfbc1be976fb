//! The service and the core name a policy alike.

use holdpoint_core::approval::ClaimRequest;
use holdpoint_core::in_force::PolicyStanding;
use holdpoint_core::policy::{compile, read_file};

use super::*;
use crate::approvals::claim::ClaimError;
use crate::approvals::tests::{Desk, desk};
use crate::store::contract::{self, number};

#[test]
fn id_is_the_one_that_decisions_cite() {
    let document = read_file("version: \"2026-01-27\"\nrules: []\n").unwrap();
    let snapshot = compile(&document).unwrap();
    assert_eq!(id_of(snapshot.canonical()), snapshot.id());
}

const OTHER: &str = "{\"other\":1}";

fn standing(sequence: u64) -> PolicyStanding {
    PolicyStanding { instance: number(7), plugin: "holdpoint".to_owned(), sequence }
}

impl Desk {
    /// The one gateway reports `canonical` as its policy number `sequence`.
    async fn report(&self, canonical: &str, sequence: u64) -> Result<(), ReportError> {
        let snapshot_id = id_of(canonical);
        let report =
            PolicyReport { gateway: "edge".to_owned(), standing: standing(sequence), snapshot_id, since_ms: 5 };
        super::report(&*self.bench.store, &self.approvals.ledger, report).await
    }

    async fn register_other(&self) {
        register(&*self.bench.store, &self.approvals.ledger, id_of(OTHER), OTHER.to_owned()).await.unwrap();
    }

    /// The policies that any gateway has in force.
    async fn in_force(&self) -> Vec<Digest> {
        let listed = list(&*self.bench.store, None, 9).await.unwrap();
        listed.into_iter().filter(|(_, _, rows)| !rows.is_empty()).map(|(id, _, _)| id).collect()
    }
}

#[tokio::test]
async fn gateways_are_listed_with_what_they_have_in_force_until_they_are_gone() {
    let desk = desk().await;
    assert!(matches!(desk.report(OTHER, 1).await, Err(ReportError::PolicyUnknown(_))));
    desk.register_other().await;
    desk.report(contract::POLICY, 1).await.unwrap();
    desk.report(contract::POLICY, 1).await.unwrap();
    assert_eq!(desk.in_force().await, [contract::snapshot_id()]);
    desk.report(OTHER, 2).await.unwrap();
    desk.report(contract::POLICY, 1).await.unwrap();
    assert_eq!(desk.in_force().await, [id_of(OTHER)], "a late report changes nothing");
    let changes = desk.entries().await.iter().filter(|entry| entry.kind == EntryKind::PolicyInForce).count();
    assert_eq!(changes, 2, "repeated reports leave no entries");
    desk.bench.advance(GONE_AFTER_MS + 1);
    assert!(desk.in_force().await.is_empty());
}

#[tokio::test]
async fn claim_under_a_policy_that_its_gateway_has_replaced_is_refused() {
    let desk = desk().await;
    desk.register_other().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    let claim = |sequence| ClaimRequest {
        hold_id: number(1),
        nonce: number(9),
        call_digest: opened.call_digest,
        basis: Digest::of(b"basis"),
        snapshot_id: contract::snapshot_id(),
        standing: Some(standing(sequence)),
    };
    desk.report(contract::POLICY, 1).await.unwrap();
    desk.report(OTHER, 2).await.unwrap();
    let refused = desk.approvals.claim(&opened.id, &claim(1), "local edge").await;
    assert!(matches!(refused, Err(ClaimError::PolicyReplaced(_))), "{refused:?}");
    // Back to the first policy: who never left it is right again.
    desk.report(contract::POLICY, 3).await.unwrap();
    desk.approvals.claim(&opened.id, &claim(1), "local edge").await.unwrap();
}

#[tokio::test]
async fn claim_under_a_policy_that_the_service_has_not_heard_of_yet_is_taken() {
    let desk = desk().await;
    desk.register_other().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    desk.report(OTHER, 1).await.unwrap();
    let claim = ClaimRequest {
        hold_id: number(1),
        nonce: number(9),
        call_digest: opened.call_digest,
        basis: Digest::of(b"basis"),
        snapshot_id: contract::snapshot_id(),
        standing: Some(standing(2)),
    };
    desk.approvals.claim(&opened.id, &claim, "local edge").await.unwrap();
}
