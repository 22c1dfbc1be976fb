//! What every store must do. One suite: SQLite and PostgreSQL run it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use holdpoint_core::approval::{ApprovalStatus, CALL_DIGEST_TAG, OpenApproval, WithdrawCause};
use holdpoint_core::audit::merkle::root_of;
use holdpoint_core::audit::payload::{Payload, PayloadDigest, Salt};
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::AuditLevel;
use holdpoint_core::digest::{Digest, hex_encode};
use holdpoint_core::freeze::{Freeze, FreezeScope};
use serde_json::json;

use super::payload::{Erasure, PayloadErasure, PayloadFilter};
use super::row::{
    AnswerRow, Approval, ApprovalFilter, ClaimRow, DueCause, HistoryFilter, Judge, MarkQuery, MarkRow, Place,
    PolicyRow, Readable, Review, Token,
};
use super::{ApprovalMove, Change, CommitError, Conflict, HoldBinding, Store, Write, sqlite};
use crate::approvals::ReviewVerdict;
use crate::approvals::grant::Scope;
use crate::notify::notice::{EventKind, Notice, NoticeFilter, NoticeState, NoticeTry};
use crate::tokens::Role;

mod many;

/// When every bench starts: Unix milliseconds.
pub const START_MS: u64 = 1_700_000_000_000;
/// The policy that every bench has registered.
pub const POLICY: &str = "{}";

/// A store of its own, and its clock.
pub struct Bench {
    pub store: Arc<dyn Store>,
    pub clock_ms: Arc<AtomicU64>,
    pub dir: PathBuf,
}

impl Bench {
    pub fn advance(&self, ms: u64) {
        self.clock_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

/// An empty directory that no other test has.
pub fn scratch_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("holdpoint-test-{}", uuid::Uuid::now_v7().simple()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A fresh store.
pub async fn open() -> Bench {
    let dir = scratch_dir();
    crate::keys::ServiceSigner::load_or_create(&dir).unwrap();
    let clock_ms = Arc::new(AtomicU64::new(START_MS));
    let clock = Arc::clone(&clock_ms);
    let store = sqlite::open(&dir.join("holdpoint.db"), Arc::new(move || clock.load(Ordering::SeqCst))).await;
    Bench { store: Arc::new(store.unwrap()), clock_ms, dir }
}

/// Like [`open`], with [`POLICY`] registered by the id that [`asked`] cites.
pub async fn open_with_policy() -> Bench {
    with_policy(open().await).await
}

/// The same on another store.
pub async fn with_policy(bench: Bench) -> Bench {
    let row = PolicyRow { snapshot_id: snapshot_id(), canonical: POLICY.to_owned(), registered_at_ms: START_MS };
    bench.store.commit(one(Write::AddPolicy(row))).await.unwrap();
    bench
}

pub fn snapshot_id() -> Digest {
    crate::policies::id_of(POLICY)
}

/// A 128-bit number as holds and nonces are written.
pub fn number(n: u128) -> String {
    hex_encode(&n.to_be_bytes())
}

/// What is judged when call `call` is asked for.
pub fn call_text(call: &str) -> String {
    json!({"agent": "bot", "issuer": "https://idp", "method": "tools/call", "params": {"arguments": {"call": call}},
           "server": "github", "subject": "bob", "tenant": null})
    .to_string()
}

/// Hold `hold` asks for call `call` under basis `basis`; one of `sre` must approve.
pub fn asked(hold: u128, call: &str, basis: &str) -> OpenApproval {
    let call_text = call_text(call);
    let call_digest = Digest::tagged(CALL_DIGEST_TAG, call_text.as_bytes());
    serde_json::from_value(json!({
        "hold_id": number(hold), "gateway": "edge", "call_text": call_text, "call_digest": call_digest,
        "principal": {"issuer": "https://idp", "subject": "bob", "agent_id": "bot", "actor_type": "agent"},
        "server": "github", "method": "tools/call", "target": "create_issue",
        "envelope": envelope(),
        "reasons": [{"rule_id": "writes", "text": "a person looks at writes"}],
        "requirement": {"all_of": [{"group": "sre", "min": 1}], "decide_within_ms": 10_000, "claim_within_ms": 5_000},
        "constraints": {"max_runtime_ms": 30_000},
        "snapshot_id": snapshot_id(), "basis": Digest::of(basis.as_bytes()),
    }))
    .unwrap()
}

fn envelope() -> serde_json::Value {
    json!({
        "topic": "job.mcp.tool", "labels": {"mcp.action": "write"}, "meta": {"actor_id": "bob", "actor_type": "agent"},
    })
}

fn one(write: Write) -> Change {
    Change { writes: vec![write], entries: Vec::new() }
}

fn entry(detail: &str) -> AuditEntry {
    AuditEntry { detail: Some(detail.to_owned()), ..AuditEntry::new(EntryKind::Decision, START_MS) }
}

fn pending(id: &str, asked: OpenApproval) -> Approval {
    Approval {
        id: id.to_owned(),
        status: ApprovalStatus::Pending,
        version: 1,
        expires_at_ms: START_MS + asked.requirement.decide_within_ms,
        asked,
        opened_at_ms: START_MS,
        rejoin_by_ms: None,
        uses_left: 1,
        reason: None,
        decided_by: None,
        decided_at_ms: None,
        ran_before: None,
        escalates_at_ms: None,
        erased_at_ms: None,
    }
}

/// Hold `hold` opens approval `id` for a call.
pub fn opening(id: &str, hold: u128, call: &str) -> Change {
    let approval = Box::new(pending(id, asked(hold, call, "basis")));
    let bind = Write::BindHold(Box::new(HoldBinding {
        hold_id: number(hold),
        approval_id: id.to_owned(),
        gateway: "edge".to_owned(),
        cancel_key: Some(Digest::of(call.as_bytes())),
        at_ms: START_MS,
        ends_by_ms: None,
    }));
    Change { writes: vec![Write::OpenApproval { approval, pending_max: 10 }, bind], entries: vec![entry(id)] }
}

/// Opens an approval that is one of many: for call `call`, by a requester of its own.
pub fn past(n: u128, call: &str) -> Change {
    let mut change = opening(&number(n), n, call);
    for write in &mut change.writes {
        if let Write::OpenApproval { approval, .. } = write {
            approval.asked.principal.subject = format!("bob {n}");
        }
    }
    change
}

fn moving(id: &str, from: ApprovalStatus, version: u64, to: ApprovalStatus) -> ApprovalMove {
    ApprovalMove {
        id: id.to_owned(),
        from,
        version,
        to,
        expires_at_ms: None,
        reason: None,
        decided_by: None,
        at_ms: START_MS,
        if_rejoin_due_at_ms: None,
    }
}

#[track_caller]
fn lost(answer: Result<Vec<u64>, CommitError>, conflict: Conflict) {
    match answer {
        Err(CommitError::Conflict(found)) => assert_eq!(found, conflict),
        other => panic!("expected {conflict:?}, found {other:?}"),
    }
}

/// Runs the whole suite; `fresh` gives a bench with the policy registered.
pub async fn check<F: Future<Output = Bench>>(fresh: impl Fn() -> F) {
    the_log_grows_by_every_entry(&*fresh().await.store).await;
    a_failed_change_leaves_no_trace_and_spares_its_neighbours(&*fresh().await.store).await;
    one_call_has_one_open_approval(&*fresh().await.store).await;
    a_move_needs_the_version_and_an_edge(&*fresh().await.store).await;
    a_grant_is_used_once_by_a_live_hold(&*fresh().await.store).await;
    an_ended_hold_stays_ended(&*fresh().await.store).await;
    nobody_waiting_starts_the_rejoin_clock(&*fresh().await.store).await;
    a_person_reviews_once(&*fresh().await.store).await;
    notices_wait_in_turn_and_are_marked_once(&*fresh().await.store).await;
    counters_advance_from_where_they_stand(&*fresh().await.store).await;
    lists_come_newest_first_in_pages(&*fresh().await.store).await;
    an_answer_is_kept_once_and_for_its_time(&*fresh().await.store).await;
    what_was_seen_is_what_is_changed(&*fresh().await.store).await;
    entries_are_found_by_every_mark_that_they_bear(&*fresh().await.store).await;
    history_is_found_by_what_is_known_of_it(&*fresh().await.store).await;
    many::changes_at_once_share_transactions(&*fresh().await.store).await;
    many::what_a_claim_is_decided_by_is_what_each_read_tells(&*fresh().await.store).await;
    many::callers_of_a_batch_are_added_up(&*fresh().await.store).await;
    many::what_stands_beside_entries_stands_beside_its_own(&*fresh().await.store).await;
    what_stands_beside_entries_is_kept_found_and_erased(&*fresh().await.store).await;
}

async fn the_log_grows_by_every_entry(store: &dyn Store) {
    let commits = (0..50).map(|at| {
        let entries = vec![entry(&format!("{at} a")), entry(&format!("{at} b"))];
        store.commit(Change { writes: Vec::new(), entries })
    });
    let mut seqs = Vec::new();
    for answer in join_all(commits).await {
        let pair = answer.unwrap();
        assert_eq!(pair[1], pair[0] + 1, "the entries of one change stand together");
        seqs.extend(pair);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (0..100).collect::<Vec<u64>>());
    let rows = store.entries(0, 1_000).await.unwrap();
    let head = store.head().await.unwrap();
    assert_eq!(head.frontier.size(), 100);
    assert_eq!(head.root, root_of(rows.iter().map(|row| row.leaf_hash)));
    assert_eq!(head.root, head.frontier.root());
    assert_eq!(store.entries(98, 1).await.unwrap()[0].seq, 98);
}

async fn a_failed_change_leaves_no_trace_and_spares_its_neighbours(store: &dyn Store) {
    let good = opening("a", 1, "first");
    let mut bad = opening("b", 2, "second");
    bad.writes.push(Write::MoveApproval(Box::new(moving("none", ApprovalStatus::Pending, 1, ApprovalStatus::Denied))));
    let other = opening("c", 3, "third");
    let (good, bad, other) = tokio::join!(store.commit(good), store.commit(bad), store.commit(other));
    assert_eq!([good.unwrap(), other.unwrap()], [[0], [1]]);
    lost(bad, Conflict::Moved);
    assert_eq!(store.approval("b").await.unwrap(), None);
    assert_eq!(store.hold(&number(2)).await.unwrap(), None);
    assert_eq!(store.head().await.unwrap().frontier.size(), 2);
    assert_eq!(store.approval("a").await.unwrap(), Some(pending("a", asked(1, "first", "basis"))));
}

async fn one_call_has_one_open_approval(store: &dyn Store) {
    let (first, second) = tokio::join!(store.commit(opening("a", 1, "x")), store.commit(opening("b", 2, "x")));
    first.unwrap();
    lost(second, Conflict::Open);
    let Change { writes, .. } = opening("b", 2, "y");
    let Write::OpenApproval { approval, .. } = &writes[0] else { panic!("an opening opens") };
    lost(
        store.commit(one(Write::OpenApproval { approval: approval.clone(), pending_max: 1 })).await,
        Conflict::TooManyPending,
    );
    let denied = moving("a", ApprovalStatus::Pending, 1, ApprovalStatus::Denied);
    store.commit(one(Write::MoveApproval(Box::new(denied)))).await.unwrap();
    lost(store.commit(one(Write::JoinApproval { id: "a".to_owned() })).await, Conflict::Moved);
    store.commit(opening("b", 2, "x")).await.unwrap();
    let asked = asked(1, "x", "basis");
    let open = store.open_approval(asked.call_digest, asked.basis).await.unwrap().unwrap();
    assert_eq!(open.id, "b");
}

async fn a_move_needs_the_version_and_an_edge(store: &dyn Store) {
    use ApprovalStatus::{Approved, Denied, Pending};
    store.commit(opening("a", 1, "x")).await.unwrap();
    let step = |from, version, to| store.commit(one(Write::MoveApproval(Box::new(moving("a", from, version, to)))));
    lost(step(Pending, 2, Approved).await, Conflict::Moved);
    step(Pending, 1, Pending).await.unwrap();
    step(Pending, 2, Approved).await.unwrap();
    lost(step(Approved, 3, Denied).await, Conflict::Moved);
    let state = store.state("a").await.unwrap().unwrap();
    assert_eq!((state.status, state.version), (Approved, 3));
    assert_eq!(store.status_counts().await.unwrap().get(&Approved), Some(&1));
}

async fn a_grant_is_used_once_by_a_live_hold(store: &dyn Store) {
    use ApprovalStatus::{Approved, Consumed, Pending};
    store.commit(opening("a", 1, "x")).await.unwrap();
    store.commit(one(Write::MoveApproval(Box::new(moving("a", Pending, 1, Approved))))).await.unwrap();
    let claim = |hold| {
        let row = ClaimRow {
            hold_id: number(hold),
            approval_id: "a".to_owned(),
            nonce: number(9),
            claim: "{}".to_owned(),
            signature: "00".to_owned(),
            claimed_at_ms: START_MS,
            outcome: None,
        };
        let used = Write::MoveApproval(Box::new(moving("a", Approved, 2, Consumed)));
        store.commit(Change { writes: vec![used, Write::AddClaim(Box::new(row))], entries: Vec::new() })
    };
    lost(claim(2).await, Conflict::HoldEnded);
    let (first, second) = tokio::join!(claim(1), claim(1));
    first.unwrap();
    lost(second, Conflict::Moved);
    assert_eq!(store.approval("a").await.unwrap().unwrap().uses_left, 0);
    for outcome in [Outcome::Committed, Outcome::Failed] {
        store.commit(one(Write::SetOutcome { hold_id: number(1), outcome })).await.unwrap();
    }
    let row = store.claim(&number(1)).await.unwrap().unwrap();
    assert_eq!(row.outcome, Some(Outcome::Committed), "the first word stays");
    assert_eq!(store.holds_waiting("a").await.unwrap(), 0);
    let ran = store.last_run(asked(1, "x", "basis").call_digest).await.unwrap().unwrap();
    assert_eq!((ran.approval_id.as_str(), ran.at_ms, ran.outcome), ("a", START_MS, Outcome::Committed));
    assert_eq!(store.last_run(asked(1, "y", "basis").call_digest).await.unwrap(), None);
}

async fn an_ended_hold_stays_ended(store: &dyn Store) {
    let end =
        |claimed| Write::EndHold { hold_id: number(1), cause: WithdrawCause::ClientGone, at_ms: START_MS, claimed };
    lost(store.commit(one(end(true))).await, Conflict::Claimed);
    store.commit(one(end(false))).await.unwrap();
    lost(store.commit(one(end(false))).await, Conflict::HoldEnded);
    lost(store.commit(opening("a", 1, "x")).await, Conflict::HoldEnded);
    assert_eq!(store.approval("a").await.unwrap(), None);
    assert_eq!(store.holds_cancelled_by(Digest::of(b"x"), 10).await.unwrap(), []);
    assert_eq!(store.hold(&number(1)).await.unwrap().unwrap().ended_at_ms, Some(START_MS));
}

async fn nobody_waiting_starts_the_rejoin_clock(store: &dyn Store) {
    store.commit(opening("a", 1, "x")).await.unwrap();
    let found = store.holds_cancelled_by(Digest::of(b"x"), 10).await.unwrap();
    assert_eq!(found.iter().map(|hold| hold.hold_id.clone()).collect::<Vec<_>>(), [number(1)]);
    assert_eq!(store.holds_cancelled_by(Digest::of(b"y"), 10).await.unwrap(), [], "another call");
    let rejoin = || Write::AwaitRejoin { id: "a".to_owned(), rejoin_by_ms: START_MS + 50 };
    store.commit(one(rejoin())).await.unwrap();
    assert_eq!(store.due(START_MS + 50, 10).await.unwrap(), [], "a hold still waits");
    let end = Write::EndHold { hold_id: number(1), cause: WithdrawCause::ClientGone, at_ms: START_MS, claimed: false };
    store.commit(Change { writes: vec![end, rejoin()], entries: Vec::new() }).await.unwrap();
    let due = store.due(START_MS + 50, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.id.as_str(), due.cause)).collect::<Vec<_>>(), [("a", DueCause::Rejoin)]);
    assert_eq!(store.due(START_MS + 10_000, 10).await.unwrap()[0].cause, DueCause::Clock);
    store.commit(one(Write::JoinApproval { id: "a".to_owned() })).await.unwrap();
    let late = ApprovalMove {
        if_rejoin_due_at_ms: Some(START_MS + 50),
        ..moving("a", ApprovalStatus::Pending, 1, ApprovalStatus::Withdrawn)
    };
    lost(store.commit(one(Write::MoveApproval(Box::new(late)))).await, Conflict::Moved);
}

async fn a_person_reviews_once(store: &dyn Store) {
    store.commit(opening("a", 1, "x")).await.unwrap();
    let review = Review {
        issuer: "local".to_owned(),
        subject: "alice".to_owned(),
        groups: BTreeSet::from(["sre".to_owned()]),
        verdict: ReviewVerdict::Deny,
        reason: Some("no".to_owned()),
        at_ms: START_MS,
        on_behalf_of: Some("local dave".to_owned()),
        break_glass: true,
        scope: Some(Scope { uses: 2, within_ms: 1, arguments: Default::default() }),
    };
    let add = || one(Write::AddReview { approval_id: "a".to_owned(), review: review.clone() });
    store.commit(add()).await.unwrap();
    lost(store.commit(add()).await, Conflict::Reviewed);
    assert_eq!(store.reviews("a").await.unwrap(), std::slice::from_ref(&review));
}

async fn notices_wait_in_turn_and_are_marked_once(store: &dyn Store) {
    let notice = |id: &str, approval: Option<&str>, channel: &str| {
        Write::AddNotice(Box::new(Notice {
            id: id.to_owned(),
            channel: channel.to_owned(),
            event: EventKind::Opened,
            approval_id: approval.map(str::to_owned),
            tenant: None,
            body: "{}".to_owned(),
            created_at_ms: START_MS,
            state: NoticeState::Waiting,
            tries: 0,
            next_try_ms: START_MS,
            ended_at_ms: None,
            trouble: None,
            receipt: None,
        }))
    };
    store.commit(opening("a", 1, "x")).await.unwrap();
    let due = async |now_ms| {
        let due = store.notices_due("hook", now_ms, 9).await.unwrap();
        due.into_iter().map(|notice| notice.id).collect::<Vec<_>>()
    };
    assert_eq!(store.untold(START_MS, 9).await.unwrap(), ["a"], "no route took it");
    let writes = vec![notice("m1", Some("a"), "hook"), notice("m2", Some("a"), "hook"), notice("m3", None, "hook")];
    store.commit(Change { writes, entries: Vec::new() }).await.unwrap();
    lost(store.commit(one(notice("m1", None, "hook"))).await, Conflict::Exists);
    assert_eq!(due(START_MS - 1).await, [""; 0]);
    assert_eq!(due(START_MS).await, ["m1", "m3"], "one after the other for each approval");
    assert_eq!(store.untold(START_MS - 1, 9).await.unwrap(), [""; 0], "it may be on its way");
    assert_eq!(store.untold(START_MS, 9).await.unwrap(), ["a"], "it has been for too long");
    let tried = |tries, to| {
        one(Write::TryNotice(NoticeTry {
            id: "m1".to_owned(),
            tries,
            to,
            next_try_ms: START_MS + 5,
            at_ms: START_MS + 1,
            trouble: Some("no".to_owned()),
            receipt: None,
        }))
    };
    store.commit(tried(0, NoticeState::Waiting)).await.unwrap();
    lost(store.commit(tried(0, NoticeState::Delivered)).await, Conflict::Missing);
    assert_eq!(due(START_MS + 4).await, ["m3"], "a later one of the approval waits with the first");
    assert_eq!(due(START_MS + 5).await, ["m1", "m3"]);
    store.commit(tried(1, NoticeState::Dead)).await.unwrap();
    assert_eq!(due(START_MS + 5).await, ["m2", "m3"]);
    let retry = |id: &str| one(Write::RetryNotice { id: id.to_owned(), at_ms: START_MS + 6 });
    store.commit(retry("m1")).await.unwrap();
    lost(store.commit(retry("m1")).await, Conflict::Missing);
    assert_eq!(due(START_MS + 6).await, ["m1", "m3"]);
    store.commit(tried(0, NoticeState::Delivered)).await.unwrap();
    assert_eq!(store.untold(START_MS + 9, 9).await.unwrap(), [""; 0]);
    store.commit(one(Write::DropNoticesBut { channels: vec!["other".to_owned()], at_ms: START_MS + 7 })).await.unwrap();
    assert_eq!(due(START_MS + 9).await, [""; 0], "the channel is gone");
    let counts = store.notice_counts().await.unwrap();
    assert_eq!((counts[&NoticeState::Delivered], counts[&NoticeState::Dead]), (1, 2));
    store.commit(one(Write::ForgetNotices { ended_before_ms: START_MS + 7 })).await.unwrap();
    assert!(store.notice("m1").await.unwrap().is_none() && store.notice("m2").await.unwrap().is_some());
    let about = NoticeFilter { approval_id: Some("a".to_owned()), rows_max: 9, ..NoticeFilter::default() };
    assert_eq!(store.notices(about).await.unwrap().len(), 1);
}

async fn counters_advance_from_where_they_stand(store: &dyn Store) {
    let advance = |from, to| one(Write::AdvanceSource { source: "edge/1".to_owned(), from, to });
    assert_eq!(store.source_counter("edge/1").await.unwrap(), None);
    store.commit(advance(0, 5)).await.unwrap();
    lost(store.commit(advance(0, 5)).await, Conflict::Counter);
    store.commit(advance(5, 6)).await.unwrap();
    assert_eq!(store.source_counter("edge/1").await.unwrap(), Some(6));
}

async fn history_is_found_by_what_is_known_of_it(store: &dyn Store) {
    for (at, id) in ["a", "b", "c"].into_iter().enumerate() {
        store.commit(opening(id, at as u128, &format!("Pay_{id}%"))).await.unwrap();
    }
    let find = async |filter: HistoryFilter| {
        let found = store.history(filter).await.unwrap();
        (found.rows.into_iter().map(|past| past.approval.id).collect::<Vec<_>>(), found.next_before_id)
    };
    let all = HistoryFilter { rows_max: 2, ..HistoryFilter::default() };
    assert_eq!(find(all.clone()).await, (vec!["c".to_owned(), "b".to_owned()], Some("b".to_owned())));
    assert_eq!(
        find(HistoryFilter { before_id: Some("b".to_owned()), ..all.clone() }).await,
        (vec!["a".to_owned()], None)
    );
    let text = |text: &str| HistoryFilter { text: Some(text.to_owned()), ..all.clone() };
    assert_eq!(find(text("pay_B%")).await.0, ["b"], "in any case, and no sign means anything but itself");
    assert_eq!(find(text("pay%b")).await.0, [""; 0]);
    let who = |who: &str| HistoryFilter { who: Some(who.to_owned()), ..all.clone() };
    assert_eq!((find(who("BO")).await.0.len(), find(who("zoe")).await.0.len()), (2, 0));
    let target = HistoryFilter { target: Some("create_issue".to_owned()), rows_max: 9, ..all.clone() };
    assert_eq!(find(target.clone()).await.0.len(), 3);
    assert_eq!(find(HistoryFilter { over: true, ..target }).await.0, [""; 0], "all of them wait");
    // Words in arguments that the reader may not read find nothing, and no page tells that others would find something.
    let nobody = Readable::Judged(Judge(Arc::new(|_| false)));
    let hidden = |text: &str| HistoryFilter {
        text: Some(text.to_owned()),
        readable: nobody.clone(),
        rows_max: 2,
        ..HistoryFilter::default()
    };
    assert_eq!(find(hidden("pay_")).await, find(hidden("in no call at all")).await);
    assert_eq!(find(hidden("create_issue")).await.0, ["c", "b"], "a tool's name is nobody's secret");
    let by_nobody = |text: &str| HistoryFilter { readable: Readable::Nothing, ..hidden(text) };
    assert_eq!(find(by_nobody("pay_")).await, (Vec::new(), None));
    assert_eq!(find(by_nobody("create_iss")).await.0, ["c", "b"]);
    // What a decision says is found as well, and what was erased is not any more.
    let mut denied = moving("b", ApprovalStatus::Pending, 1, ApprovalStatus::Denied);
    (denied.reason, denied.decided_by) = (Some("Not on Friday".to_owned()), Some("local alice".to_owned()));
    store.commit(one(Write::MoveApproval(Box::new(denied)))).await.unwrap();
    assert_eq!(
        (find(text("not on fri")).await.0, find(who("alice")).await.0),
        (vec!["b".to_owned()], vec!["b".to_owned()])
    );
    assert_eq!(find(text("friday")).await.0, ["b"]);
    assert_eq!(find(text("riday")).await.0, [""; 0], "from the beginning of a word on");
    assert_eq!(find(text("%")).await.0.len(), 2, "what has no word is looked for in the texts themselves");
    let erase = Write::EraseArguments { ids: vec!["b".to_owned(), "c".to_owned()], at_ms: START_MS };
    store.commit(one(erase)).await.unwrap();
    assert_eq!(find(text("pay_b")).await.0, [""; 0]);
    assert_eq!(find(text("pay_c")).await.0, ["c"], "what still waits keeps its arguments");
    // A call of more words than are kept is found all the same.
    let many: Vec<String> = (0..300).map(|n| format!("w{n}")).collect();
    store.commit(opening("d", 9, &many.join(" "))).await.unwrap();
    assert_eq!(find(text("w298 w29")).await.0, ["d"]);
}

async fn an_answer_is_kept_once_and_for_its_time(store: &dyn Store) {
    let keep = |id: &str, answer: &str, at_ms| {
        let row =
            AnswerRow { id: id.to_owned(), asked: Digest::of(b"x"), answer: answer.to_owned(), made_at_ms: at_ms };
        Write::KeepAnswer { row, forget_before_ms: START_MS + 5 }
    };
    assert_eq!(store.answer("k").await.unwrap(), None);
    store.commit(one(keep("k", "1", START_MS + 7))).await.unwrap();
    // Whatever comes with it does not happen a second time.
    let again = Change { writes: vec![keep("k", "2", START_MS + 8)], entries: vec![entry("again")] };
    lost(store.commit(again).await, Conflict::Answered);
    assert_eq!(store.head().await.unwrap().frontier.size(), 0);
    assert_eq!(store.answer("k").await.unwrap().unwrap().answer, "1");
    store.commit(one(keep("old", "3", START_MS))).await.unwrap();
    store.commit(one(keep("new", "4", START_MS + 9))).await.unwrap();
    assert_eq!(store.answer("old").await.unwrap(), None, "its time is over");
    assert!(store.answer("k").await.unwrap().is_some());
}

async fn what_was_seen_is_what_is_changed(store: &dyn Store) {
    let freeze = |id: &str| Freeze {
        id: id.to_owned(),
        scope: FreezeScope { server: Some("github".to_owned()), ..FreezeScope::default() },
        reason: "x".to_owned(),
        by: "local root".to_owned(),
        since_ms: START_MS,
    };
    let add = |id| one(Write::AddFreeze { freeze: freeze(id), at_ms: START_MS, in_force_max: 9 });
    store.commit(add("a")).await.unwrap();
    let seen = store.freeze_version().await.unwrap();
    store.commit(add("b")).await.unwrap();
    let lift = |if_version| one(Write::LiftFreeze { id: "a".to_owned(), at_ms: START_MS, if_version });
    lost(store.commit(lift(Some(seen))).await, Conflict::Moved);
    store.commit(lift(Some(store.freeze_version().await.unwrap()))).await.unwrap();
    assert_eq!(store.freezes().await.unwrap().freezes, [freeze("b")]);

    assert_eq!(store.tokens_revoked().await.unwrap(), 0);
    let token = Token {
        id: "t".to_owned(),
        hash: Digest::of(b"t"),
        role: Role::Auditor,
        issuer: "local".to_owned(),
        subject: "dan".to_owned(),
        groups: BTreeSet::new(),
        tenant: None,
        created_at_ms: START_MS,
        expires_at_ms: Some(START_MS + 1_000),
        revoked_at_ms: None,
    };
    store.commit(one(Write::AddToken(token))).await.unwrap();
    store.commit(one(Write::RevokeToken { id: "t".to_owned(), at_ms: START_MS })).await.unwrap();
    assert_eq!(store.tokens_revoked().await.unwrap(), 1);

    let known = store.policies(None, 9).await.unwrap();
    for (at, text) in ["1", "2", "3"].into_iter().enumerate() {
        let row = PolicyRow {
            snapshot_id: crate::policies::id_of(text),
            canonical: text.to_owned(),
            registered_at_ms: START_MS + at as u64 / 2,
        };
        store.commit(one(Write::AddPolicy(row))).await.unwrap();
    }
    let all = store.policies(None, 9).await.unwrap();
    assert_eq!(all.len(), known.len() + 3);
    for (at, row) in all.iter().enumerate() {
        let rest = store.policies(Some((row.1, row.0)), 2).await.unwrap();
        assert_eq!(rest, all.iter().skip(at + 1).take(2).copied().collect::<Vec<_>>(), "two behind number {at}");
    }
}

async fn lists_come_newest_first_in_pages(store: &dyn Store) {
    for (at, id) in ["a", "b", "c"].into_iter().enumerate() {
        store.commit(opening(id, at as u128, id)).await.unwrap();
    }
    let list = async |before_id: Option<&str>, status| {
        let filter = ApprovalFilter {
            status,
            before_id: before_id.map(str::to_owned),
            rows_max: 2,
            ..ApprovalFilter::default()
        };
        let rows = store.approvals(filter).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None).await, ["c", "b"]);
    assert_eq!(list(Some("b"), Some(ApprovalStatus::Pending)).await, ["a"]);
    assert_eq!(list(None, Some(ApprovalStatus::Denied)).await, [""; 0]);
}

async fn what_stands_beside_entries_is_kept_found_and_erased(store: &dyn Store) {
    let beside = |of: &str, level, salt: u8, arguments: Option<&str>, kept_since_ms| {
        let said = PayloadDigest { level, bytes: 2, digest: None, cut_to_bytes: None, lost: None };
        AuditEntry {
            principal: Some(
                serde_json::from_value(json!({"issuer": "https://idp", "subject": of, "actor_type": "agent"})).unwrap(),
            ),
            arguments: Some(said),
            payload: Some(Box::new(Payload {
                salt: Salt::new([salt; 16]),
                arguments: arguments.map(str::to_owned),
                result: None,
                kept_since_ms,
            })),
            ..AuditEntry::new(EntryKind::Decision, START_MS)
        }
    };
    let entries = vec![
        beside("ada", AuditLevel::Digest, 1, None, START_MS),
        beside("ada", AuditLevel::Full, 2, Some("{\"a\":\"\u{fc}\"}"), START_MS + 10),
        entry("nothing beside it"),
        beside("bob", AuditLevel::Full, 3, Some("{}"), START_MS + 20),
        beside("bob", AuditLevel::Full, 4, Some("{}"), START_MS + 30),
    ];
    store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    let salts = async |from, rows_max| {
        let rows = store.entries_beside(from, rows_max).await.unwrap();
        let salt = |payload: Payload| (payload.salt.to_string()[..2].to_owned(), payload.arguments, payload.result);
        rows.into_iter().map(|row| (row.entry.seq, row.payload.map(salt))).collect::<Vec<_>>()
    };
    let kept = |salt: &str, text: Option<&str>| Some((salt.to_owned(), text.map(str::to_owned), None));
    let [first, second] = [(0, kept("01", None)), (1, kept("02", Some("{\"a\":\"\u{fc}\"}")))];
    assert_eq!(salts(0, 3).await, [first.clone(), second, (2, None)]);
    assert_eq!(salts(3, 9).await, [(3, kept("03", Some("{}"))), (4, kept("04", Some("{}")))]);

    let find = async |filter, rows_max| store.find_payloads(filter, rows_max).await.unwrap();
    let older = |level, before_ms| PayloadFilter::Older { level, before_ms };
    let of = |subject: &str, before_ms| PayloadFilter::Of { subject: subject.to_owned(), before_ms };
    assert_eq!(find(older("full", START_MS + 30), 9).await, [1, 3], "taken in before then");
    assert_eq!(find(older("full", START_MS + 99), 2).await, [1, 3], "so many");
    assert_eq!(find(older("digest", START_MS + 99), 9).await, [0]);
    assert_eq!(find(of("bob", START_MS + 30), 9).await, [3]);
    assert_eq!(find(of("eve", START_MS + 99), 9).await, [0; 0]);

    assert_eq!(store.erasure(1).await.unwrap(), None);
    let erase = |seqs: &[u64], range, at_ms, by: &str| {
        let erasure = PayloadErasure { seqs: seqs.to_vec(), ranges: vec![range], by: by.to_owned(), at_ms };
        one(Write::ErasePayloads(Box::new(erasure)))
    };
    store.commit(erase(&[1, 3], [1, 3], START_MS + 40, "dora")).await.unwrap();
    store.commit(erase(&[3], [3, 3], START_MS + 50, "eve")).await.unwrap();
    assert_eq!(salts(0, 9).await, [first, (1, None), (2, None), (3, None), (4, kept("04", Some("{}")))]);
    assert_eq!(store.head().await.unwrap().frontier.size(), 5, "the leaves stay");
    let erased = |at_ms, by: &str| Some(Erasure { at_ms, by: by.to_owned() });
    assert_eq!(store.erasure(0).await.unwrap(), None);
    assert_eq!(store.erasure(2).await.unwrap(), erased(START_MS + 40, "dora"));
    assert_eq!(store.erasure(3).await.unwrap(), erased(START_MS + 50, "eve"), "the last time");
    assert_eq!(store.erasure(4).await.unwrap(), None);
}

async fn entries_are_found_by_every_mark_that_they_bear(store: &dyn Store) {
    let entries = (0..6).map(|at| entry(&at.to_string())).collect();
    store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    let follow = |from, to| one(Write::Follow { name: "marks", from, to });
    assert_eq!(store.follower("marks").await.unwrap(), None);
    store.commit(follow(None, 3)).await.unwrap();
    lost(store.commit(follow(None, 3)).await, Conflict::Counter);
    lost(store.commit(follow(Some(2), 4)).await, Conflict::Counter);
    store.commit(follow(Some(3), 6)).await.unwrap();
    assert_eq!(store.follower("marks").await.unwrap(), Some(6));
    // Times do not follow the order of the log: 4 happened before 3.
    let times = [10, 20, 30, 50, 40, 60];
    let marks: Vec<MarkRow> = (0_u64..6)
        .zip(times)
        .flat_map(|(seq, at_ms)| {
            let odd = (seq % 2 == 1).then_some(MarkRow { mark: -7, at_ms, seq });
            let early = (seq < 2).then_some(MarkRow { mark: 3, at_ms, seq });
            [Some(MarkRow { mark: 1, at_ms, seq }), odd, early].into_iter().flatten()
        })
        .collect();
    store.commit(one(Write::AddMarks(marks.clone()))).await.unwrap();
    store.commit(one(Write::AddMarks(marks))).await.unwrap();
    let find = async |marks: &[i64], (since_ms, until_ms), before, rows_max| {
        let query = MarkQuery { marks: marks.to_vec(), since_ms, until_ms, before, rows_max };
        let page = store.marked(query).await.unwrap();
        (page.entries.iter().map(|row| row.seq).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(find(&[1], (0, 100), None, 9).await, (vec![5, 3, 4, 2, 1, 0], None));
    assert_eq!(find(&[1, -7], (0, 100), None, 9).await, (vec![5, 3, 1], None));
    assert_eq!(find(&[1, -7, 2], (0, 100), None, 9).await, (Vec::new(), None));
    assert_eq!(find(&[1, -7, 3], (0, 100), None, 9).await.0, [1], "of those with the rarest, who bears the others too");
    assert_eq!(find(&[1], (20, 50), None, 9).await.0, [4, 2, 1], "from 20 on, and before 50");
    let (first, next) = find(&[1], (0, 100), None, 2).await;
    assert_eq!(first, [5, 3]);
    assert_eq!(find(&[1], (0, 100), next, 2).await.0, [4, 2]);
    assert_eq!(find(&[], (0, 100), None, 9).await.0, [0; 0]);
    // Of two things that many entries say and only the oldest says both, so many are looked at for one page.
    let many = |mark, seqs: std::ops::Range<u64>| seqs.map(move |seq| MarkRow { mark, at_ms: 10 + seq, seq });
    let marks = many(5, 0..10_001).chain(many(6, 0..1)).chain(many(6, 20_000..30_000)).collect();
    store.commit(one(Write::AddMarks(marks))).await.unwrap();
    let (first, next) = find(&[5, 6], (0, u64::from(u32::MAX)), None, 9).await;
    assert_eq!((first, next), (Vec::new(), Some(Place { at_ms: 11, seq: 1 })));
    assert_eq!(find(&[5, 6], (0, u64::from(u32::MAX)), next, 9).await, (vec![0], None));
}
