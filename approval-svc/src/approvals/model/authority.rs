//! The same for everything that reaches beyond one person and one call: a model that says beforehand how each step ends.
//!
//! The model knows the rules and not the code. After every step all approvals and grants must stand where it says, and at
//! the end every edge of the state machine must have been taken.

use std::collections::BTreeSet;

use holdpoint_core::approval::ApprovalStatus::{
    self, Approved, Consumed, Denied, Expired, Lapsed, Pending, Revoked, Superseded, Withdrawn,
};
use holdpoint_core::approval::OpenApproval;
use holdpoint_core::decision::{ApproverGroup, Escalation, GrantLimits};
use holdpoint_core::freeze::FreezeScope;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::ReviewVerdict::{Approve, Deny};
use super::super::grant::Scope;
use super::super::review::ReviewBody;
use super::super::revoke::RevokeBody;
use super::super::tests::{Desk, LIMITS, desk, person};
use crate::delegations::{self, DelegationBody, Delegations};
use crate::freezes::{FreezeBody, Freezes};
use crate::store::contract;
use crate::tokens::Credential;

const DECIDE_MS: u64 = 10_000;
const CLAIM_MS: u64 = 5_000;
const ESCALATE_MS: u64 = 3_000;
const REJOIN_MS: u64 = 1_000;
const GRANT_MS_MAX: u64 = 20_000;
const CALLS: u8 = 3;

/// Who reviews: one of the group, one of the group it escalates to, and one to whom the first may have lent.
#[derive(Clone, Copy, Debug)]
enum Who {
    Alice,
    Mia,
    Dave,
}

#[derive(Clone, Debug)]
enum Step {
    Open {
        call: u8,
    },
    /// The same live call under rules that have changed.
    Reopen {
        nth: u8,
    },
    Approve {
        nth: u8,
        who: Who,
        scope: Option<(u32, u64)>,
    },
    Deny {
        nth: u8,
        who: Who,
    },
    Claim {
        nth: u8,
        edited: bool,
    },
    /// Everybody who waits leaves.
    Leave {
        nth: u8,
    },
    Revoke {
        nth: u8,
    },
    RevokeGrant {
        nth: u8,
    },
    Lend {
        ms: u64,
    },
    EndLending,
    Freeze,
    Lift,
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let nth = || 0..3_u8;
    let who = || prop_oneof![3 => Just(Who::Alice), 2 => Just(Who::Mia), 2 => Just(Who::Dave)];
    let scope = prop::option::weighted(0.5, (2..4_u32, 1_000..GRANT_MS_MAX));
    prop_oneof![
        8 => (0..CALLS).prop_map(|call| Step::Open { call }),
        2 => nth().prop_map(|nth| Step::Reopen { nth }),
        6 => (nth(), who(), scope).prop_map(|(nth, who, scope)| Step::Approve { nth, who, scope }),
        1 => (nth(), who()).prop_map(|(nth, who)| Step::Deny { nth, who }),
        5 => (nth(), prop::bool::weighted(0.15)).prop_map(|(nth, edited)| Step::Claim { nth, edited }),
        1 => nth().prop_map(|nth| Step::Leave { nth }),
        1 => nth().prop_map(|nth| Step::Revoke { nth }),
        1 => nth().prop_map(|nth| Step::RevokeGrant { nth }),
        2 => (1..8_000_u64).prop_map(|ms| Step::Lend { ms }),
        1 => Just(Step::EndLending),
        1 => Just(Step::Freeze),
        2 => Just(Step::Lift),
        3 => (1..5_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// One approval as it must stand.
#[derive(Debug)]
struct Item {
    id: String,
    call: u8,
    basis: &'static str,
    status: ApprovalStatus,
    expires_at_ms: u64,
    escalates_at_ms: u64,
    rejoin_by_ms: Option<u64>,
    /// Live, and without a claim.
    holds: Vec<u128>,
}

/// One grant as it must stand.
#[derive(Debug)]
struct Reach {
    id: String,
    of: String,
    call: u8,
    basis: &'static str,
    uses_left: u32,
    until_ms: u64,
    is_revoked: bool,
}

/// The service, and where everything in it must stand.
struct World {
    desk: Desk,
    delegations: Delegations,
    freezes: Freezes,
    items: Vec<Item>,
    grants: Vec<Reach>,
    lent_until_ms: Vec<(String, u64)>,
    frozen: Option<String>,
    holds: u128,
    edges: BTreeSet<(ApprovalStatus, ApprovalStatus)>,
    seen: BTreeSet<&'static str>,
}

impl World {
    async fn new() -> Self {
        let desk = desk().await;
        let (store, ledger) = (desk.approvals.store.clone(), desk.approvals.ledger.clone());
        let freezes = Freezes::new(store.clone(), ledger.clone(), desk.approvals.signer.clone());
        Self {
            delegations: Delegations::new(store, ledger),
            freezes,
            desk,
            items: Vec::new(),
            grants: Vec::new(),
            lent_until_ms: Vec::new(),
            frozen: None,
            holds: 0,
            edges: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    async fn now_ms(&self) -> u64 {
        self.desk.bench.store.now_ms().await.unwrap()
    }

    fn nth(&self, nth: u8) -> Option<usize> {
        self.items.len().checked_sub(usize::from(nth) + 1)
    }

    fn become_(&mut self, at: usize, to: ApprovalStatus) {
        let from = std::mem::replace(&mut self.items[at].status, to);
        self.edges.insert((from, to));
    }

    /// Closes it if its clock has run out; whether it did.
    fn is_overdue(&mut self, at: usize, now_ms: u64) -> bool {
        let item = &self.items[at];
        if !item.status.is_open() || item.expires_at_ms > now_ms {
            return false;
        }
        self.become_(at, if item.status == Pending { Expired } else { Lapsed });
        true
    }

    fn is_lent(&self, now_ms: u64) -> bool {
        self.lent_until_ms.iter().any(|(_, until_ms)| *until_ms > now_ms)
    }

    /// The first grant that a call would run under.
    fn grant_for(&self, call: u8, basis: &str, now_ms: u64) -> Option<usize> {
        let covers = |grant: &Reach| {
            (grant.call, grant.basis) == (call, basis)
                && grant.uses_left > 0
                && grant.until_ms > now_ms
                && !grant.is_revoked
        };
        self.grants.iter().position(covers)
    }

    async fn open(&mut self, hold: u128, call: u8, basis: &'static str, replaces: Option<usize>) {
        let now_ms = self.now_ms().await;
        let answer = self.desk.approvals.open(asked(hold, call, basis)).await;
        if self.frozen.is_some() {
            assert!(answer.unwrap_err().to_string().contains("stopped"));
            self.seen.insert("frozen when opened");
            return;
        }
        let open = |item: &Item| (item.call, item.basis) == (call, basis) && item.status.is_open();
        if let Some(at) = self.items.iter().position(open)
            && !self.is_overdue(at, now_ms)
        {
            self.seen.insert("joined");
            let state = answer.unwrap();
            let item = &mut self.items[at];
            assert_eq!((&state.id, state.status), (&item.id, item.status), "an identical call joins");
            item.holds.push(hold);
            item.rejoin_by_ms = None;
        } else {
            let grant = self.grant_for(call, basis, now_ms);
            let others = self.items.iter().enumerate().filter(|(at, _)| replaces != Some(*at));
            let pending = others.filter(|(_, item)| item.status == Pending).count();
            if grant.is_none() && pending as u64 >= LIMITS.pending_per_principal_max {
                assert!(answer.unwrap_err().to_string().contains("pending approvals"));
                self.seen.insert("too many pending");
                return;
            }
            let state = answer.unwrap();
            if let Some(at) = replaces {
                self.become_(at, Superseded);
            }
            if let Some(at) = grant {
                self.seen.insert("ran under a grant");
                self.grants[at].uses_left -= 1;
                if self.grants[at].uses_left == 0 {
                    self.seen.insert("grant used up");
                }
            }
            let status = if grant.is_some() { Approved } else { Pending };
            assert_eq!(state.status, status, "opened");
            self.items.push(Item {
                id: state.id,
                call,
                basis,
                status,
                expires_at_ms: now_ms + if grant.is_some() { CLAIM_MS } else { DECIDE_MS },
                escalates_at_ms: now_ms + ESCALATE_MS,
                rejoin_by_ms: None,
                holds: vec![hold],
            });
        }
        if let Some(at) = replaces {
            self.items[at].holds.retain(|other| *other != hold);
        }
    }

    async fn review(&mut self, at: usize, who: Who, verdict: super::super::ReviewVerdict, scope: Option<(u32, u64)>) {
        let now_ms = self.now_ms().await;
        let was = self.items[at].status;
        let is_over = was == Pending && self.is_overdue(at, now_ms);
        let is_asked = match who {
            Who::Alice => true,
            Who::Mia => self.items[at].escalates_at_ms <= now_ms,
            Who::Dave => self.is_lent(now_ms),
        };
        let state = self.desk.bench.store.state(&self.items[at].id).await.unwrap().unwrap();
        let scope = scope.map(|(uses, within_ms)| Scope { uses, within_ms, arguments: Default::default() });
        let body = ReviewBody {
            verdict,
            call_digest: Some(state.call_digest),
            reason: Some("because".to_owned()),
            scope: scope.clone(),
        };
        let reviewer = self.reviewer(who).await;
        let answer = self.desk.approvals.review(&self.items[at].id, &reviewer, &body, None).await;
        let counts = was == Pending && !is_over && is_asked;
        assert_eq!(answer.is_ok(), counts, "{who:?} says {verdict:?} when {was}: {answer:?}");
        match (counts, who) {
            (true, Who::Mia) => self.seen.insert("decided by whom it escalated to"),
            (false, Who::Mia) if was == Pending && !is_over => self.seen.insert("escalated too late for them"),
            (true, Who::Dave) => self.seen.insert("decided by lent authority"),
            (false, Who::Dave) if was == Pending && !is_over => self.seen.insert("nothing was lent"),
            _ => false,
        };
        if !counts {
            return;
        }
        self.become_(at, if verdict == Approve { Approved } else { Denied });
        self.items[at].expires_at_ms = now_ms + CLAIM_MS;
        if let Some(scope) = scope.filter(|_| verdict == Approve) {
            let item = &self.items[at];
            let all = self.desk.bench.store.grants(now_ms, None).await.unwrap();
            let grant = all.into_iter().find(|grant| grant.approval_id == item.id).expect("a grant beside it");
            self.grants.push(Reach {
                id: grant.id,
                of: item.id.clone(),
                call: item.call,
                basis: item.basis,
                uses_left: scope.uses - 1,
                until_ms: now_ms + scope.within_ms,
                is_revoked: false,
            });
        }
    }

    async fn reviewer(&self, who: Who) -> Credential {
        let mut reviewer = match who {
            Who::Alice => person("alice", &["sre"]),
            Who::Mia => person("mia", &["managers"]),
            Who::Dave => person("dave", &[]),
        };
        reviewer.lent = delegations::lent_to(&*self.desk.bench.store, &reviewer.person()).await.unwrap();
        reviewer
    }

    async fn claim(&mut self, at: usize, edited: bool) {
        let Some(hold) = self.items[at].holds.last().copied() else { return };
        let now_ms = self.now_ms().await;
        let (id, own) = (self.items[at].id.clone(), self.items[at].basis);
        let basis = if edited { "another" } else { own };
        let answer = self.desk.claim(&id, hold, hold, basis).await;
        let is_over = self.is_overdue(at, now_ms);
        let may = self.items[at].status == Approved && !is_over;
        if may && self.frozen.is_some() {
            self.seen.insert("frozen when claimed");
        }
        let may = may && self.frozen.is_none();
        assert_eq!(answer.is_ok(), may && !edited, "{answer:?}");
        if may {
            self.become_(at, if edited { Superseded } else { Consumed });
        }
        if may && !edited {
            self.items[at].holds.pop();
        }
    }

    async fn take(&mut self, step: &Step) {
        let now_ms = self.now_ms().await;
        match step {
            Step::Open { call } => {
                self.holds += 1;
                self.open(self.holds, *call, "basis", None).await;
            }
            Step::Reopen { nth } => {
                let Some(at) = self.nth(*nth).filter(|at| {
                    let item = &self.items[*at];
                    item.status.is_open() && item.basis == "basis" && item.holds.len() == 1
                }) else {
                    return;
                };
                let (hold, call) = (self.items[at].holds[0], self.items[at].call);
                self.open(hold, call, "edited", Some(at)).await;
            }
            Step::Approve { nth, who, scope } => {
                if let Some(at) = self.nth(*nth) {
                    self.review(at, *who, Approve, *scope).await;
                }
            }
            Step::Deny { nth, who } => {
                if let Some(at) = self.nth(*nth) {
                    self.review(at, *who, Deny, None).await;
                }
            }
            Step::Claim { nth, edited } => {
                if let Some(at) = self.nth(*nth) {
                    self.claim(at, *edited).await;
                }
            }
            Step::Leave { nth } => {
                let Some(at) = self.nth(*nth) else { return };
                let left = std::mem::take(&mut self.items[at].holds);
                for hold in &left {
                    self.desk.withdraw(*hold, Some(REJOIN_MS)).await;
                }
                if self.items[at].status == Pending && !left.is_empty() {
                    self.items[at].rejoin_by_ms = Some(now_ms + REJOIN_MS);
                }
            }
            Step::Revoke { nth } => {
                let Some(at) = self.nth(*nth) else { return };
                let (id, was) = (self.items[at].id.clone(), self.items[at].status);
                let answer =
                    self.desk.approvals.revoke(&id, &person("carol", &[]), &RevokeBody::default(), None, None).await;
                assert_eq!(answer.is_ok(), was == Approved);
                if was == Approved {
                    self.become_(at, Revoked);
                    let own = |grant: &&mut Reach| grant.of == id && grant.until_ms > now_ms && grant.uses_left > 0;
                    for grant in self.grants.iter_mut().filter(own) {
                        grant.is_revoked = true;
                        self.seen.insert("grant revoked with its approval");
                    }
                }
            }
            Step::RevokeGrant { nth } => {
                let Some(at) = self.grants.len().checked_sub(usize::from(*nth) + 1) else { return };
                let grant = &mut self.grants[at];
                let in_force = grant.uses_left > 0 && grant.until_ms > now_ms && !grant.is_revoked;
                let answer = self.desk.approvals.revoke_grant(&grant.id, &person("carol", &[]), None, None).await;
                assert_eq!(answer.is_ok(), in_force, "{grant:?}");
                grant.is_revoked |= in_force;
                self.seen.insert(if in_force { "grant revoked" } else { "grant was over" });
            }
            Step::Lend { ms } => {
                let body = DelegationBody {
                    to: person("dave", &[]).person(),
                    groups: None,
                    until_ms: now_ms + ms,
                    reason: "away".to_owned(),
                };
                let lent = self.delegations.add(&person("alice", &["sre"]), body, None).await.unwrap();
                self.lent_until_ms.push((lent.id, lent.until_ms));
            }
            Step::EndLending => {
                let in_force = self.lent_until_ms.iter().position(|(_, until_ms)| *until_ms > now_ms);
                let Some(at) = in_force else { return };
                let (id, _) = self.lent_until_ms.remove(at);
                self.delegations.end(&person("alice", &["sre"]), &id, None).await.unwrap();
                self.seen.insert("lending ended");
            }
            Step::Freeze => {
                if self.frozen.is_none() {
                    let scope = FreezeScope { tool: Some("create_issue".to_owned()), ..FreezeScope::default() };
                    let body = FreezeBody { scope, reason: "incident".to_owned() };
                    self.frozen = Some(self.freezes.add(&person("root", &[]), body, None).await.unwrap().id);
                }
            }
            Step::Lift => {
                if let Some(id) = self.frozen.take() {
                    self.freezes.lift(&person("root", &[]), &id, None, None).await.unwrap();
                }
            }
            Step::Pass { ms } => {
                self.desk.bench.advance(*ms);
                self.desk.approvals.sweep().await.unwrap();
                let now_ms = self.now_ms().await;
                for at in 0..self.items.len() {
                    let is_left = self.items[at].rejoin_by_ms.is_some_and(|by_ms| by_ms <= now_ms);
                    if !self.is_overdue(at, now_ms) && self.items[at].status == Pending && is_left {
                        self.become_(at, Withdrawn);
                    }
                }
            }
        }
    }

    /// Everything stands where the model says.
    async fn look(&self, steps: &[Step]) {
        for item in &self.items {
            assert_eq!(self.desk.status(&item.id).await, item.status, "{item:?} after {steps:?}");
        }
        let now_ms = self.now_ms().await;
        let stands = self.desk.bench.store.grants(now_ms, None).await.unwrap();
        let stands: BTreeSet<(String, u32)> = stands.into_iter().map(|grant| (grant.id, grant.uses_left)).collect();
        let must = self.grants.iter().filter(|one| one.uses_left > 0 && one.until_ms > now_ms && !one.is_revoked);
        assert_eq!(stands, must.map(|one| (one.id.clone(), one.uses_left)).collect(), "after {steps:?}");
    }
}

fn asked(hold: u128, call: u8, basis: &str) -> OpenApproval {
    let mut asked = contract::asked(hold, &call.to_string(), basis);
    asked.requirement.decide_within_ms = DECIDE_MS;
    asked.requirement.claim_within_ms = CLAIM_MS;
    let managers = ApproverGroup { group: "managers".to_owned(), min: 1 };
    asked.requirement.escalation = Some(Escalation { after_ms: ESCALATE_MS, all_of: vec![managers] });
    asked.requirement.grants = Some(GrantLimits { uses_max: 3, within_ms_max: GRANT_MS_MAX });
    asked
}

#[tokio::test]
async fn grants_delegations_escalation_freezes_and_clocks_do_what_the_model_says_in_any_order() {
    let mut runner = TestRunner::deterministic();
    let (mut edges, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..120 {
        let steps = prop::collection::vec(step(), 10..60).new_tree(&mut runner).unwrap().current();
        let mut world = World::new().await;
        for (at, step) in steps.iter().enumerate() {
            world.take(step).await;
            world.look(&steps[..=at]).await;
        }
        edges.extend(world.edges);
        seen.extend(world.seen);
    }
    let all = [Pending, Approved, Denied, Expired, Withdrawn, Superseded, Consumed, Lapsed, Revoked];
    let possible = all.iter().flat_map(|from| all.map(|to| (*from, to))).filter(|(from, to)| from.may_become(*to));
    assert_eq!(edges, possible.collect(), "every edge was taken, and no other");
    let told = [
        "decided by lent authority",
        "decided by whom it escalated to",
        "escalated too late for them",
        "frozen when claimed",
        "frozen when opened",
        "grant revoked",
        "grant revoked with its approval",
        "grant used up",
        "grant was over",
        "joined",
        "lending ended",
        "nothing was lent",
        "ran under a grant",
        "too many pending",
    ];
    assert_eq!(seen, told.into());
}
