//! Relief from asking for the same again: no further than the rule and every approver said, and taken back at once.

use std::collections::BTreeMap;

use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::decision::GrantLimits;

use super::*;
use crate::approvals::batch::{BatchBody, BatchReview};
use crate::approvals::grant::{Predicate, Scope, ScopeError};
use crate::approvals::revoke::{RevokeBody, RevokeError};
use crate::store::{Change, Write};

/// Asks for a call with these arguments, where the rules allow grants.
fn asking(hold: u128, arguments: &str, basis: &str) -> OpenApproval {
    let mut asking = asked(hold, "x", basis);
    asking.call_text = asking.call_text.replace(r#"{"call":"x"}"#, arguments);
    asking.call_digest = Digest::tagged(CALL_DIGEST_TAG, asking.call_text.as_bytes());
    asking.requirement.grants = Some(GrantLimits { uses_max: 5, within_ms_max: 60_000 });
    asking
}

fn scope(uses: u32, within_ms: u64, arguments: &[(&str, Predicate)]) -> Scope {
    let arguments = arguments.iter().map(|(pointer, one)| ((*pointer).to_owned(), one.clone()));
    Scope { uses, within_ms, arguments: arguments.collect::<BTreeMap<_, _>>() }
}

impl Desk {
    async fn approve_further(&self, id: &str, scope: Scope) -> Result<ApprovalState, ReviewError> {
        let seen = self.bench.store.state(id).await.unwrap().unwrap().call_digest;
        let reason = Some("a nightly job".to_owned());
        let body = ReviewBody { verdict: ReviewVerdict::Approve, call_digest: Some(seen), reason, scope: Some(scope) };
        self.approvals.review(id, &person("alice", &["sre"]), &body, None).await
    }

    /// The status with which a call of these arguments is opened.
    async fn status_of(&self, hold: u128, arguments: &str) -> ApprovalStatus {
        self.approvals.open(asking(hold, arguments, "basis")).await.unwrap().status
    }
}

#[tokio::test]
async fn grant_lets_identical_calls_run_as_often_as_was_said_each_with_its_own_claim() {
    let desk = desk().await;
    let first = desk.approvals.open(asking(1, r#"{"n":1}"#, "basis")).await.unwrap();
    desk.approve_further(&first.id, scope(3, 30_000, &[])).await.unwrap();
    desk.claim(&first.id, 1, 1, "basis").await.unwrap();
    for hold in [2, 3] {
        let further = desk.approvals.open(asking(hold, r#"{"n":1}"#, "basis")).await.unwrap();
        assert_eq!(further.status, ApprovalStatus::Approved);
        assert_ne!(further.id, first.id);
        let signed = desk.claim(&further.id, hold, hold, "basis").await.unwrap();
        let claim: Claim = serde_json::from_str(&signed.claim).unwrap();
        assert_eq!(claim.approved_by, ["local alice"], "who gave the grant stands for it");
    }
    assert_eq!(desk.status_of(4, r#"{"n":1}"#).await, ApprovalStatus::Pending, "three calls were approved");
    let entries = desk.entries().await;
    assert_eq!(entries.iter().filter(|entry| entry.kind == EntryKind::Claim).count(), 3);
    assert_eq!(entries.iter().filter(|entry| entry.kind == EntryKind::GrantChanged).count(), 1);
}

#[tokio::test]
async fn grant_covers_other_arguments_only_as_its_predicates_say() {
    let desk = desk().await;
    let seen = r#"{"amount":5,"note":"a","repo":"acme/site"}"#;
    let first = desk.approvals.open(asking(1, seen, "basis")).await.unwrap();
    let may_differ = [
        ("/repo", Predicate::Prefix("acme/".to_owned())),
        ("/amount", Predicate::Lte(10)),
        ("/note", Predicate::OneOf(vec!["a".into(), "b".into()])),
    ];
    desk.approve_further(&first.id, scope(5, 30_000, &may_differ)).await.unwrap();
    let cases = [
        (r#"{"amount":10,"note":"b","repo":"acme/docs"}"#, ApprovalStatus::Approved),
        (r#"{"amount":11,"note":"a","repo":"acme/site"}"#, ApprovalStatus::Pending),
        (r#"{"amount":1.0,"note":"a","repo":"acme/site"}"#, ApprovalStatus::Pending),
        (r#"{"amount":"5","note":"a","repo":"acme/site"}"#, ApprovalStatus::Pending),
        (r#"{"amount":5,"note":"c","repo":"acme/site"}"#, ApprovalStatus::Pending),
        (r#"{"amount":5,"note":"a","repo":"evil/site"}"#, ApprovalStatus::Pending),
    ];
    for (at, (arguments, expected)) in (2..).zip(cases) {
        assert_eq!(desk.status_of(at, arguments).await, expected, "{arguments}");
        // Room for the next one: this is not about how many may wait.
        desk.withdraw(at, Some(0)).await;
        desk.approvals.sweep().await.unwrap();
    }
    let more = r#"{"amount":5,"force":true,"note":"a","repo":"acme/site"}"#;
    assert_eq!(desk.status_of(20, more).await, ApprovalStatus::Pending, "one argument more is another call");
}

#[tokio::test]
async fn grant_ends_with_its_time_its_policy_and_who_takes_it_back() {
    let desk = desk().await;
    let give = async |hold: u128, arguments: &str| {
        let opened = desk.approvals.open(asking(hold, arguments, "basis")).await.unwrap();
        desk.approve_further(&opened.id, scope(5, 20_000, &[])).await.unwrap();
        desk.claim(&opened.id, hold, hold, "basis").await.unwrap();
    };
    give(1, r#"{"n":1}"#).await;
    let edited = desk.approvals.open(asking(2, r#"{"n":1}"#, "edited")).await.unwrap();
    assert_eq!(edited.status, ApprovalStatus::Pending, "other rules ask anew");
    desk.bench.advance(20_000);
    assert_eq!(desk.status_of(3, r#"{"n":1}"#).await, ApprovalStatus::Pending, "its time is over");
    give(4, r#"{"n":2}"#).await;
    let alice = person("alice", &["sre"]);
    let [grant] = &desk.approvals.grants(&alice).await.unwrap()[..] else { panic!("one grant") };
    assert_eq!((grant.uses_left, grant.call_text.as_str()), (4, ""), "lists hold no arguments");
    desk.approvals.revoke_grant(&grant.id, &alice, None, None).await.unwrap();
    assert_eq!(desk.status_of(5, r#"{"n":2}"#).await, ApprovalStatus::Pending);
    assert!(desk.approvals.revoke_grant(&grant.id, &alice, None, None).await.is_err());
}

#[tokio::test]
async fn whoever_revokes_an_approval_takes_its_grant_back_too() {
    let desk = desk().await;
    let first = desk.approvals.open(asking(1, r#"{"n":1}"#, "basis")).await.unwrap();
    desk.approve_further(&first.id, scope(5, 20_000, &[])).await.unwrap();
    let stranger = Credential { tenant: Some("other".to_owned()), ..person("alice", &["sre"]) };
    let refused = desk.approvals.revoke(&first.id, &stranger, &RevokeBody::default(), None, None).await;
    assert!(matches!(refused, Err(RevokeError::NotFound(_))), "another tenant's approval is not there: {refused:?}");
    desk.approvals.revoke(&first.id, &person("alice", &["sre"]), &RevokeBody::default(), None, None).await.unwrap();
    assert_eq!(desk.status_of(2, r#"{"n":1}"#).await, ApprovalStatus::Pending, "its repeat is asked anew");
    assert_eq!(desk.approvals.grants(&person("alice", &["sre"])).await.unwrap(), []);
}

#[tokio::test]
async fn arguments_are_erased_from_grants_too_which_then_cover_only_identical_calls() {
    let desk = desk().await;
    let first = desk.approvals.open(asking(1, r#"{"n":1}"#, "basis")).await.unwrap();
    desk.approve_further(&first.id, scope(5, 60_000, &[("/n", Predicate::Lte(9))])).await.unwrap();
    desk.claim(&first.id, 1, 1, "basis").await.unwrap();
    let now_ms = desk.bench.store.now_ms().await.unwrap();
    let erase = Write::EraseArguments { ids: vec![first.id.clone()], at_ms: now_ms };
    desk.bench.store.commit(Change { writes: vec![erase], entries: Vec::new() }).await.unwrap();
    let [kept] = &desk.bench.store.grants(now_ms, None).await.unwrap()[..] else { panic!("one grant") };
    assert_eq!(kept.call_text, "");
    assert_eq!(desk.status_of(2, r#"{"n":1}"#).await, ApprovalStatus::Approved);
    assert_eq!(desk.status_of(3, r#"{"n":2}"#).await, ApprovalStatus::Pending);
}

#[tokio::test]
async fn scope_needs_the_rules_leave_a_reason_and_a_call_that_is_not_destructive() {
    let desk = desk().await;
    let plain = desk.open(1, "x").await.unwrap();
    let refused = async |id: &str, scope| match desk.approve_further(id, scope).await {
        Err(ReviewError::Scope(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(&plain.id, scope(2, 1, &[])).await, ScopeError::NotAllowed));
    let allowed = desk.approvals.open(asking(2, r#"{"n":1}"#, "basis")).await.unwrap();
    assert!(matches!(refused(&allowed.id, scope(6, 1, &[])).await, ScopeError::TooFar { uses_max: 5, .. }));
    assert!(matches!(refused(&allowed.id, scope(2, 60_001, &[])).await, ScopeError::TooFar { .. }));
    assert!(matches!(refused(&allowed.id, scope(1, 1, &[])).await, ScopeError::Shape));
    let mut admin = asking(3, r#"{"n":2}"#, "basis");
    admin.envelope.labels.insert("mcp.action".to_owned(), "admin".to_owned());
    let admin = desk.approvals.open(admin).await.unwrap();
    assert!(matches!(refused(&admin.id, scope(2, 1, &[])).await, ScopeError::Destructive));
    for id in [&plain.id, &allowed.id, &admin.id] {
        assert_eq!(desk.status(id).await, ApprovalStatus::Pending, "a scope that is not taken approves nothing");
    }

    // In a batch each review is over the digest that was seen, and what is destructive is left to be looked at.
    let review = |opened: &ApprovalState| BatchReview {
        id: opened.id.clone(),
        verdict: ReviewVerdict::Approve,
        call_digest: opened.call_digest,
        reason: None,
    };
    let stale = BatchReview { call_digest: Digest::of(b"other"), ..review(&plain) };
    let reviews = vec![stale, review(&allowed), review(&admin)];
    let answers = desk.approvals.review_batch(&person("alice", &["sre"]), &BatchBody { reviews }, None).await;
    let [(_, first), (_, second), (_, third)] = &answers[..] else { panic!("{answers:?}") };
    assert!(matches!(first, Err(ReviewError::DigestChanged)), "{first:?}");
    assert!(matches!(second, Ok(state) if state.status == ApprovalStatus::Approved), "{second:?}");
    assert!(matches!(third, Err(ReviewError::OneByOne)), "{third:?}");
}

#[tokio::test]
async fn approval_reaches_no_further_than_everybody_who_gave_it_said() {
    let desk = desk().await;
    let mut asking = asking(1, r#"{"n":1}"#, "basis");
    asking.requirement.all_of[0].min = 2;
    let first = desk.approvals.open(asking.clone()).await.unwrap();
    desk.approve_further(&first.id, scope(5, 20_000, &[("/n", Predicate::Lte(9))])).await.unwrap();
    desk.review(&first.id, &person("carol", &["sre"]), ReviewVerdict::Approve).await.unwrap();
    assert_eq!(desk.approvals.grants(&person("alice", &["sre"])).await.unwrap(), [], "one of two said nothing of more");
    desk.claim(&first.id, 1, 1, "basis").await.unwrap();

    asking.hold_id = number(2);
    let second = desk.approvals.open(asking).await.unwrap();
    desk.approve_further(&second.id, scope(5, 20_000, &[("/n", Predicate::Lte(9))])).await.unwrap();
    let seen = desk.bench.store.state(&second.id).await.unwrap().unwrap().call_digest;
    let body = ReviewBody {
        verdict: ReviewVerdict::Approve,
        call_digest: Some(seen),
        reason: Some("the same".to_owned()),
        scope: Some(scope(3, 60_000, &[("/n", Predicate::Lte(100))])),
    };
    desk.approvals.review(&second.id, &person("carol", &["sre"]), &body, None).await.unwrap();
    let grants = desk.approvals.grants(&person("alice", &["sre"])).await.unwrap();
    assert_eq!(grants, [], "they do not agree on which arguments may differ");
}

#[tokio::test]
async fn grant_is_seen_and_taken_back_in_its_tenant_and_only_as_it_was_seen() {
    let desk = desk().await;
    let first = desk.approvals.open(asking(1, r#"{"n":1}"#, "basis")).await.unwrap();
    desk.approve_further(&first.id, scope(5, 20_000, &[])).await.unwrap();
    let alice = person("alice", &["sre"]);
    let [grant] = &desk.approvals.grants(&alice).await.unwrap()[..] else { panic!("one grant") };
    let stranger = Credential { tenant: Some("other".to_owned()), ..alice.clone() };
    assert_eq!(desk.approvals.grants(&stranger).await.unwrap(), []);
    assert!(desk.approvals.revoke_grant(&grant.id, &stranger, None, None).await.is_err());
    let stale = desk.approvals.revoke_grant(&grant.id, &alice, Some(9), None).await;
    assert!(matches!(stale, Err(crate::approvals::grant::RevokeGrantError::Changed)), "{stale:?}");
    desk.approvals.revoke_grant(&grant.id, &alice, Some(4), None).await.unwrap();
}
