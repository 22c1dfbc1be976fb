//! Leases over a shared map that can lose races.

use std::collections::BTreeMap;

use holdpoint_core::decision::ConcurrencyLimit;

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
    prepare(&mut shared, ["r", "a", "b"].into_iter());
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
    prepare(&mut shared, ["r"].into_iter());
    taken(take(&mut shared, &one, 1, 0));
    prepare(&mut shared, ["r"].into_iter());
    assert!(matches!(take(&mut shared, &one, 2, 0), Leased::Full { .. }));
}
