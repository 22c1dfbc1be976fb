//! Whatever is done in whatever order, approvals stand where a model of the state machine says.

use std::collections::BTreeMap;

use holdpoint_core::approval::ApprovalStatus::{self, Approved, Consumed, Denied, Expired, Pending};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::ReviewVerdict::{Approve, Deny};
use super::revoke::RevokeBody;
use super::tests::{Desk, desk, person};
use crate::keys::ServiceSigner;
use crate::ledger::verify::verify;

mod authority;

/// Something that somebody does. Holds are numbered, and all ask for the same call.
#[derive(Clone, Debug)]
enum Step {
    Open { hold: u8, edited: bool },
    Approve { nth: u8 },
    Deny { nth: u8 },
    Claim { nth: u8, hold: u8, edited: bool },
    Withdraw { hold: u8, rejoin: bool },
    Revoke { nth: u8 },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (nth, hold) = (0..4_u8, 0..6_u8);
    prop_oneof![
        4 => (hold.clone(), prop::bool::weighted(0.1)).prop_map(|(hold, edited)| Step::Open { hold, edited }),
        3 => nth.clone().prop_map(|nth| Step::Approve { nth }),
        1 => nth.clone().prop_map(|nth| Step::Deny { nth }),
        4 => (nth.clone(), hold.clone(), prop::bool::weighted(0.1))
            .prop_map(|(nth, hold, edited)| Step::Claim { nth, hold, edited }),
        1 => (hold, any::<bool>()).prop_map(|(hold, rejoin)| Step::Withdraw { hold, rejoin }),
        1 => nth.prop_map(|nth| Step::Revoke { nth }),
        1 => (1..6_000_u64).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// What must be true of the past, whatever the service says.
#[derive(Default)]
struct Model {
    /// Approvals in the order they were opened, and where each was seen last.
    seen: Vec<(String, ApprovalStatus)>,
    /// Which hold used which approval.
    used: BTreeMap<String, u8>,
    withdrawn: Vec<u8>,
}

impl Model {
    fn nth(&self, nth: u8) -> Option<String> {
        self.seen.iter().rev().nth(usize::from(nth)).map(|(id, _)| id.clone())
    }

    /// Every change seen since the last look must be a path through the state machine.
    async fn look(&mut self, desk: &Desk) {
        for (id, last) in &mut self.seen {
            let now = desk.status(id).await;
            let reachable = *last == now || last.may_become(now) || (*last == Pending && Approved.may_become(now));
            assert!(reachable, "{id} went from {last} to {now}");
            *last = now;
        }
        let open = self.seen.iter().filter(|(_, status)| status.is_open()).count();
        assert!(open <= 2, "one open approval per basis, and there are two bases: {:?}", self.seen);
        for (id, status) in &self.seen {
            assert_eq!(*status == Consumed, self.used.contains_key(id), "{id} is {status}");
        }
    }
}

fn basis(edited: bool) -> &'static str {
    if edited { "edited" } else { "basis" }
}

async fn take(desk: &Desk, model: &mut Model, step: &Step) {
    match step {
        Step::Open { hold, edited } => {
            let asked = crate::store::contract::asked(u128::from(*hold), "x", basis(*edited));
            match desk.approvals.open(asked).await {
                Ok(state) => {
                    assert!(!model.withdrawn.contains(hold), "a withdrawn hold came back");
                    if model.seen.iter().all(|(id, _)| *id != state.id) {
                        assert_eq!(state.status, Pending, "everything begins pending");
                        model.seen.push((state.id, state.status));
                    }
                }
                Err(error) => assert!(model.withdrawn.contains(hold), "{error}"),
            }
        }
        Step::Approve { nth } | Step::Deny { nth } => {
            let Some(id) = model.nth(*nth) else { return };
            let verdict = if matches!(step, Step::Approve { .. }) { Approve } else { Deny };
            let before = desk.status(&id).await;
            let answer = desk.review(&id, &person("alice", &["sre"]), verdict).await;
            assert!(answer.is_err() || before == Pending, "reviewed when {before}");
            if let Ok(state) = answer {
                assert_eq!(state.status, if verdict == Approve { Approved } else { Denied });
            }
        }
        Step::Claim { nth, hold, edited } => {
            let Some(id) = model.nth(*nth) else { return };
            let before = desk.status(&id).await;
            if desk.claim(&id, u128::from(*hold), u128::from(*hold), basis(*edited)).await.is_ok() {
                assert!(!model.withdrawn.contains(hold), "a withdrawn hold ran");
                assert!(matches!(before, Approved | Consumed), "claimed when {before}");
                let user = *model.used.entry(id.clone()).or_insert(*hold);
                assert_eq!(user, *hold, "two holds used {id}");
            }
        }
        Step::Withdraw { hold, rejoin } => {
            desk.withdraw(u128::from(*hold), rejoin.then_some(1_000)).await;
            model.withdrawn.push(*hold);
        }
        Step::Revoke { nth } => {
            let Some(id) = model.nth(*nth) else { return };
            let before = desk.status(&id).await;
            let answer = desk.approvals.revoke(&id, &person("carol", &[]), &RevokeBody::default(), None, None).await;
            assert_eq!(answer.is_ok(), before == Approved);
        }
        Step::Pass { ms } => {
            desk.bench.advance(*ms);
            desk.approvals.sweep().await.unwrap();
            for (id, _) in &model.seen {
                let state = desk.bench.store.state(id).await.unwrap().unwrap();
                let now_ms = desk.bench.store.now_ms().await.unwrap();
                assert!(!state.status.is_open() || state.expires_at_ms > now_ms, "{id} is overdue");
            }
        }
    }
    model.look(desk).await;
}

#[tokio::test]
async fn any_order_of_steps_is_a_path_through_the_state_machine() {
    // The same walks each time, so that what they reach below is a fact and not luck.
    let mut runner = TestRunner::deterministic();
    let mut ends = BTreeMap::new();
    for _ in 0..96 {
        let steps = prop::collection::vec(step(), 1..40).new_tree(&mut runner).unwrap().current();
        let (desk, mut model) = (desk().await, Model::default());
        for step in &steps {
            take(&desk, &mut model, step).await;
        }
        let signer = ServiceSigner::load_or_create(&desk.bench.dir).unwrap();
        let verified = verify(&*desk.bench.store, &signer.public_keys(), Vec::new(), |_, _| {}).await.unwrap();
        assert_eq!(verified.findings, [""; 0], "after {steps:?}");
        for (_, status) in model.seen {
            *ends.entry(status).or_insert(0) += 1;
        }
    }
    // Walks that never get anywhere would prove nothing.
    for end in [Consumed, Denied, Expired] {
        assert!(ends.contains_key(&end), "no walk ended {end}: {ends:?}");
    }
}
