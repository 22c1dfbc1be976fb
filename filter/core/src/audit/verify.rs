//! Step 12: recomputes a log from its entries and says exactly what is wrong where. Knows nothing of where they are kept.

use super::AuditEntry;
use super::merkle::{Frontier, leaf_hash};
use super::note::{self, Checkpoint};
use crate::approval::ServiceKey;
use crate::digest::Digest;

#[cfg(test)]
mod tests;

/// Findings after which the rest is not worth printing.
const FINDINGS_MAX: usize = 100;

/// A checkpoint to hold the log against.
#[derive(Clone, Debug)]
pub struct GivenCheckpoint {
    /// What it is called in findings: `checkpoint 1204`, or the file an auditor kept.
    pub name: String,
    /// The signed note.
    pub note: String,
    /// How many entries it must be about, where it is kept under that number.
    pub size: Option<u64>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub entries: u64,
    /// Signed checkpoints that the entries were held against.
    pub checkpoints: u64,
    /// The root that the entries have.
    pub root: Digest,
    /// What is wrong, in the order of the log. Nothing means that the record is whole.
    pub findings: Vec<String>,
}

/// Takes the entries of a log one after the other.
pub struct Verifier {
    frontier: Frontier,
    /// The number that the next entry must have.
    next: u64,
    /// Not reached yet, the smallest last.
    ahead: Vec<(String, Checkpoint)>,
    checkpoints: u64,
    findings: Vec<String>,
    more_findings: usize,
}

impl Verifier {
    /// Starts at the first entry. Checkpoints that `key` did not sign are findings at once.
    pub fn new(key: &ServiceKey, given: impl IntoIterator<Item = GivenCheckpoint>) -> Self {
        let mut verifier = Self {
            frontier: Frontier::default(),
            next: 0,
            ahead: Vec::new(),
            checkpoints: 0,
            findings: Vec::new(),
            more_findings: 0,
        };
        for GivenCheckpoint { name, note, size } in given {
            match note::read_checkpoint(&note, key) {
                Ok(checkpoint) if size.is_none_or(|size| size == checkpoint.size) => {
                    verifier.ahead.push((name, checkpoint));
                }
                Ok(_) => verifier.find(format!("{name} was signed for other entries than it is kept for")),
                Err(error) => verifier.find(format!("{name} is not to be believed: {error}")),
            }
        }
        verifier.ahead.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.size));
        verifier
    }

    /// The next entry: its number, its text, and the leaf hash that was kept beside it, where one was.
    pub fn entry(&mut self, seq: u64, body: &str, stored: Option<Digest>) {
        match self.next {
            next if seq > next => self.find(format!("entries {next} to {} are missing", seq.saturating_sub(1))),
            next if seq < next => self.find(format!("entry {seq} stands where {next} belongs")),
            _ => {}
        }
        self.next = seq.saturating_add(1);
        let leaf = leaf_hash(body.as_bytes());
        if let Some(stored) = stored.filter(|stored| *stored != leaf) {
            let (found, stored) = (leaf.short(), stored.short());
            self.find(format!("entry {seq} was changed: its text hashes to {found}, stored is {stored}"));
        }
        if let Err(error) = serde_json::from_str::<AuditEntry>(body) {
            self.find(format!("entry {seq} is no entry that this version reads: {error}"));
        }
        self.frontier.append(leaf);
        while let Some((name, checkpoint)) = self.ahead.pop_if(|(_, ahead)| ahead.size <= self.frontier.size()) {
            self.checkpoints = self.checkpoints.saturating_add(1);
            if checkpoint.size != self.frontier.size() || checkpoint.root != self.frontier.root() {
                self.find(format!("{name} was signed for other entries: some up to there changed since"));
            }
        }
    }

    /// Something else that is wrong with the log.
    pub fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.more_findings = self.more_findings.saturating_add(1);
        }
    }

    /// How many entries came.
    pub fn entries(&self) -> u64 {
        self.frontier.size()
    }

    /// The end of the log, and what it found. `head` is the size and root that the log says it has, where it does.
    pub fn finish(mut self, head: Option<(u64, Digest)>) -> Verified {
        let (entries, root) = (self.frontier.size(), self.frontier.root());
        if let Some((size, head_root)) = head {
            if entries < size {
                self.find(format!("the log's head counts {size} entries, only {entries} are there"));
            }
            if head_root != root {
                let (found, said) = (root.short(), head_root.short());
                self.find(format!("the entries have the root {found}, the log's head says {said}"));
            }
        }
        while let Some((name, _)) = self.ahead.pop() {
            self.find(format!(
                "{name} was signed, and the log has only {entries} entries: the end was cut off, or an old copy put back"
            ));
        }
        if self.more_findings > 0 {
            self.findings.push(format!("… and {} more", self.more_findings));
        }
        Verified { entries, checkpoints: self.checkpoints, root, findings: self.findings }
    }
}
