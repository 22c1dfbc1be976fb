//! Step 8: whether enough of the right people approved. Every group must be met, and one person counts once.

use std::collections::BTreeSet;

use holdpoint_core::decision::{ApprovalRequirement, ApproverGroup};

#[cfg(test)]
mod tests;

/// The group that anybody who may approve at all belongs to.
pub const ANY_GROUP: &str = "*";

/// How far a requirement is met: each person seated in at most one group, as many seated as possible.
pub struct Quorum<'a> {
    groups: &'a [ApproverGroup],
    people: Vec<&'a BTreeSet<String>>,
    /// For each person, the index of the group that counts them.
    seats: Vec<Option<usize>>,
}

impl<'a> Quorum<'a> {
    /// Seats `people`, each by the groups they are in.
    pub fn new(groups: &'a [ApproverGroup], people: impl IntoIterator<Item = &'a BTreeSet<String>>) -> Self {
        let mut quorum = Self { groups, people: Vec::new(), seats: Vec::new() };
        for person in people {
            quorum.admit(person);
        }
        quorum
    }

    /// Adds one person; whether they bring the requirement nearer.
    pub fn admit(&mut self, person: &'a BTreeSet<String>) -> bool {
        self.people.push(person);
        self.seats.push(None);
        self.seat(self.people.len() - 1, &mut vec![false; self.groups.len()])
    }

    /// The group that counts whoever was admitted last, by now.
    pub fn seat_of_last(&self) -> Option<&'a str> {
        self.seats.last().copied().flatten().map(|at| self.groups[at].group.as_str())
    }

    /// The groups that still need people, and how many.
    pub fn missing(&self) -> Vec<ApproverGroup> {
        let missing = self.groups.iter().enumerate().map(|(at, group)| ApproverGroup {
            group: group.group.clone(),
            min: group.min.saturating_sub(self.seated(at)),
        });
        missing.filter(|group| group.min > 0).collect()
    }

    /// Finds a seat for `person`, moving others to other groups of theirs where that makes room.
    fn seat(&mut self, person: usize, tried: &mut [bool]) -> bool {
        for at in 0..self.groups.len() {
            if tried[at] || !belongs(self.people[person], &self.groups[at]) {
                continue;
            }
            tried[at] = true;
            if self.seated(at) < self.groups[at].min {
                self.seats[person] = Some(at);
                return true;
            }
            for other in 0..self.people.len() {
                if self.seats[other] == Some(at) && self.seat(other, tried) {
                    self.seats[person] = Some(at);
                    return true;
                }
            }
        }
        false
    }

    fn seated(&self, at: usize) -> u32 {
        let seated = self.seats.iter().filter(|seat| **seat == Some(at)).count();
        u32::try_from(seated).unwrap_or(u32::MAX)
    }
}

/// The ways in which a requirement can be met by now: its own, and once it has escalated that of its escalation too.
pub fn ways(requirement: &ApprovalRequirement, is_escalated: bool) -> Vec<&[ApproverGroup]> {
    let escalation = requirement.escalation.as_ref().filter(|_| is_escalated);
    [Some(requirement.all_of.as_slice()), escalation.map(|next| next.all_of.as_slice())].into_iter().flatten().collect()
}

/// The first of these groups, met or not, that takes this person.
pub fn taking<'a>(groups: &'a [ApproverGroup], person: &BTreeSet<String>) -> Option<&'a str> {
    groups.iter().find(|group| belongs(person, group)).map(|group| group.group.as_str())
}

/// A group in words.
pub fn named(group: &str) -> String {
    if group == ANY_GROUP { "any group".to_owned() } else { format!("group `{group}`") }
}

fn belongs(person: &BTreeSet<String>, group: &ApproverGroup) -> bool {
    group.group == ANY_GROUP || person.contains(&group.group)
}
