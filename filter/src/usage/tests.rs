//! Leases over a shared map that can lose races.

use std::collections::BTreeMap;

use holdpoint_core::decision::{ConcurrencyLimit, LimitScope, RateKey, RateLimit};

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

const PLUGIN: &str = "p";

fn who(name: &str) -> Principal {
    Principal { subject: name.to_owned(), ..Principal::anonymous() }
}

fn prepare<'a>(shared: &mut Shared, rules: impl Iterator<Item = &'a str>, counts_calls: bool) {
    super::prepare(shared, PLUGIN, rules, counts_calls);
}

fn take(shared: &mut Shared, constraints: &Constraints, holder: u64, now_ms: u64) -> Leased {
    super::take(shared, &Taker { plugin: PLUGIN, who: &who("somebody"), holder }, constraints, now_ms)
}

fn covers(taken: &[Lease], constraints: &Constraints) -> bool {
    super::covers(PLUGIN, taken, constraints)
}

fn try_once(shared: &mut Shared, call: Digest, retries_max: u32, now_ms: u64) -> bool {
    super::try_once(shared, who("somebody").name(), call, retries_max, now_ms)
}

fn prepared() -> Shared {
    let mut shared = Shared::default();
    prepare(&mut shared, ["r", "a", "b"].into_iter(), true);
    shared
}

fn limits(rules: &[(&str, u32)]) -> Constraints {
    let concurrency = rules
        .iter()
        .map(|(rule, jobs_max)| ConcurrencyLimit {
            rule_id: (*rule).to_owned(),
            jobs_max: *jobs_max,
            scope: LimitScope::Process,
        })
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

/// A call waited with its slot for its claim, or for its entry in the record.
#[test]
fn a_slot_lasts_from_the_beginning_of_its_call_and_one_that_others_have_by_then_lets_it_not_begin() {
    let one = limits(&[("r", 1)]);
    let kept = |shared: &mut Shared, leases: &[Lease], now_ms| super::keep(shared, PLUGIN, leases, &one, now_ms);
    let mut shared = prepared();
    let leases = taken(take(&mut shared, &one, 1, 0));
    assert_eq!(kept(&mut shared, &leases, LEASE_MS - 1), Ok(()));
    assert!(matches!(take(&mut shared, &one, 2, LEASE_MS + 1), Leased::Full { .. }), "its time has begun anew");
    assert_eq!(kept(&mut shared, &leases, 3 * LEASE_MS), Ok(()), "run out, and nobody else has it");
    assert!(matches!(take(&mut shared, &one, 2, 3 * LEASE_MS), Leased::Full { .. }), "so it is taken again");
    taken(take(&mut shared, &one, 2, 4 * LEASE_MS));
    assert_eq!(kept(&mut shared, &leases, 4 * LEASE_MS), Err("r".to_owned()));
    assert_eq!(kept(&mut shared, &[], 5 * LEASE_MS), Err("r".to_owned()), "no slot at all");
}

/// A batch has a slot for each of its calls, all of one rule.
#[test]
fn every_slot_of_a_batch_lasts_from_its_beginning_or_none_of_it_begins() {
    let two = limits(&[("r", 2)]);
    let mut shared = prepared();
    let mut leases = taken(take(&mut shared, &two, 1, 0));
    leases.extend(taken(take(&mut shared, &two, 2, 0)));
    assert_eq!(super::keep(&mut shared, PLUGIN, &leases, &two, LEASE_MS - 1), Ok(()));
    assert!(matches!(take(&mut shared, &two, 3, LEASE_MS + 1), Leased::Full { .. }), "neither has run out");
    taken(take(&mut shared, &two, 3, 3 * LEASE_MS));
    assert_eq!(super::keep(&mut shared, PLUGIN, &leases, &two, 3 * LEASE_MS), Err("r".to_owned()), "one is another's");
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
    let limit = RateLimit {
        rule_id: rule.to_owned(),
        calls_max,
        per_ms: 1_000,
        key: RateKey::Actor,
        of: of.to_owned(),
        scope: LimitScope::Process,
    };
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
fn made_up_names_stop_nobody_but_whoever_makes_them_up() {
    let mut shared = prepared();
    let by = |shared: &mut Shared, name: &str, of: &str, now_ms| {
        let taker = Taker { plugin: PLUGIN, who: &who(name), holder: 1 };
        matches!(super::take(shared, &taker, &rate("r", 1, of), now_ms), Leased::All(_))
    };
    assert!(by(&mut shared, "alice", "alice", 0));
    let admitted = (0..10_000_u32).filter(|number| by(&mut shared, "mallory", &number.to_string(), 0)).count();
    assert!((3_000..=64 * 64).contains(&admitted), "{admitted}");
    assert!(!by(&mut shared, "mallory", "one more", 0), "he has begun as many as one may");
    assert!(!by(&mut shared, "alice", "alice", 0), "still counted");
    assert!((0..100).all(|number| by(&mut shared, &format!("other {number}"), &format!("other {number}"), 0)));
    assert!(by(&mut shared, "mallory", "late", 5_000), "and all of it passes");
}

#[test]
fn many_who_make_names_up_together_grow_nothing_without_end() {
    let mut shared = prepared();
    let key = "holdpoint/window/0";
    for number in 0..40_000_u32 {
        let taker = Taker { plugin: PLUGIN, who: &who(&format!("{}", number % 100)), holder: 1 };
        // All of them in one shard, by trying.
        let limit = rate("r", 1, &number.to_string());
        let in_shard = limit.rates.iter().all(|limit| windows::entry_of(PLUGIN, limit)[0].is_multiple_of(64));
        if in_shard {
            super::take(&mut shared, &taker, &limit, 0);
        }
    }
    let bytes = shared.values.get(key).expect("the shard").0.len();
    assert!((512 * 40..512 * 440).contains(&bytes), "{bytes} bytes");
}

#[test]
fn rules_of_one_name_in_two_plugins_share_nothing() {
    let mut shared = prepared();
    super::prepare(&mut shared, "q", ["r"].into_iter(), true);
    let one = Constraints { rates: rate("r", 1, "alice").rates, ..limits(&[("r", 1)]) };
    let taken_by = |shared: &mut Shared, plugin: &str| {
        super::take(shared, &Taker { plugin, who: &who("alice"), holder: 1 }, &one, 0)
    };
    let leases = taken(taken_by(&mut shared, PLUGIN));
    assert!(matches!(taken_by(&mut shared, PLUGIN), Leased::Full { .. }));
    assert!(super::covers(PLUGIN, &leases, &one) && !super::covers("q", &leases, &one));
    assert_eq!(taken(taken_by(&mut shared, "q")).len(), 2);
}

#[test]
fn the_same_call_is_tried_as_often_as_the_rule_says_until_it_succeeds() {
    let mut shared = prepared();
    let call = Digest::tagged("t", b"call");
    let mut tries = |now_ms| (0..5).filter(|_| try_once(&mut shared, call, 1, now_ms)).count();
    assert_eq!(tries(0), 2, "once, and one retry");
    assert_eq!(tries(RETRY_WINDOW_MS), 2, "forgotten in time");
    untry(&mut shared, call, RETRY_WINDOW_MS);
    assert!(try_once(&mut shared, call, 1, RETRY_WINDOW_MS), "the last one never ran");
    assert!(!try_once(&mut shared, call, 1, RETRY_WINDOW_MS));
    succeeded(&mut shared, call, RETRY_WINDOW_MS);
    assert!(try_once(&mut shared, call, 0, RETRY_WINDOW_MS));
    assert!(try_once(&mut shared, Digest::tagged("t", b"other"), 0, RETRY_WINDOW_MS));
}
