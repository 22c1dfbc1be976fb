//! What filter and service say to each other, as this version writes it: kept, so that a later one still reads it.
//!
//! `v1.json` holds one example of each message with every member that it can have. Members may be added to it; a change or
//! a removal is another wire version, and breaks gateways that are upgraded after their service.

use std::fmt::Debug;

use super::*;
use crate::approval::{ApprovalState, CancelHolds, Claim, ClaimRequest, OpenApproval, SignedClaim, WithdrawHold};
use crate::audit::EntryBatch;
use crate::candidate::CandidateReport;
use crate::fleet::{EndLeases, LeasesTaken, RenewLeases, SignedLeases, TakeLeases};
use crate::freeze::{FreezeList, SignedFreezes};
use crate::in_force::PolicyReport;
use crate::inventory::ObservationBatch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const KEPT: &str = include_str!("v1.json");

fn kept(name: &str) -> Value {
    let all: Value = serde_json::from_str(KEPT).expect("JSON");
    all.get(name).cloned().unwrap_or_else(|| panic!("no `{name}`"))
}

/// Every way to put a member that no version knows into one of the objects of `value`.
fn with_a_stranger(value: &Value) -> Vec<(String, Value)> {
    fn places(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.push(at.to_owned());
                members.iter().for_each(|(name, one)| places(one, &format!("{at}/{}", name.replace('/', "~1")), found));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(index, one)| places(one, &format!("{at}/{index}"), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    places(value, "", &mut found);
    let with = |at: &String| {
        let mut changed = value.clone();
        changed.pointer_mut(at).expect("a place")["stranger"] = json!({"of": ["a", "later", "version"]});
        (at.clone(), changed)
    };
    found.iter().map(|at| (at.clone(), with(at).1)).collect()
}

/// Reads the example, writes it back to the last member, and finds that strangers change nothing, but `closed`: objects in
/// which an unknown member would change what the known ones mean, or whose members are names.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, closed: &[&str]) {
    let example = kept(name);
    let read: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&read).expect("JSON"), example, "{name} is not written as it was");
    for (at, changed) in with_a_stranger(&example) {
        let still = serde_json::from_value::<T>(changed);
        if closed.contains(&at.as_str()) {
            assert!(!still.is_ok_and(|still| still == read), "{name}{at}: a stranger is passed over there");
        } else {
            assert_eq!(still.unwrap_or_else(|error| panic!("{name}{at}: {error}")), read, "{name}{at}");
        }
    }
}

#[test]
fn every_message_of_this_version_is_read_and_written_as_it_was() {
    check::<OpenApproval>("open_approval", &["/envelope/labels", "/constraints/limited_by"]);
    check::<ApprovalState>("approval_state", &[]);
    check::<ClaimRequest>("claim_request", &[]);
    check::<Claim>("claim", &["/constraints/limited_by"]);
    check::<SignedClaim>("signed_claim", &[]);
    check::<WithdrawHold>("withdraw_hold", &[]);
    check::<CancelHolds>("cancel_holds", &[]);
    check::<EntryBatch>("entry_batch", &[]);
    check::<FreezeList>("freeze_list", &["/freezes/0/scope"]);
    check::<SignedFreezes>("signed_freezes", &[]);
    check::<TakeLeases>("take_leases", &[]);
    check::<LeasesTaken>("leases_taken", &[]);
    check::<SignedLeases>("signed_leases", &[]);
    check::<RenewLeases>("renew_leases", &[]);
    check::<EndLeases>("end_leases", &[]);
    check::<CandidateReport>("candidate_report", &[]);
    check::<PolicyReport>("policy_report", &[]);
    check::<ObservationBatch>("observation_batch", &["/observations/0/saw", "/observations/1/saw"]);
}

#[test]
fn every_kept_message_is_looked_at() {
    let all: Value = serde_json::from_str(KEPT).expect("JSON");
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(18));
}

/// A word of a later version is refused, and not taken for another: what nobody here understands counts against the call.
#[test]
fn unknown_word_of_a_later_version_is_refused() {
    let mut state = kept("approval_state");
    state["status"] = json!("half_approved");
    serde_json::from_value::<ApprovalState>(state).expect_err("a status that nobody knows");
    let mut batch = kept("entry_batch");
    batch["entries"][0]["kind"] = json!("levitated");
    serde_json::from_value::<EntryBatch>(batch).expect_err("a kind that nobody knows");
}

fn of(text: &str) -> WireVersion {
    WireVersion::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn one_minor_version_apart_works_and_further_does_not() {
    for (one, other, works) in [
        ("1.1", "1.1", true),
        ("1.1", "1.0", true),
        ("1.1", "1.2", true),
        ("1.0", "1.2", false),
        ("1.3", "1.1", false),
        ("2.0", "1.0", false),
        ("2.1", "1.1", false),
    ] {
        assert_eq!(of(one).understands(of(other)), works, "{one} {other}");
        assert_eq!(of(other).understands(of(one)), works, "{other} {one}");
    }
    assert!(WIRE.understands(WireVersion::UNSAID), "what was shipped before versions were said");
}

#[test]
fn who_is_too_far_apart_is_told_which_side_to_upgrade() {
    let apart = |filter, service| apart(of(filter), of(service)).unwrap_or_default();
    assert_eq!(apart("1.1", "1.2"), "");
    let said = apart("1.1", "1.3");
    assert!(said.ends_with("upgrade the filter") && said.contains("1.1") && said.contains("1.3"), "{said}");
    assert!(apart("1.4", "1.1").ends_with("upgrade the service"));
    assert!(apart("1.9", "2.0").ends_with("upgrade the filter"));
}

#[test]
fn version_is_two_numbers_and_nothing_else() {
    assert_eq!(of("12.34").to_string(), "12.34");
    for wrong in ["", "1", "1.", ".1", "1.1.1", "1,1", " 1.1", "+1.1", "1.-1", "01.1", "1.x", "65536.0", "1.99999"] {
        assert_eq!(WireVersion::read(wrong.as_bytes()), None, "{wrong}");
    }
    assert_eq!(WireVersion::read(b"1.\xff"), None);
}
