//! Quorums: every group, each person once, in whatever order they come.

use super::*;

fn requirement(groups: &[(&str, u32)]) -> Vec<ApproverGroup> {
    groups.iter().map(|(group, min)| ApproverGroup { group: (*group).to_owned(), min: *min }).collect()
}

fn person(groups: &[&str]) -> BTreeSet<String> {
    groups.iter().map(|group| (*group).to_owned()).collect()
}

/// Admits `people` in order; whether each helped, and which groups are missing at the end.
#[track_caller]
fn check(groups: &[(&str, u32)], people: &[&[&str]], helped: &[bool], missing: &[(&str, u32)]) {
    let requirement = requirement(groups);
    let people: Vec<_> = people.iter().map(|groups| person(groups)).collect();
    let mut quorum = Quorum::new(&requirement, []);
    let found: Vec<bool> = people.iter().map(|person| quorum.admit(person)).collect();
    assert_eq!(found, helped);
    let found: Vec<(String, u32)> = quorum.missing().into_iter().map(|group| (group.group, group.min)).collect();
    let missing: Vec<(String, u32)> = missing.iter().map(|(group, min)| ((*group).to_owned(), *min)).collect();
    assert_eq!(found, missing);
}

#[test]
fn one_of_the_group_is_enough_for_one() {
    check(&[("sre", 1)], &[&["sre"]], &[true], &[]);
}

#[test]
fn somebody_of_another_group_does_not_help() {
    check(&[("sre", 1)], &[&["dev"], &[]], &[false, false], &[("sre", 1)]);
}

#[test]
fn star_takes_anybody() {
    check(&[("*", 1)], &[&[]], &[true], &[]);
}

#[test]
fn member_of_two_groups_counts_once() {
    check(&[("security", 1), ("sre", 1)], &[&["sre", "security"]], &[true], &[("sre", 1)]);
}

#[test]
fn member_of_two_groups_moves_over_when_only_that_makes_room() {
    check(&[("security", 1), ("sre", 1)], &[&["sre", "security"], &["security"]], &[true, true], &[]);
    check(&[("*", 1), ("sre", 1)], &[&["sre"], &["dev"]], &[true, true], &[]);
}

#[test]
fn one_too_many_of_a_group_does_not_help() {
    check(&[("security", 1), ("sre", 2)], &[&["sre"], &["sre"], &["sre"]], &[true, true, false], &[("security", 1)]);
}

#[test]
fn long_chain_of_moves_is_found() {
    let groups = [("a", 1), ("b", 1), ("c", 1)];
    check(&groups, &[&["a", "b"], &["b", "c"], &["a"], &["c"]], &[true, true, true, false], &[]);
}
