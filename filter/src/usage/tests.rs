//! Leases over a shared map that can lose races.

use std::collections::BTreeMap;

use holdpoint_core::decision::{ConcurrencyLimit, RateKey, RateLimit};

use super::*;

#[derive(Default)]
struct Shared {
    values: BTreeMap<String, (Vec<u8>, u32)>,
    races_left: u32,
    broken: bool,
}

impl SharedData for Shared {
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        (!self.broken).then(|| self.values.get(key).cloned().unwrap_or_default())
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        let entry = self.values.entry(key.to_owned()).or_default();
        if self.races_left > 0 {
            self.races_left -= 1;
            entry.1 += 1;
            return Stored::Raced;
        }
        if cas != 0 && entry.1 != cas {
            return Stored::Raced;
        }
        *entry = (value.to_vec(), cas + 1);
        Stored::Done
    }
}

fn prepared() -> Shared {
    let mut shared = Shared::default();
    prepare(&mut shared, ["r", "a", "b"].into_iter(), true);
    shared
}

fn limits(rules: &[(&str, u32)]) -> Constraints {
    let concurrency = rules
        .iter()
        .map(|(rule, jobs_max)| ConcurrencyLimit { rule_id: (*rule).to_owned(), jobs_max: *jobs_max })
        .collect();
    Constraints { concurrency, ..Constraints::default() }
}

fn taken(leased: Leased) -> Vec<Lease> {
    match leased {
        Leased::All(leases) => leases,
        Leased::Full { rule_id } => panic!("rule {rule_id} is full"),
    }
}

#[test]
fn a_slot_is_free_again_when_it_is_given_back() {
    let mut shared = prepared();
    let one = limits(&[("r", 1)]);
    let leases = taken(take(&mut shared, &one, 1, 0));
    assert_eq!(take(&mut shared, &one, 2, 0), Leased::Full { rule_id: "r".to_owned() });
    give_back(&mut shared, leases, 0);
    assert_eq!(taken(take(&mut shared, &one, 2, 0)).len(), 1);
}

#[test]
fn a_slot_of_a_dead_holder_expires_and_a_renewed_one_does_not() {
    let mut shared = prepared();
    let one = limits(&[("r", 1)]);
    let leases = taken(take(&mut shared, &one, 1, 0));
    renew(&mut shared, &leases, LEASE_MS - 1);
    assert!(matches!(take(&mut shared, &one, 2, LEASE_MS + 1), Leased::Full { .. }));
    assert!(matches!(take(&mut shared, &one, 2, 2 * LEASE_MS), Leased::All(_)));
}

#[test]
fn all_limits_or_none() {
    let mut shared = prepared();
    taken(take(&mut shared, &limits(&[("b", 1)]), 1, 0));
    assert_eq!(take(&mut shared, &limits(&[("a", 1), ("b", 1)]), 2, 0), Leased::Full { rule_id: "b".to_owned() });
    assert_eq!(taken(take(&mut shared, &limits(&[("a", 1)]), 3, 0)).len(), 1);
}

#[test]
fn a_lost_race_is_run_again() {
    let mut shared = Shared { races_left: 5, ..prepared() };
    assert_eq!(taken(take(&mut shared, &limits(&[("r", 1)]), 1, 0)).len(), 1);
}

#[test]
fn unreadable_shared_data_counts_as_full() {
    let mut shared = Shared { broken: true, ..prepared() };
    assert!(matches!(take(&mut shared, &limits(&[("r", 9)]), 1, 0), Leased::Full { .. }));
    assert_eq!(take(&mut shared, &Constraints::default(), 1, 0), Leased::All(Vec::new()));
}

#[test]
fn a_key_that_was_not_prepared_has_no_slots_and_preparing_again_keeps_leases() {
    let mut shared = Shared::default();
    let one = limits(&[("r", 1)]);
    assert!(matches!(take(&mut shared, &one, 1, 0), Leased::Full { .. }));
    prepare(&mut shared, ["r"].into_iter(), false);
    taken(take(&mut shared, &one, 1, 0));
    prepare(&mut shared, ["r"].into_iter(), false);
    assert!(matches!(take(&mut shared, &one, 2, 0), Leased::Full { .. }));
}

fn rate(rule: &str, calls_max: u32, of: &str) -> Constraints {
    let limit =
        RateLimit { rule_id: rule.to_owned(), calls_max, per_ms: 1_000, key: RateKey::Actor, of: of.to_owned() };
    Constraints { rates: [limit].into(), ..Constraints::default() }
}

#[test]
fn a_window_never_lets_more_through_in_any_stretch_of_its_length() {
    let mut shared = prepared();
    let (limit, mut admitted) = (rate("r", 3, "alice"), Vec::new());
    for now_ms in (0..5_000).step_by(7) {
        if matches!(take(&mut shared, &limit, 1, now_ms), Leased::All(_)) {
            admitted.push(now_ms);
        }
    }
    let fits = admitted.windows(4).all(|four| four[3] - four[0] >= 1_000);
    assert!(fits, "{admitted:?}");
    assert!(admitted.len() >= 12, "and not many fewer: {admitted:?}");
}

#[test]
fn windows_of_others_and_of_other_rules_stand_apart() {
    let mut shared = prepared();
    for (rule, of) in [("r", "alice"), ("r", "bob"), ("a", "alice")] {
        taken(take(&mut shared, &rate(rule, 1, of), 1, 0));
        assert_eq!(take(&mut shared, &rate(rule, 1, of), 1, 0), Leased::Full { rule_id: rule.to_owned() });
    }
}

#[test]
fn a_call_that_did_not_run_is_not_counted_and_one_that_ran_is() {
    let mut shared = prepared();
    let limit = rate("r", 1, "alice");
    let counted = taken(take(&mut shared, &limit, 1, 0));
    assert!(covers(&counted, &limit) && !covers(&[], &limit) && !covers(&counted, &rate("r", 1, "bob")));
    give_back(&mut shared, counted, 0);
    let counted = taken(take(&mut shared, &limit, 1, 0));
    end(&mut shared, counted, 0);
    assert!(matches!(take(&mut shared, &limit, 1, 0), Leased::Full { .. }));
}

#[test]
fn made_up_names_neither_grow_without_end_nor_push_others_out() {
    let mut shared = prepared();
    let alice = rate("r", 1, "alice");
    taken(take(&mut shared, &alice, 1, 0));
    let admitted = (0..50_000_u32)
        .filter(|number| matches!(take(&mut shared, &rate("r", 1, &number.to_string()), 1, 0), Leased::All(_)))
        .count();
    assert!(admitted < 64 * 512, "{admitted}");
    assert!(matches!(take(&mut shared, &alice, 1, 0), Leased::Full { .. }), "still counted");
    assert!(matches!(take(&mut shared, &rate("r", 1, "late"), 1, 5_000), Leased::All(_)), "and all of it passes");
}

#[test]
fn the_same_call_is_tried_as_often_as_the_rule_says_until_it_succeeds() {
    let mut shared = prepared();
    let call = Digest::tagged("t", b"call");
    let mut tries = |now_ms| (0..5).filter(|_| try_once(&mut shared, call, 1, now_ms)).count();
    assert_eq!(tries(0), 2, "once, and one retry");
    assert_eq!(tries(RETRY_WINDOW_MS), 2, "forgotten in time");
    succeeded(&mut shared, call, RETRY_WINDOW_MS);
    assert!(try_once(&mut shared, call, 0, RETRY_WINDOW_MS));
    assert!(try_once(&mut shared, Digest::tagged("t", b"other"), 0, RETRY_WINDOW_MS));
}
