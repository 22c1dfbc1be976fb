//! Who may decide, in whose place, who else after a time, in an emergency; and who may see what is decided.

use holdpoint_core::decision::Escalation;

use super::*;
use crate::delegations::{DelegationBody, DelegationError, Delegations, Person};
use crate::store::row::Approval;

fn group(group: &str, min: u32) -> ApproverGroup {
    ApproverGroup { group: group.to_owned(), min }
}

fn of(role: Role, subject: &str) -> Credential {
    Credential { role, ..person(subject, &[]) }
}

impl Desk {
    fn delegations(&self) -> Delegations {
        Delegations::new(Arc::clone(&self.bench.store), self.approvals.ledger.clone())
    }

    /// `from` lends all groups to `to` for a minute.
    async fn lend(&self, from: &Credential, to: &Credential) -> Result<(), DelegationError> {
        let until_ms = self.bench.store.now_ms().await.unwrap() + 60_000;
        let body = DelegationBody { to: to.person(), groups: None, until_ms, reason: "holiday".to_owned() };
        self.delegations().add(from, body, None).await.map(drop)
    }

    /// The person as the next request finds them: with what others have lent.
    async fn now(&self, person: &Credential) -> Credential {
        let lent = crate::delegations::lent_to(&*self.bench.store, &person.person()).await.unwrap();
        Credential { lent, ..person.clone() }
    }

    async fn row(&self, id: &str) -> Approval {
        self.bench.store.approval(id).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn delegate_decides_in_the_lenders_place_until_the_date_and_no_further() {
    let desk = desk().await;
    let (alice, dora, eve) = (person("alice", &["sre"]), person("dora", &[]), person("eve", &[]));
    desk.lend(&alice, &dora).await.unwrap();
    let opened = desk.open(1, "x").await.unwrap();
    assert!(matches!(
        desk.review(&opened.id, &dora, ReviewVerdict::Approve).await,
        Err(ReviewError::NotInGroup { .. })
    ));
    let dora = desk.now(&dora).await;
    assert!(matches!(desk.lend(&dora, &eve).await, Err(DelegationError::NoGroups)), "what is lent is not lent on");
    let state = desk.review(&opened.id, &dora, ReviewVerdict::Approve).await.unwrap();
    assert_eq!(state.status, ApprovalStatus::Approved);
    let said = desk.entries().await.into_iter().find(|entry| entry.kind == EntryKind::Review).unwrap();
    assert_eq!(said.by.as_deref(), Some("local dora"));
    assert_eq!(said.detail.as_deref(), Some("for group `sre`, in the place of local alice: because"));
    desk.bench.advance(60_000);
    assert_eq!(desk.now(&dora).await.lent, [], "the date has come");
}

#[tokio::test]
async fn lent_authority_counts_once_and_never_for_the_lenders_own_call() {
    let desk = desk().await;
    let (alice, dora) = (person("alice", &["sre"]), person("dora", &[]));
    desk.lend(&alice, &dora).await.unwrap();
    let dora = desk.now(&dora).await;
    let mut asking = asked(1, "x", "basis");
    asking.requirement.all_of = vec![group("sre", 2)];
    let opened = desk.approvals.open(asking).await.unwrap();
    desk.review(&opened.id, &dora, ReviewVerdict::Approve).await.unwrap();
    let twice = desk.review(&opened.id, &alice, ReviewVerdict::Approve).await;
    assert!(matches!(twice, Err(ReviewError::DelegateReviewed)), "{twice:?}");
    assert_eq!(desk.status(&opened.id).await, ApprovalStatus::Pending);

    // Nor the other way round: who has spoken has no second say by somebody else.
    let mut asking = asked(3, "z", "basis");
    asking.requirement.all_of = vec![group("sre", 2)];
    let other = desk.approvals.open(asking).await.unwrap();
    desk.review(&other.id, &alice, ReviewVerdict::Approve).await.unwrap();
    let again = desk.review(&other.id, &dora, ReviewVerdict::Approve).await;
    assert!(matches!(again, Err(ReviewError::NotInGroup { .. })), "{again:?}");
    assert_eq!(desk.status(&other.id).await, ApprovalStatus::Pending);

    // `bob` asked for the call himself and has lent his group to carol.
    let (bob, carol) = (person("bob", &["sre"]), person("carol", &[]));
    desk.lend(&bob, &carol).await.unwrap();
    let own = desk.open(2, "y").await.unwrap();
    let refused = desk.review(&own.id, &desk.now(&carol).await, ReviewVerdict::Approve).await;
    assert!(matches!(refused, Err(ReviewError::NotInGroup { .. })), "{refused:?}");
}

#[tokio::test]
async fn lent_authority_stays_within_the_lenders_tenant() {
    let desk = desk().await;
    let dora = person("dora", &[]);
    let alice = Credential { tenant: Some("acme".to_owned()), ..person("alice", &["sre"]) };
    desk.lend(&alice, &dora).await.unwrap();
    let opened = desk.open(1, "x").await.unwrap();
    let dora = desk.now(&dora).await;
    assert_eq!(dora.lent.len(), 1);
    let refused = desk.review(&opened.id, &dora, ReviewVerdict::Approve).await;
    assert!(matches!(refused, Err(ReviewError::NotInGroup { .. })), "{refused:?}");
    let view = desk.approvals.view(&opened.id, &dora).await.unwrap().unwrap();
    assert_eq!(view.call_text, "", "what it does not let decide, it does not let read");
    let stranger = Credential { tenant: Some("other".to_owned()), ..of(Role::Admin, "root") };
    assert_eq!(desk.delegations().list(&stranger).await.unwrap(), []);
}

#[tokio::test]
async fn delegation_is_ended_by_who_lent_it_or_an_administrator_alone() {
    let desk = desk().await;
    let (alice, dora) = (person("alice", &["sre"]), person("dora", &[]));
    let lend = |groups: Option<BTreeSet<String>>, until_ms, to: Person| {
        let body = DelegationBody { to, groups, until_ms, reason: "holiday".to_owned() };
        let delegations = desk.delegations();
        let alice = alice.clone();
        async move { delegations.add(&alice, body, None).await }
    };
    let soon = contract::START_MS + 1_000;
    let of_dev = Some(BTreeSet::from(["dev".to_owned()]));
    assert!(matches!(lend(of_dev, soon, dora.person()).await, Err(DelegationError::NotYourGroup(_))));
    assert!(matches!(lend(None, contract::START_MS, dora.person()).await, Err(DelegationError::Until)));
    assert!(matches!(lend(None, soon + 91 * 86_400_000, dora.person()).await, Err(DelegationError::Until)));
    assert!(matches!(lend(None, soon, alice.person()).await, Err(DelegationError::To)));
    let lent = lend(None, soon, dora.person()).await.unwrap();
    let others = desk.delegations();
    assert!(matches!(others.end(&dora, &lent.id, None).await, Err(DelegationError::NotFound(_))));
    others.end(&of(Role::Admin, "root"), &lent.id, None).await.unwrap();
    assert_eq!(desk.now(&dora).await.lent, []);
    let told: Vec<_> =
        desk.entries().await.into_iter().filter(|entry| entry.kind == EntryKind::DelegationChanged).collect();
    assert_eq!(told.iter().map(|entry| entry.status.as_deref()).collect::<Vec<_>>(), [Some("lent"), Some("ended")]);
}

#[tokio::test]
async fn request_escalates_to_further_people_and_the_first_may_still_decide() {
    let desk = desk().await;
    let escalating = |hold: u128, call: &str| {
        let mut asking = asked(hold, call, "basis");
        asking.requirement.escalation = Some(Escalation { after_ms: 4_000, all_of: vec![group("oncall", 1)] });
        asking
    };
    let first = desk.approvals.open(escalating(1, "x")).await.unwrap();
    let second = desk.approvals.open(escalating(2, "y")).await.unwrap();
    let oncall = person("otto", &["oncall"]);
    let early = desk.review(&first.id, &oncall, ReviewVerdict::Approve).await;
    assert!(matches!(early, Err(ReviewError::NotInGroup { .. })), "{early:?}");
    desk.bench.advance(4_000);
    desk.approvals.sweep().await.unwrap();
    desk.approvals.sweep().await.unwrap();
    let kinds = desk.kinds().await;
    assert_eq!(kinds.iter().filter(|kind| **kind == EntryKind::ApprovalEscalated).count(), 2, "each is said once");
    let view = desk.approvals.view(&first.id, &oncall).await.unwrap().unwrap();
    assert_eq!(view.or_needed, Some(vec![group("oncall", 1)]));
    assert_eq!(desk.review(&first.id, &oncall, ReviewVerdict::Approve).await.unwrap().status, ApprovalStatus::Approved);
    assert_eq!(desk.approve(&second.id).await.status, ApprovalStatus::Approved);
}

#[tokio::test]
async fn broken_glass_is_one_person_with_a_reason_and_never_the_requester() {
    let desk = desk().await;
    let mut asking = asked(1, "x", "basis");
    asking.requirement.all_of = vec![group("sre", 2), group("security", 1)];
    let opened = desk.approvals.open(asking).await.unwrap();
    let own = desk.review(&opened.id, &of(Role::BreakGlass, "bob"), ReviewVerdict::Approve).await;
    assert!(matches!(own, Err(ReviewError::OwnCall(_))));
    let zoe = of(Role::BreakGlass, "zoe");
    let silent = ReviewBody {
        verdict: ReviewVerdict::Approve,
        call_digest: Some(opened.call_digest),
        reason: None,
        scope: None,
    };
    let answer = desk.approvals.review(&opened.id, &zoe, &silent, None).await;
    assert!(matches!(answer, Err(ReviewError::BreakGlassReason)));
    let state = desk.review(&opened.id, &zoe, ReviewVerdict::Approve).await.unwrap();
    assert_eq!(state.status, ApprovalStatus::Approved);
    let said = desk.entries().await.into_iter().find(|entry| entry.kind == EntryKind::Review).unwrap();
    assert_eq!(said.detail.as_deref(), Some("broke the glass: because"));
    desk.claim(&opened.id, 1, 9, "basis").await.unwrap();
}

#[tokio::test]
async fn arguments_are_seen_by_deciders_requester_and_auditors_of_the_tenant_alone() {
    let desk = desk().await;
    let mut asking = asked(1, "x", "basis");
    asking.principal.tenant = Some("acme".to_owned());
    asking.call_text = asking.call_text.replace("\"tenant\":null", "\"tenant\":\"acme\"");
    asking.call_digest = Digest::tagged(holdpoint_core::approval::CALL_DIGEST_TAG, asking.call_text.as_bytes());
    let opened = desk.approvals.open(asking).await.unwrap();
    let tenant = |name: &str, one: Credential| Credential { tenant: Some(name.to_owned()), ..one };
    let cases = [
        (person("alice", &["sre"]), Some(true)),
        (person("bob", &[]), Some(true)),
        (person("carol", &["dev"]), Some(false)),
        (of(Role::BreakGlass, "zoe"), Some(true)),
        (of(Role::Auditor, "audit"), Some(true)),
        (tenant("acme", of(Role::Auditor, "audit")), Some(true)),
        (tenant("other", of(Role::Auditor, "audit")), None),
        (tenant("other", person("alice", &["sre"])), None),
        (of(Role::Admin, "root"), Some(false)),
    ];
    for (reader, expected) in cases {
        let view = desk.approvals.view(&opened.id, &reader).await.unwrap();
        let seen = view.as_ref().map(|view| !view.call_text.is_empty());
        assert_eq!(seen, expected, "{reader:?}");
        assert!(view.is_none_or(|view| view.arguments_withheld.is_some() == view.call_text.is_empty()));
    }
    let stranger = tenant("other", person("alice", &["sre"]));
    let decided = desk.review(&opened.id, &stranger, ReviewVerdict::Approve).await;
    assert!(matches!(decided, Err(ReviewError::NotFound(_))), "another tenant's approval is not there");
}

#[tokio::test]
async fn arguments_are_erased_after_their_time_and_the_record_still_verifies() {
    let desk = desk().await;
    let opened = desk.open(1, "x").await.unwrap();
    let waiting = desk.open(2, "y").await.unwrap();
    desk.review(&opened.id, &person("alice", &["sre"]), ReviewVerdict::Deny).await.unwrap();
    desk.bench.advance(LIMITS.arguments_keep_ms - 1);
    assert_eq!(desk.approvals.erase().await.unwrap(), 0);
    desk.bench.advance(1);
    assert_eq!(desk.approvals.erase().await.unwrap(), 1);
    assert_eq!(desk.approvals.erase().await.unwrap(), 0);
    let row = desk.row(&opened.id).await;
    assert_eq!((row.asked.call_text.as_str(), row.asked.call_digest), ("", opened.call_digest));
    assert!(!desk.row(&waiting.id).await.asked.call_text.is_empty());
    let view = desk.approvals.view(&opened.id, &person("alice", &["sre"])).await.unwrap().unwrap();
    assert_eq!(view.arguments_withheld.as_deref(), Some("the arguments were erased after their time"));
    let signer = ServiceSigner::load_or_create(&desk.bench.dir).unwrap();
    let verified =
        crate::ledger::verify::verify(&*desk.bench.store, &signer.public_keys(), Vec::new(), |_, _| {}).await.unwrap();
    assert_eq!(verified.findings, [""; 0]);
}
