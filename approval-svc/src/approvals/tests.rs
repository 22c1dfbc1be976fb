//! The life of an approval, one behaviour a test, on a real store with a clock that the test turns.

use std::collections::BTreeSet;
use std::time::Duration;

use holdpoint_core::approval::{
    ApprovalState, ApprovalStatus, Claim, ClaimRequest, OpenApproval, SignedClaim, WithdrawCause, WithdrawHold,
};
use holdpoint_core::audit::{AuditEntry, EntryBatch, EntryKind, Outcome};
use holdpoint_core::decision::ApproverGroup;
use holdpoint_core::digest::Digest;
use tokio::sync::watch;

use super::claim::ClaimError;
use super::open::OpenError;
use super::review::{ReviewBody, ReviewError};
use super::revoke::{RevokeBody, RevokeError};
use super::wait::Until;
use super::*;
use crate::serve::{Limits, wire};
use crate::store::contract::{self, Bench, asked, number};
use crate::tokens::{Credential, Proof, Role};

mod grants;
mod who;

/// A service without its HTTP, and the clock that it goes by.
pub(crate) struct Desk {
    pub bench: Bench,
    pub approvals: Approvals,
    pub stop: watch::Sender<bool>,
}

/// Small enough to reach in a test.
pub(crate) const LIMITS: Limits = Limits { pending_per_principal_max: 3, arguments_keep_ms: 60_000 };

pub(crate) async fn desk() -> Desk {
    let bench = contract::open_with_policy().await;
    let signer = Arc::new(ServiceSigner::load_or_create(&bench.dir).unwrap());
    let (stop, stopping) = watch::channel(false);
    let app = wire(Arc::clone(&bench.store), signer, LIMITS, stopping);
    Desk { bench, approvals: app.approvals, stop }
}

pub(crate) fn person(subject: &str, groups: &[&str]) -> Credential {
    Credential {
        role: Role::Approver,
        issuer: "local".to_owned(),
        subject: subject.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect::<BTreeSet<_>>(),
        tenant: None,
        client_id: None,
        proof: Proof::Nothing,
        lent: Vec::new(),
    }
}

impl Desk {
    pub async fn open(&self, hold: u128, call: &str) -> Result<ApprovalState, OpenError> {
        self.approvals.open(asked(hold, call, "basis")).await
    }

    pub async fn review(
        &self,
        id: &str,
        by: &Credential,
        verdict: ReviewVerdict,
    ) -> Result<ApprovalState, ReviewError> {
        let seen = self.bench.store.state(id).await.unwrap().unwrap().call_digest;
        let body = ReviewBody { verdict, call_digest: Some(seen), reason: Some("because".to_owned()), scope: None };
        self.approvals.review(id, by, &body, None).await
    }

    pub async fn approve(&self, id: &str) -> ApprovalState {
        self.review(id, &person("alice", &["sre"]), ReviewVerdict::Approve).await.unwrap()
    }

    pub async fn claim(&self, id: &str, hold: u128, nonce: u128, basis: &str) -> Result<SignedClaim, ClaimError> {
        let request = ClaimRequest {
            hold_id: number(hold),
            nonce: number(nonce),
            call_digest: self.bench.store.state(id).await.unwrap().unwrap().call_digest,
            basis: Digest::of(basis.as_bytes()),
            snapshot_id: contract::snapshot_id(),
            standing: None,
        };
        self.approvals.claim(id, &request, "local edge").await
    }

    pub async fn withdraw(&self, hold: u128, rejoin_ms: Option<u64>) {
        let body = WithdrawHold { cause: WithdrawCause::ClientGone, rejoin_ms };
        self.approvals.withdraw(&number(hold), &body).await.unwrap();
    }

    pub async fn status(&self, id: &str) -> ApprovalStatus {
        self.bench.store.state(id).await.unwrap().unwrap().status
    }

    pub async fn entries(&self) -> Vec<AuditEntry> {
        let rows = self.bench.store.entries(0, 1_000).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.body).unwrap()).collect()
    }

    async fn kinds(&self) -> Vec<EntryKind> {
        self.entries().await.into_iter().map(|entry| entry.kind).collect()
    }
}

#[tokio::test]
async fn two_opens_at_once_join_one_approval() {
    let desk = desk().await;
    let (first, second) = tokio::join!(desk.open(1, "x"), desk.open(2, "x"));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.id, second.id);
    assert_eq!(desk.kinds().await, [EntryKind::ApprovalOpened, EntryKind::ApprovalJoined]);
    assert_eq!(desk.bench.store.holds_waiting(&first.id).await.unwrap(), 2);
    assert_ne!(desk.open(3, "y").await.unwrap().id, first.id);
}

#[tokio::test]
async fn same_hold_again_is_the_same_approval_whatever_became_of_it() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    assert_eq!(desk.open(1, "x").await.unwrap(), opened);
    desk.review(&opened.id, &person("alice", &["sre"]), ReviewVerdict::Deny).await.unwrap();
    let denied = desk.open(1, "x").await.unwrap();
    assert_eq!((denied.id.as_str(), denied.status), (opened.id.as_str(), ApprovalStatus::Denied));
    assert_eq!(denied.reason.as_deref(), Some("because"));
    assert_ne!(desk.open(2, "x").await.unwrap().id, opened.id, "a new call asks anew");
    assert!(matches!(desk.open(1, "y").await, Err(OpenError::HoldMismatch)));
}

#[tokio::test]
async fn identical_call_finds_the_unused_grant() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.withdraw(1, None).await;
    desk.approve(&opened.id).await;
    let found = desk.open(2, "x").await.unwrap();
    assert_eq!((found.id.as_str(), found.status), (opened.id.as_str(), ApprovalStatus::Approved));
    desk.claim(&found.id, 2, 9, "basis").await.unwrap();
}

#[tokio::test]
async fn call_text_must_be_what_the_digest_names() {
    let desk = desk().await;
    let forged = OpenApproval { call_text: contract::call_text("harmless"), ..asked(1, "x", "basis") };
    assert!(matches!(desk.approvals.open(forged).await, Err(OpenError::CallDigest)));
    for forge in [
        |asked: &mut OpenApproval| asked.server = "other".to_owned(),
        |asked: &mut OpenApproval| asked.principal.subject = "other".to_owned(),
        |asked: &mut OpenApproval| asked.principal.agent_id = None,
    ] {
        let mut told = asked(1, "x", "basis");
        forge(&mut told);
        assert!(matches!(desk.approvals.open(told).await, Err(OpenError::Field { field: "call_text", .. })));
    }
    let long = OpenApproval { target: Some("x".repeat(40_000)), ..asked(1, "x", "basis") };
    assert!(matches!(desk.approvals.open(long).await, Err(OpenError::Field { field: "target", .. })));
}

#[tokio::test]
async fn unknown_policy_cannot_be_cited() {
    let desk = desk().await;
    let citing = OpenApproval { snapshot_id: Digest::of(b"other"), ..asked(1, "x", "basis") };
    assert!(matches!(desk.approvals.open(citing).await, Err(OpenError::PolicyUnknown(_))));
}

#[tokio::test]
async fn requirement_that_nobody_has_to_meet_is_refused() {
    let desk = desk().await;
    let mut nobody = asked(1, "x", "basis");
    nobody.requirement.all_of.clear();
    assert!(matches!(desk.approvals.open(nobody).await, Err(OpenError::Field { field: "requirement", .. })));
}

#[tokio::test]
async fn one_principal_has_a_bounded_number_of_pending_approvals() {
    let desk = desk().await;
    for call in 1..=3 {
        desk.open(call, &call.to_string()).await.unwrap();
    }
    assert!(matches!(desk.open(4, "4").await, Err(OpenError::TooManyPending { pending_max: 3 })));
    desk.open(5, "1").await.expect("joining needs no room");
}

#[tokio::test]
async fn requester_never_reviews_its_own_call() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let idp = |subject| Credential { issuer: "https://idp".to_owned(), ..person(subject, &["sre"]) };
    for own in [person("bob", &["sre"]), person("bot", &["sre"]), idp("bob"), idp("bot")] {
        for verdict in [ReviewVerdict::Approve, ReviewVerdict::Deny] {
            assert!(matches!(desk.review(&opened.id, &own, verdict).await, Err(ReviewError::OwnCall(_))), "{own:?}");
        }
    }
    let namesake = Credential { issuer: "https://elsewhere".to_owned(), ..person("bob", &["sre"]) };
    desk.review(&opened.id, &namesake, ReviewVerdict::Approve).await.unwrap();
}

#[tokio::test]
async fn reviewer_of_another_group_is_told_which_are_needed() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let error = desk.review(&opened.id, &person("carol", &["dev"]), ReviewVerdict::Approve).await.unwrap_err();
    assert_eq!(error.to_string(), "your groups (dev) are none that this approval needs: 1 more of `sre`");
    assert_eq!(desk.status(&opened.id).await, ApprovalStatus::Pending);
}

#[tokio::test]
async fn quorum_needs_every_group_and_each_person_counts_once() {
    let desk = desk().await;
    let mut asking = asked(1, "x", "basis");
    let group = |group: &str, min| ApproverGroup { group: group.to_owned(), min };
    asking.requirement.all_of = vec![group("security", 1), group("sre", 1)];
    let opened = desk.approvals.open(asking).await.unwrap();
    let both = person("alice", &["sre", "security"]);
    let state = desk.review(&opened.id, &both, ReviewVerdict::Approve).await.unwrap();
    assert_eq!((state.status, state.version), (ApprovalStatus::Pending, 2));
    let again = desk.review(&opened.id, &both, ReviewVerdict::Approve).await;
    assert!(matches!(again, Err(ReviewError::AlreadyReviewed)));
    // The same name, vouched for by nobody before and by a provider now, may be the same person.
    let vouched = Credential { issuer: "https://idp".to_owned(), ..both.clone() };
    let again = desk.review(&opened.id, &vouched, ReviewVerdict::Approve).await;
    assert!(matches!(again, Err(ReviewError::AlreadyReviewed)), "{again:?}");
    let view = desk.approvals.view(&opened.id, &both).await.unwrap().unwrap();
    assert_eq!(view.still_needed, [group("sre", 1)]);
    let state = desk.review(&opened.id, &person("carol", &["security"]), ReviewVerdict::Approve).await.unwrap();
    assert_eq!(state.status, ApprovalStatus::Approved);
    assert_eq!(state.decided_by.as_deref(), Some("local alice, local carol"));
    assert_eq!(state.expires_at_ms, contract::START_MS + 5_000, "the claim clock runs from the decision");
    let seen = desk.bench.store.state(&opened.id).await.unwrap().unwrap();
    assert_eq!(seen, state, "what was answered is what is kept");
}

#[tokio::test]
async fn one_deny_is_final_and_gives_its_reason() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let body = ReviewBody {
        verdict: ReviewVerdict::Deny,
        call_digest: Some(opened.call_digest),
        reason: Some(" ".into()),
        scope: None,
    };
    let alice = person("alice", &["sre"]);
    let silent = desk.approvals.review(&opened.id, &alice, &body, None).await;
    assert!(matches!(silent, Err(ReviewError::ReasonMissing)));
    let state = desk.review(&opened.id, &alice, ReviewVerdict::Deny).await.unwrap();
    assert_eq!((state.status, state.reason.as_deref()), (ApprovalStatus::Denied, Some("because")));
    let late = desk.review(&opened.id, &person("carol", &["sre"]), ReviewVerdict::Approve).await;
    assert!(matches!(late, Err(ReviewError::AlreadyDecided(ApprovalStatus::Denied))));
}

#[tokio::test]
async fn review_says_what_its_author_saw() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let alice = person("alice", &["sre"]);
    let body = |call_digest| ReviewBody { verdict: ReviewVerdict::Approve, call_digest, reason: None, scope: None };
    let review = async |digest, version| desk.approvals.review(&opened.id, &alice, &body(digest), version).await;
    assert!(matches!(review(None, None).await, Err(ReviewError::NothingSeen)));
    assert!(matches!(review(Some(Digest::of(b"other")), None).await, Err(ReviewError::DigestChanged)));
    assert!(matches!(review(None, Some(7)).await, Err(ReviewError::VersionChanged { version: 1 })));
    assert_eq!(review(None, Some(1)).await.unwrap().status, ApprovalStatus::Approved);
}

#[tokio::test]
async fn two_claims_at_once_use_the_grant_once() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.open(2, "x").await.unwrap();
    desk.approve(&opened.id).await;
    let (first, second) = tokio::join!(desk.claim(&opened.id, 1, 8, "basis"), desk.claim(&opened.id, 2, 9, "basis"));
    let refused = match (first, second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("exactly one runs: {other:?}"),
    };
    assert!(matches!(refused, ClaimError::Consumed), "{refused}");
    assert_eq!(desk.kinds().await.iter().filter(|kind| **kind == EntryKind::Claim).count(), 1);
    let loser = if desk.bench.store.claim(&number(1)).await.unwrap().is_some() { 2 } else { 1 };
    let anew = desk.open(loser, "x").await.unwrap();
    assert_ne!(anew.id, opened.id, "the other one holds on with a request of its own");
    assert_eq!(anew.status, ApprovalStatus::Pending);
}

#[tokio::test]
async fn claim_is_signed_for_this_hold_and_answered_again_the_same() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    let signed = desk.claim(&opened.id, 1, 9, "basis").await.unwrap();
    assert_eq!(signed.signature, desk.approvals.signer.sign_claim(&signed.claim).signature);
    let claim: Claim = serde_json::from_str(&signed.claim).unwrap();
    assert_eq!((claim.hold_id, claim.nonce, claim.approval_id), (number(1), number(9), opened.id.clone()));
    assert_eq!(claim.approved_by, ["local alice"]);
    assert_eq!(claim.constraints.max_runtime_ms, Some(30_000));
    assert_eq!(claim.expires_at_ms, contract::START_MS + 60_000);
    desk.bench.advance(1_000);
    assert_eq!(desk.claim(&opened.id, 1, 9, "basis").await.unwrap(), signed);
    assert!(matches!(desk.claim(&opened.id, 1, 10, "basis").await, Err(ClaimError::AlreadyClaimed)));
}

#[tokio::test]
async fn nothing_but_an_approved_call_is_claimed() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let early = desk.claim(&opened.id, 1, 9, "basis").await;
    assert!(matches!(early, Err(ClaimError::NotApproved(ApprovalStatus::Pending))));
    desk.approve(&opened.id).await;
    assert!(matches!(desk.claim(&opened.id, 2, 9, "basis").await, Err(ClaimError::HoldUnknown)));
    let other = ClaimRequest {
        hold_id: number(1),
        nonce: number(9),
        call_digest: Digest::of(b"other"),
        basis: Digest::of(b"basis"),
        snapshot_id: contract::snapshot_id(),
        standing: None,
    };
    assert!(matches!(desk.approvals.claim(&opened.id, &other, "local edge").await, Err(ClaimError::DigestChanged)));
}

#[tokio::test]
async fn changed_basis_supersedes_the_grant_and_asks_anew() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    assert!(matches!(desk.claim(&opened.id, 1, 9, "edited").await, Err(ClaimError::BasisChanged)));
    assert_eq!(desk.status(&opened.id).await, ApprovalStatus::Superseded);
    assert!(matches!(desk.claim(&opened.id, 1, 9, "basis").await, Err(ClaimError::BasisChanged)));
    let anew = desk.approvals.open(asked(1, "x", "edited")).await.unwrap();
    assert_eq!(anew.status, ApprovalStatus::Pending);
    assert_ne!(anew.id, opened.id);
}

#[tokio::test]
async fn changed_basis_while_pending_replaces_a_request_that_only_this_hold_waits_for() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let anew = desk.approvals.open(asked(1, "x", "edited")).await.unwrap();
    assert_ne!(anew.id, opened.id);
    assert_eq!(desk.status(&opened.id).await, ApprovalStatus::Superseded);
    desk.open(2, "y").await.unwrap();
    let shared = desk.open(3, "y").await.unwrap();
    desk.approvals.open(asked(3, "y", "edited")).await.unwrap();
    assert_eq!(desk.status(&shared.id).await, ApprovalStatus::Pending, "hold 2 still waits for it");
}

#[tokio::test]
async fn clocks_run_out_into_expired_and_lapsed() {
    let desk = desk().await;
    let undecided = desk.open(1, "x").await.unwrap();
    let unused = desk.open(2, "y").await.unwrap();
    desk.approve(&unused.id).await;
    desk.bench.advance(4_999);
    assert_eq!(desk.approvals.sweep().await.unwrap(), 0);
    desk.bench.advance(5_001);
    assert_eq!(desk.approvals.sweep().await.unwrap(), 2);
    assert_eq!(desk.status(&undecided.id).await, ApprovalStatus::Expired);
    assert_eq!(desk.status(&unused.id).await, ApprovalStatus::Lapsed);
    assert!(matches!(desk.claim(&unused.id, 2, 9, "basis").await, Err(ClaimError::Gone(ApprovalStatus::Lapsed))));
    let anew = desk.open(2, "y").await.unwrap();
    assert_eq!(anew.status, ApprovalStatus::Pending, "a call that still waits asks anew");
}

#[tokio::test]
async fn run_out_clock_binds_before_the_sweep_comes() {
    let desk = desk().await;
    let undecided = desk.open(1, "x").await.unwrap();
    let unused = desk.open(2, "y").await.unwrap();
    desk.approve(&unused.id).await;
    desk.bench.advance(10_000);
    let late = desk.review(&undecided.id, &person("alice", &["sre"]), ReviewVerdict::Approve).await;
    assert!(matches!(late, Err(ReviewError::Gone(ApprovalStatus::Expired))));
    assert!(matches!(desk.claim(&unused.id, 2, 9, "basis").await, Err(ClaimError::Gone(ApprovalStatus::Lapsed))));
    assert_ne!(desk.open(3, "y").await.unwrap().id, unused.id);
}

#[tokio::test]
async fn withdrawn_hold_never_claims_even_if_approved_later() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.withdraw(1, None).await;
    desk.withdraw(1, None).await;
    desk.approve(&opened.id).await;
    assert!(matches!(desk.claim(&opened.id, 1, 9, "basis").await, Err(ClaimError::HoldWithdrawn)));
    assert!(matches!(desk.open(1, "x").await, Err(OpenError::HoldWithdrawn)));
    assert_eq!(desk.kinds().await.iter().filter(|kind| **kind == EntryKind::HoldEnded).count(), 1);
}

#[tokio::test]
async fn cancelled_call_is_withdrawn_at_once_unless_somebody_else_waits_for_the_same() {
    let desk = desk().await;
    let cancelled_by = |hold: u128, key: &str| OpenApproval {
        cancel_key: Some(Digest::of(key.as_bytes())),
        ..contract::asked(hold, "x", "basis")
    };
    let id = desk.approvals.open(cancelled_by(1, "one")).await.unwrap().id;
    assert_eq!(desk.approvals.open(cancelled_by(2, "two")).await.unwrap().id, id);
    desk.approvals.cancel(Digest::of(b"another")).await.unwrap();
    desk.approvals.cancel(Digest::of(b"one")).await.unwrap();
    assert_eq!(desk.status(&id).await, ApprovalStatus::Pending, "the other call waits on");
    desk.approvals.cancel(Digest::of(b"two")).await.unwrap();
    assert_eq!(desk.status(&id).await, ApprovalStatus::Withdrawn);
    let state = desk.bench.store.state(&id).await.unwrap().unwrap();
    assert_eq!(state.reason.as_deref(), Some("the client cancelled the call"));
    assert!(desk.claim(&id, 1, 1, "basis").await.is_err());

    let id = desk.approvals.open(cancelled_by(3, "three")).await.unwrap().id;
    desk.approve(&id).await;
    desk.claim(&id, 3, 3, "basis").await.unwrap();
    desk.approvals.cancel(Digest::of(b"three")).await.unwrap();
    assert_eq!(desk.status(&id).await, ApprovalStatus::Consumed, "what runs is not stopped here");
    let row = desk.bench.store.claim(&contract::number(3)).await.unwrap().unwrap();
    assert_eq!(row.outcome, None, "nor said not to have run");
}

#[tokio::test]
async fn hold_of_which_nothing_is_heard_ends_in_its_time_and_its_request_stays_for_the_same_call() {
    let desk = desk().await;
    let bounded = |hold: u128| OpenApproval { ends_within_ms: Some(100), ..contract::asked(hold, "x", "basis") };
    let id = desk.approvals.open(bounded(1)).await.unwrap().id;
    desk.bench.advance(99);
    assert_eq!(desk.approvals.end_unheard().await.unwrap(), 0);
    // Another hold of the same call has a time of its own.
    assert_eq!(desk.approvals.open(bounded(2)).await.unwrap().id, id);
    desk.bench.advance(1);
    assert_eq!(desk.approvals.end_unheard().await.unwrap(), 1);
    assert_eq!(desk.bench.store.holds_waiting(&id).await.unwrap(), 1, "the other still waits");
    desk.bench.advance(99);
    assert_eq!(desk.approvals.end_unheard().await.unwrap(), 1);
    assert_eq!(desk.bench.store.holds_waiting(&id).await.unwrap(), 0);
    desk.approve(&id).await;
    assert!(
        matches!(desk.claim(&id, 2, 2, "basis").await, Err(ClaimError::HoldWithdrawn)),
        "a dead hold claims nothing"
    );
    assert_eq!(desk.approvals.open(bounded(3)).await.unwrap().id, id);
    desk.claim(&id, 3, 3, "basis").await.unwrap();
    desk.bench.advance(100);
    assert_eq!(desk.approvals.end_unheard().await.unwrap(), 0, "what has claimed has run");
}

#[tokio::test]
async fn open_that_arrives_after_its_withdrawal_is_refused() {
    let desk = desk().await;
    desk.withdraw(1, Some(100)).await;
    assert!(matches!(desk.open(1, "x").await, Err(OpenError::HoldWithdrawn)));
}

#[tokio::test]
async fn request_is_withdrawn_when_nobody_comes_back_in_time() {
    let desk = desk().await;
    let left = desk.open(1, "x").await.unwrap();
    let rejoined = desk.open(2, "y").await.unwrap();
    desk.withdraw(1, Some(100)).await;
    desk.withdraw(2, Some(100)).await;
    desk.bench.advance(99);
    assert_eq!(desk.open(3, "y").await.unwrap().id, rejoined.id);
    desk.bench.advance(1);
    desk.approvals.sweep().await.unwrap();
    assert_eq!(desk.status(&left.id).await, ApprovalStatus::Withdrawn);
    assert_eq!(desk.status(&rejoined.id).await, ApprovalStatus::Pending);
}

#[tokio::test]
async fn client_gone_between_claim_and_forward_is_an_outcome_unless_there_is_one() {
    let desk = desk().await;
    for hold in [1, 2] {
        let opened = desk.open(hold, &hold.to_string()).await.unwrap();
        desk.approve(&opened.id).await;
        desk.claim(&opened.id, hold, 9, "basis").await.unwrap();
    }
    let outcome = AuditEntry {
        outcome: Some(Outcome::Committed),
        hold_id: Some(number(2)),
        ..AuditEntry::new(EntryKind::Outcome, 1)
    };
    let batch =
        EntryBatch { source: "edge/1".to_owned(), first_counter: 0, entries: vec![outcome], payloads: Vec::new() };
    desk.approvals.ledger.append(batch).await.unwrap();
    desk.withdraw(1, None).await;
    desk.withdraw(2, None).await;
    let outcomes: Vec<_> =
        desk.entries().await.into_iter().filter_map(|entry| Some((entry.hold_id?, entry.outcome?))).collect();
    assert_eq!(outcomes, [(number(2), Outcome::Committed), (number(1), Outcome::Refused)]);
}

#[tokio::test]
async fn grant_is_revoked_until_it_is_used() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let admin = person("carol", &[]);
    let revoke = async || desk.approvals.revoke(&opened.id, &admin, &RevokeBody::default(), None, None).await;
    assert!(matches!(revoke().await, Err(RevokeError::NotApproved(ApprovalStatus::Pending))));
    desk.approve(&opened.id).await;
    assert_eq!(revoke().await.unwrap().status, ApprovalStatus::Revoked);
    let late = desk.claim(&opened.id, 1, 9, "basis").await;
    assert!(matches!(late, Err(ClaimError::NotApproved(ApprovalStatus::Revoked))));
}

#[tokio::test]
async fn waiting_ends_with_the_decision_with_time_and_with_the_service() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let brief = desk.approvals.wait(&opened.id, Until::Decided, Duration::from_millis(20)).await.unwrap().unwrap();
    assert_eq!(brief.status, ApprovalStatus::Pending);
    let long = Duration::from_secs(60);
    let (woken, _) = tokio::join!(desk.approvals.wait(&opened.id, Until::Decided, long), desk.approve(&opened.id));
    assert_eq!(woken.unwrap().unwrap().status, ApprovalStatus::Approved);
    assert_eq!(desk.approvals.wait("none", Until::Decided, long).await.unwrap(), None);

    let other = desk.open(2, "y").await.unwrap();
    let wait = desk.approvals.wait(&other.id, Until::Moved { from_version: 1 }, long);
    let (state, ()) = tokio::join!(wait, async {
        tokio::task::yield_now().await;
        desk.stop.send_replace(true);
    });
    assert_eq!(state.unwrap().unwrap().status, ApprovalStatus::Pending);
}

#[tokio::test]
async fn record_of_a_whole_life_says_who_did_what() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.approve(&opened.id).await;
    desk.claim(&opened.id, 1, 9, "basis").await.unwrap();
    let entries = desk.entries().await;
    let told: Vec<_> = entries.iter().map(|entry| (entry.kind, entry.status.as_deref(), entry.by.as_deref())).collect();
    assert_eq!(
        told,
        [
            (EntryKind::ApprovalOpened, Some("pending"), None),
            (EntryKind::Review, Some("approve"), Some("local alice")),
            (EntryKind::ApprovalClosed, Some("approved"), Some("local alice")),
            (EntryKind::Claim, Some("consumed"), Some("local edge")),
        ]
    );
    let details: Vec<_> = entries.iter().map(|entry| entry.detail.as_deref()).collect();
    assert_eq!(details[1..], [Some("for group `sre`: because"), None, Some("approved by local alice")]);
    for entry in entries {
        assert_eq!(entry.approval_id.as_deref(), Some(opened.id.as_str()));
        assert_eq!((entry.call_digest, entry.rule_ids.len()), (Some(opened.call_digest), 1));
    }
}
