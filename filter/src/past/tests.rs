//! Calls that ran go in; what a later one of the same caller is told comes out.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::identity::ActorType;
use holdpoint_core::policy::{compile, read_file};

use super::*;
use crate::usage::Stored;

/// Shared data of one Envoy; a key that is not there is created by the first write.
#[derive(Default)]
struct Shared {
    values: BTreeMap<String, (Vec<u8>, u32)>,
    is_broken: bool,
}

impl SharedData for Shared {
    fn load(&mut self, key: &str) -> Option<(Vec<u8>, u32)> {
        (!self.is_broken).then(|| self.values.get(key).cloned().unwrap_or_default())
    }

    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored {
        let entry = self.values.entry(key.to_owned()).or_default();
        if entry.1 != cas {
            return Stored::Raced;
        }
        *entry = (value.to_vec(), cas + 1);
        Stored::Done
    }
}

const NOW_MS: u64 = 1_700_000_000_000;

fn policy(tags: &[&str]) -> PolicySnapshot {
    let rules = tags.iter().enumerate().map(|(index, tag)| {
        format!("- {{id: r{index}, match: {{after: {{risk_tags: {tag}, within_ms: 1000}}}}, decision: deny}}\n")
    });
    let text = format!("version: \"2026-01-27\"\nrules:\n{}", rules.collect::<String>());
    compile(&read_file(&text).expect("a policy")).expect("a policy")
}

fn principal(subject: &str) -> Principal {
    Principal {
        issuer: "i".to_owned(),
        subject: subject.to_owned(),
        agent_id: None,
        actor_type: ActorType::Human,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    }
}

fn prepared(tags: &[&str]) -> (Shared, Vec<Digest>) {
    let (mut shared, policy) = (Shared::default(), policy(tags));
    prepare(&mut shared, "p", &policy, NOW_MS);
    (shared, policy.marks().collect())
}

fn ran(shared: &mut Shared, mark: Digest, subject: &str, now_ms: u64) -> bool {
    Trail { rows: vec![row_id(mark, &principal(subject))], written_at_ms: None }.write(shared, now_ms)
}

fn past(shared: &mut Shared, mark: Digest, subject: &str, now_ms: u64) -> Past {
    PastView::new(shared, "p", now_ms).past(mark, &principal(subject))
}

#[test]
fn what_one_principal_ran_is_known_of_it_alone_and_of_that_mark_alone() {
    let (mut shared, marks) = prepared(&["a", "b"]);
    assert!(ran(&mut shared, marks[0], "ann", NOW_MS));
    let seen = past(&mut shared, marks[0], "ann", NOW_MS + 7);
    assert_eq!((seen.now_ms, seen.last_at_ms), (NOW_MS + 7, Some(NOW_MS + AHEAD_MS)));
    assert_eq!((seen.began_at_ms, seen.lost_at_ms), (NOW_MS + SETTLE_MS, None));
    assert_eq!(past(&mut shared, marks[0], "ben", NOW_MS).last_at_ms, None);
    assert_eq!(past(&mut shared, marks[1], "ann", NOW_MS).last_at_ms, None);
}

#[test]
fn answer_that_takes_long_moves_the_time_and_no_clock_moves_it_back() {
    let (mut shared, marks) = prepared(&["a"]);
    let mut trail = Trail { rows: vec![row_id(marks[0], &principal("ann"))], written_at_ms: None };
    assert!(trail.write(&mut shared, NOW_MS));
    let writes = |shared: &Shared| shared.values.values().map(|(_, cas)| cas).sum::<u32>();
    let before = writes(&shared);
    assert!(trail.write(&mut shared, NOW_MS + AHEAD_MS / 2 - 1));
    assert_eq!(writes(&shared), before, "not every part of an answer is worth a write");
    assert!(trail.write(&mut shared, NOW_MS + 60_000));
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).last_at_ms, Some(NOW_MS + 60_000 + AHEAD_MS));
    assert!(trail.write(&mut shared, NOW_MS));
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).last_at_ms, Some(NOW_MS + 60_000 + AHEAD_MS));
}

#[test]
fn marks_are_known_since_they_are_written_and_anew_after_a_policy_without_them() {
    let (mut shared, marks) = prepared(&["a"]);
    prepare(&mut shared, "p", &policy(&["a", "b"]), NOW_MS + 50_000);
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).began_at_ms, NOW_MS + SETTLE_MS);
    prepare(&mut shared, "p", &policy(&["b"]), NOW_MS + 60_000);
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).began_at_ms, u64::MAX);
    prepare(&mut shared, "p", &policy(&["a"]), NOW_MS + 70_000);
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).began_at_ms, NOW_MS + 70_000 + SETTLE_MS);
    // Another plugin began by itself.
    assert_eq!(PastView::new(&mut shared, "q", NOW_MS).past(marks[0], &principal("ann")).lost_at_ms, Some(u64::MAX));
}

#[test]
fn room_is_bounded_and_whoever_is_forgotten_is_not_known_to_be_innocent() {
    let (mut shared, marks) = prepared(&["a"]);
    assert!(ran(&mut shared, marks[0], "ann", NOW_MS));
    let mut made_up = row_id(marks[0], &principal("ann"));
    let mut later_ms = NOW_MS;
    // All in one shard, so that it fills.
    for number in 0_u16..600 {
        later_ms = NOW_MS + 1 + u64::from(number);
        [made_up[1], made_up[2]] = number.to_le_bytes();
        made_up[3] = 7;
        assert!(put(&mut shared, made_up, later_ms));
    }
    let seen = past(&mut shared, marks[0], "ann", later_ms);
    assert_eq!(seen.last_at_ms, None);
    assert!(seen.lost_at_ms.is_some_and(|lost_at_ms| lost_at_ms >= NOW_MS + AHEAD_MS), "{seen:?}");
    let bytes: usize = shared.values.values().map(|(value, _)| value.len()).sum();
    assert!(bytes * usize::from(SHARDS) < 1 << 20, "{bytes} bytes in one shard");
}

#[test]
fn what_is_older_than_any_rule_looks_back_is_dropped_without_a_loss() {
    let (mut shared, marks) = prepared(&["a"]);
    assert!(ran(&mut shared, marks[0], "ann", NOW_MS));
    let later_ms = NOW_MS + AFTER_MS_MAX + AHEAD_MS;
    let shard = shard_of(&row_id(marks[0], &principal("ann")));
    let same_shard = (0..).map(|number| format!("{number}"));
    let other = same_shard.into_iter().find(|one| shard_of(&row_id(marks[0], &principal(one))) == shard).expect("one");
    assert!(ran(&mut shared, marks[0], &other, later_ms));
    assert_eq!(rows(&shared.values[&shard].0[8..]).len(), 1);
    assert_eq!(past(&mut shared, marks[0], "ann", later_ms).lost_at_ms, None);
}

#[test]
fn data_that_cannot_be_read_or_was_never_prepared_is_an_unknown_past_and_nothing_is_let_go() {
    let (mut shared, marks) = prepared(&["a"]);
    shared.is_broken = true;
    assert_eq!(past(&mut shared, marks[0], "ann", NOW_MS).lost_at_ms, Some(u64::MAX));
    assert!(!ran(&mut shared, marks[0], "ann", NOW_MS));
    let mut fresh = Shared::default();
    assert_eq!(past(&mut fresh, marks[0], "ann", NOW_MS).lost_at_ms, Some(u64::MAX));
    assert!(!ran(&mut fresh, marks[0], "ann", NOW_MS));
}
