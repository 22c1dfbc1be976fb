//! Snapshots in, series out.

use super::*;

fn snapshot(number: usize) -> Digest {
    Digest::of(number.to_string().as_bytes())
}

#[test]
fn all_metrics_are_among_all() {
    let named = include_str!("../metrics.rs").matches("=> \"holdpoint.").count();
    let names: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    assert_eq!(names.len(), named);
}

#[test]
fn the_snapshot_in_force_is_one_and_the_replaced_one_zero() {
    let mut series = SnapshotSeries::default();
    let name = |number| format!("holdpoint.policy_in_force.snapshot.{}", snapshot(number).short());
    assert_eq!(series.put_in_force("a", &snapshot(1)), [(name(1), 1)]);
    assert_eq!(series.put_in_force("a", &snapshot(1)), [(name(1), 1)], "the same again");
    assert_eq!(series.put_in_force("b", &snapshot(1)), [(name(1), 1)]);
    assert_eq!(series.put_in_force("a", &snapshot(2)), [(name(2), 1)], "another plugin still has the first");
    assert_eq!(series.put_in_force("b", &snapshot(2)), [(name(1), 0), (name(2), 1)]);
}

#[test]
fn policies_without_end_make_no_series_without_end() {
    let mut series = SnapshotSeries::default();
    let names: BTreeSet<String> =
        (0..1_000).flat_map(|number| series.put_in_force("a", &snapshot(number))).map(|(name, _)| name).collect();
    assert_eq!(names.len(), SNAPSHOTS_NAMED_MAX + 1);
}
