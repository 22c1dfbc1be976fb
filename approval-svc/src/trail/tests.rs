//! What the record says is found again, by those who may see it; and what it does not say of a call is named.

use std::collections::BTreeSet;

use holdpoint_core::audit::{EntryKind, Outcome};
use holdpoint_core::decision::Verdict;
use holdpoint_core::identity::{ActorType, Principal};

use super::call::{CallTrail, Standing};
use super::*;
use crate::store::contract::{self, Bench, START_MS};
use crate::tokens::Proof;

fn principal(subject: &str, tenant: Option<&str>) -> Principal {
    Principal {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        agent_id: Some("bot".to_owned()),
        actor_type: ActorType::Agent,
        tenant: tenant.map(str::to_owned),
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    }
}

fn entry(kind: EntryKind, at_ms: u64) -> AuditEntry {
    AuditEntry {
        principal: Some(principal("bob", None)),
        server: Some("tracker".to_owned()),
        method: Some("tools/call".to_owned()),
        target: Some("create_issue".to_owned()),
        source: Some("edge/1".to_owned()),
        ..AuditEntry::new(kind, START_MS + at_ms)
    }
}

fn reader(role: Role, tenant: Option<&str>) -> Credential {
    Credential {
        role,
        issuer: "local".to_owned(),
        subject: "ann".to_owned(),
        groups: BTreeSet::new(),
        tenant: tenant.map(str::to_owned),
        client_id: None,
        proof: Proof::Nothing,
        lent: Vec::new(),
    }
}

async fn recorded(entries: Vec<AuditEntry>) -> (Bench, Trail) {
    let bench = contract::open().await;
    bench.store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    let trail = Trail::new(Arc::clone(&bench.store));
    (bench, trail)
}

async fn found(trail: &Trail, reader: &Credential, clues: &[Clue]) -> Vec<u64> {
    let sought = Sought { clues: clues.to_vec(), rows_max: 50, ..Sought::default() };
    let found = trail.search(sought, reader).await.unwrap();
    assert_eq!(found.unsearched, 0);
    found.entries.iter().map(|one| one.seq).collect()
}

#[tokio::test]
async fn entry_is_found_by_each_thing_that_it_says_and_by_all_of_them_together() {
    let mut denied = entry(EntryKind::Decision, 1);
    denied.verdict = Some(Verdict::Deny);
    denied.rule_ids = vec!["first".to_owned(), "second".to_owned()];
    denied.trace_id = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    let mut review = entry(EntryKind::Review, 2);
    review.by = Some("local alice".to_owned());
    review.approval_id = Some("a1".to_owned());
    let (_bench, trail) = recorded(vec![denied, review, AuditEntry::new(EntryKind::Gap, START_MS)]).await;
    let auditor = reader(Role::Auditor, None);
    for (clue, seqs) in [
        (Clue::new(Field::Kind, "decision"), vec![0]),
        (Clue::new(Field::Verdict, "deny"), vec![0]),
        (Clue::new(Field::Rule, "second"), vec![0]),
        (Clue::new(Field::Trace, "0af7651916cd43dd8448eb211c80319c"), vec![0]),
        (Clue::new(Field::Who, "alice"), vec![1]),
        (Clue::new(Field::Who, "bot"), vec![1, 0]),
        (Clue::new(Field::Tool, "create_issue"), vec![1, 0]),
        (Clue::new(Field::Approval, "a1"), vec![1]),
        (Clue::new(Field::Who, "ali"), vec![]),
        (Clue::any(), vec![1, 0, 2]),
    ] {
        assert_eq!(found(&trail, &auditor, std::slice::from_ref(&clue)).await, seqs, "{clue:?}");
    }
    let both = [Clue::new(Field::Server, "tracker"), Clue::new(Field::Who, "alice")];
    assert_eq!(found(&trail, &auditor, &both).await, [1]);
    let neither = [Clue::new(Field::Verdict, "deny"), Clue::new(Field::Who, "alice")];
    assert_eq!(found(&trail, &auditor, &neither).await, [0; 0]);
}

#[tokio::test]
async fn tenants_see_their_own_entries_and_approvers_only_calls() {
    let of = |tenant| AuditEntry { principal: Some(principal("bob", tenant)), ..entry(EntryKind::Decision, 1) };
    let token = AuditEntry::new(EntryKind::TokenChanged, START_MS + 9);
    let (_bench, trail) = recorded(vec![of(Some("acme")), of(Some("zeta")), of(None), token]).await;
    for (who, seqs) in [
        (reader(Role::Auditor, None), vec![3, 2, 1, 0]),
        (reader(Role::Approver, None), vec![2, 1, 0]),
        (reader(Role::Auditor, Some("acme")), vec![0]),
        (reader(Role::Approver, Some("zeta")), vec![1]),
        (reader(Role::Approver, Some("none")), vec![]),
    ] {
        assert_eq!(found(&trail, &who, &[]).await, seqs, "{who:?}");
        for seq in 0..4 {
            let seen = trail.entry(seq, &who).await.unwrap().is_some();
            assert_eq!(seen, seqs.contains(&seq), "{who:?} {seq}");
        }
    }
}

#[tokio::test]
async fn entries_from_before_the_index_are_taken_in_and_the_newest_that_are_not_yet_are_counted() {
    let entries = (0..1_300).map(|at| entry(EntryKind::Decision, at)).collect();
    let (_bench, trail) = recorded(entries).await;
    let auditor = reader(Role::Auditor, None);
    let sought = || Sought { rows_max: 1, ..Sought::default() };
    let first = trail.search(sought(), &auditor).await.unwrap();
    assert_eq!((first.entries[0].seq, first.unsearched), (999, 300));
    let second = trail.search(sought(), &auditor).await.unwrap();
    assert_eq!((second.entries[0].seq, second.unsearched), (1_299, 0));
}

/// A held call, from its decision to its claim.
fn held() -> Vec<AuditEntry> {
    let of = |kind, at_ms| {
        let mut one = entry(kind, at_ms);
        one.approval_id = Some("a1".to_owned());
        one
    };
    let mut decision = entry(EntryKind::Decision, 0);
    decision.verdict = Some(Verdict::RequireApproval);
    decision.hold_id = Some("h1".to_owned());
    let opened = of(EntryKind::ApprovalOpened, 1);
    let mut review = of(EntryKind::Review, 2);
    review.by = Some("local alice".to_owned());
    let mut claim = of(EntryKind::Claim, 3);
    claim.hold_id = Some("h1".to_owned());
    vec![decision, opened, review, claim]
}

#[tokio::test]
async fn call_is_put_together_from_any_of_its_entries_and_an_outcome_that_nobody_told_is_unknown() {
    let mut entries = held();
    entries.push(AuditEntry { target: Some("other".to_owned()), ..entry(EntryKind::Decision, 2) });
    let (bench, trail) = recorded(entries).await;
    let auditor = reader(Role::Auditor, None);
    for seq in [0, 1, 3] {
        assert!(found(&trail, &auditor, &[]).await.contains(&seq));
        let first = trail.entry(seq, &auditor).await.unwrap().unwrap();
        let call = trail.call(first, &auditor).await.unwrap();
        assert_eq!(call.entries.iter().map(|one| one.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(call.standing, Standing::Unknown);
    }
    let mut outcome = entry(EntryKind::Outcome, 4);
    outcome.hold_id = Some("h1".to_owned());
    outcome.outcome = Some(Outcome::Committed);
    bench.store.commit(Change { writes: Vec::new(), entries: vec![outcome] }).await.unwrap();
    let call = trail.approval("a1", &auditor).await.unwrap().unwrap();
    assert_eq!((call.entries.len(), call.standing, call.gaps.len()), (5, Standing::Ran, 0));
    assert!(trail.approval("a2", &auditor).await.unwrap().is_none());
    let other = reader(Role::Approver, Some("acme"));
    assert!(trail.approval("a1", &other).await.unwrap().is_none(), "another tenant's");
}

#[tokio::test]
async fn gaps_of_the_same_gateway_at_the_same_time_are_named() {
    let gap = |source: &str, at_ms| AuditEntry {
        source: Some(source.to_owned()),
        detail: Some("3 entries are missing".to_owned()),
        ..AuditEntry::new(EntryKind::Gap, START_MS + at_ms)
    };
    let mut entries = held();
    entries.extend([gap("edge/1", 5), gap("edge/2", 5), gap("edge/1", 10_000_000)]);
    let (_bench, trail) = recorded(entries).await;
    let call = trail.approval("a1", &reader(Role::Auditor, None)).await.unwrap().unwrap();
    assert_eq!(call.gaps.iter().map(|gap| gap.seq).collect::<Vec<_>>(), [4]);
}

#[tokio::test]
async fn entry_that_bears_the_mark_of_something_else_is_not_found_by_it() {
    let (bench, trail) = recorded(vec![entry(EntryKind::Decision, 1), entry(EntryKind::Decision, 2)]).await;
    let auditor = reader(Role::Auditor, None);
    assert_eq!(found(&trail, &auditor, &[]).await, [1, 0]);
    let alice = Clue::new(Field::Who, "alice");
    let zeta = Clue::new(Field::Tenant, "zeta");
    let mark = |clue: &Clue| MarkRow { mark: clue.mark(), at_ms: START_MS + 1, seq: 0 };
    let marks = Write::AddMarks(vec![mark(&alice), mark(&zeta)]);
    bench.store.commit(Change { writes: vec![marks], entries: Vec::new() }).await.unwrap();
    assert_eq!(found(&trail, &auditor, &[alice]).await, [0; 0]);
    assert_eq!(found(&trail, &reader(Role::Auditor, Some("zeta")), &[]).await, [0; 0], "nor by another tenant");
}

#[tokio::test]
async fn of_an_approval_that_two_tenants_share_each_sees_its_own_calls() {
    let of = |tenant| AuditEntry {
        principal: Some(principal("bob", Some(tenant))),
        approval_id: Some("a1".to_owned()),
        ..entry(EntryKind::ApprovalJoined, 1)
    };
    let (_bench, trail) = recorded(vec![of("acme"), of("zeta")]).await;
    let acme = reader(Role::Approver, Some("acme"));
    let seqs = |call: CallTrail| call.entries.iter().map(|one| one.seq).collect::<Vec<_>>();
    assert_eq!(seqs(trail.approval("a1", &acme).await.unwrap().unwrap()), [0]);
    let first = trail.entry(0, &acme).await.unwrap().unwrap();
    assert_eq!(seqs(trail.call(first, &acme).await.unwrap()), [0]);
}

#[tokio::test]
async fn call_of_very_many_entries_or_names_is_cut_and_says_so() {
    let auditor = reader(Role::Auditor, None);
    let of_hold = |at: u64| AuditEntry {
        approval_id: Some("a1".to_owned()),
        hold_id: Some(format!("h{at}")),
        ..entry(EntryKind::ApprovalJoined, at)
    };
    let (_bench, trail) = recorded((0..63).map(of_hold).collect()).await;
    let call = trail.approval("a1", &auditor).await.unwrap().unwrap();
    assert_eq!((call.entries.len(), call.is_cut), (63, false), "64 names");
    // The holds that are looked for by name are the latest; each has a second entry.
    let more = |at: u64| AuditEntry { approval_id: None, ..of_hold(at) };
    let (_bench, trail) = recorded((0..100).map(of_hold).chain((0..100).map(more)).collect()).await;
    let call = trail.approval("a1", &auditor).await.unwrap().unwrap();
    assert_eq!((call.entries.len(), call.is_cut), (163, true), "of 63 holds both");
    let of_approval = |at: u64| AuditEntry { hold_id: None, ..of_hold(at) };
    let (_bench, trail) = recorded((0..201).map(of_approval).collect()).await;
    let call = trail.approval("a1", &auditor).await.unwrap().unwrap();
    assert_eq!((call.entries.len(), call.is_cut), (200, true));
    let of_few = |at: u64| AuditEntry { approval_id: None, ..of_hold(at % 4) };
    let (_bench, trail) = recorded((0..4).map(of_hold).chain((4..604).map(of_few)).collect()).await;
    let call = trail.approval("a1", &auditor).await.unwrap().unwrap();
    assert_eq!((call.entries.len(), call.is_cut), (500, true));
}
