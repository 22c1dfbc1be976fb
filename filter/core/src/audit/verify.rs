//! Step 12: recomputes a log from its entries and says exactly what is wrong where. Knows nothing of where they are kept.

use super::merkle::{Frontier, leaf_hash};
use super::note::{NoteError, SignedCheckpoint};
use super::payload::{Misfit, Part, Payload};
use super::{AuditEntry, EntryKind, KEY_RETIRED};
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
    /// Entries beside which something stands, and it is what they say.
    pub payloads: u64,
    /// Entries beside which something stood that was erased, as the log itself says.
    pub erased: u64,
    /// Entries beside which something stands that was not there to be looked at.
    pub payloads_unseen: u64,
    /// What is wrong, in the order of the log. Nothing means that the record is whole.
    pub findings: Vec<String>,
}

/// Takes the entries of a log one after the other.
pub struct Verifier {
    frontier: Frontier,
    /// The number that the next entry must have.
    next: u64,
    trusted: Vec<ServiceKey>,
    /// Not reached yet, the smallest last.
    ahead: Vec<Met>,
    met: Vec<Met>,
    rotations: Vec<Rotation>,
    payloads: u64,
    payloads_unseen: u64,
    /// First and last number of entries beside which nothing stands where something should.
    bare: Vec<[u64; 2]>,
    /// First and last number of entries of which an entry says that what stood beside them was erased.
    erased: Vec<[u64; 2]>,
    findings: Vec<String>,
    more_findings: usize,
}

/// What is known of what stands beside an entry.
#[derive(Clone, Copy, Debug)]
pub enum Beside<'a> {
    /// Nothing: whoever copied the entries left it away.
    Unseen,
    /// There is nothing.
    Nothing,
    Payload(&'a Payload),
}

/// One entry, looked at by itself: what needs no other entry, and may be done for many at once.
pub struct Looked {
    seq: u64,
    leaf: Digest,
    rotation: Option<Rotation>,
    erased: Vec<[u64; 2]>,
    is_bare: bool,
    is_unseen: bool,
    has_payload: bool,
    findings: Vec<String>,
}

/// A checkpoint that was given, and whether the entries lead to its root.
struct Met {
    name: String,
    signed: SignedCheckpoint,
    holds: bool,
}

/// What an entry says of the service's keys.
struct Rotation {
    seq: u64,
    keys: Vec<ServiceKey>,
    /// The keys sign no longer, where otherwise the first of them follows the second.
    is_end: bool,
}

impl Verifier {
    /// Starts at the first entry. `trusted` keys vouch for checkpoints, and so for the entries that name other keys.
    pub fn new(trusted: &[ServiceKey], given: impl IntoIterator<Item = GivenCheckpoint>) -> Self {
        let mut verifier = Self {
            frontier: Frontier::default(),
            next: 0,
            trusted: trusted.to_vec(),
            ahead: Vec::new(),
            met: Vec::new(),
            rotations: Vec::new(),
            payloads: 0,
            payloads_unseen: 0,
            bare: Vec::new(),
            erased: Vec::new(),
            findings: Vec::new(),
            more_findings: 0,
        };
        for GivenCheckpoint { name, note, size } in given {
            match SignedCheckpoint::read(&note) {
                Ok(signed) if size.is_none_or(|size| size == signed.checkpoint.size) => {
                    verifier.ahead.push(Met { name, signed, holds: false });
                }
                Ok(_) => verifier.find(format!("{name} was signed for other entries than it is kept for")),
                Err(error) => verifier.find(format!("{name} is not to be believed: {error}")),
            }
        }
        verifier.ahead.sort_by_key(|met| std::cmp::Reverse(met.signed.checkpoint.size));
        verifier
    }

    /// The next entry: its number, its text, the leaf hash that was kept with it, where one was, and what stands beside it.
    pub fn entry(&mut self, seq: u64, body: &str, stored: Option<Digest>, beside: Beside<'_>) {
        self.take(Looked::at(seq, body, stored, beside));
    }

    /// The next entry, after a look at it.
    pub fn take(&mut self, looked: Looked) {
        let seq = looked.seq;
        match self.next {
            next if seq > next => self.find(format!("entries {next} to {} are missing", seq.saturating_sub(1))),
            next if seq < next => self.find(format!("entry {seq} stands where {next} belongs")),
            _ => {}
        }
        self.next = seq.saturating_add(1);
        for finding in looked.findings {
            self.find(finding);
        }
        self.rotations.extend(looked.rotation);
        self.erased.extend(looked.erased);
        self.payloads = self.payloads.saturating_add(u64::from(looked.has_payload));
        self.payloads_unseen = self.payloads_unseen.saturating_add(u64::from(looked.is_unseen));
        if looked.is_bare {
            match self.bare.last_mut() {
                Some([_, last]) if last.saturating_add(1) == seq => *last = seq,
                _ => self.bare.push([seq, seq]),
            }
        }
        self.frontier.append(looked.leaf);
        while let Some(mut met) = self.ahead.pop_if(|ahead| ahead.signed.checkpoint.size <= self.frontier.size()) {
            let checkpoint = &met.signed.checkpoint;
            met.holds = checkpoint.size == self.frontier.size() && checkpoint.root == self.frontier.root();
            self.met.push(met);
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
        let (believed, findings) = self.believe();
        for finding in findings {
            self.find(finding);
        }
        let bare = std::mem::take(&mut self.bare);
        let (erased, gone) = split(&bare, std::mem::take(&mut self.erased));
        for [first, last] in gone {
            self.find(match first == last {
                true => format!("what stood beside entry {first} is gone, and no entry says that it was erased"),
                false => {
                    format!("what stood beside entries {first} to {last} is gone, and no entry says that it was erased")
                }
            });
        }
        while let Some(met) = self.ahead.pop() {
            self.find(match self.vouches(&met.signed) {
                Ok(()) => format!(
                    "{} was signed, and the log has only {entries} entries: the end was cut off, or an old copy put back",
                    met.name
                ),
                Err(error) => format!("{} is not to be believed: {error}", met.name),
            });
        }
        if self.more_findings > 0 {
            self.findings.push(format!("… and {} more", self.more_findings));
        }
        let (payloads, payloads_unseen) = (self.payloads, self.payloads_unseen);
        Verified { entries, checkpoints: believed, root, payloads, erased, payloads_unseen, findings: self.findings }
    }

    /// Learns keys from the entries that believed checkpoints cover, until nothing new is learnt; how many checkpoints
    /// are believed then, and what is wrong with those that are not or that the entries do not lead to.
    fn believe(&mut self) -> (u64, Vec<String>) {
        loop {
            let signed = self.met.iter().filter(|met| met.holds && self.vouches(&met.signed).is_ok());
            let covered = signed.map(|met| met.signed.checkpoint.size).max().unwrap_or(0);
            let named = self.rotations.iter().filter(|rotation| rotation.seq < covered && !rotation.is_end);
            // One of the two keys is known already: it vouches for the other.
            let linked = named.filter(|rotation| rotation.keys.iter().any(|key| self.trusted.contains(key)));
            let learnt: Vec<ServiceKey> =
                linked.flat_map(|rotation| &rotation.keys).filter(|key| !self.trusted.contains(key)).cloned().collect();
            if learnt.is_empty() {
                break;
            }
            self.trusted.extend(learnt);
        }
        let mut believed = 0_u64;
        let mut findings = Vec::new();
        for met in &self.met {
            match self.vouches(&met.signed) {
                Ok(()) => {
                    believed = believed.saturating_add(1);
                    if !met.holds {
                        let name = &met.name;
                        findings.push(format!("{name} was signed for other entries: some up to there changed since"));
                    }
                }
                Err(error) => findings.push(format!("{} is not to be believed: {error}", met.name)),
            }
        }
        (believed, findings)
    }

    /// Whether a trusted key signed it that had not been retired by then.
    fn vouches(&self, signed: &SignedCheckpoint) -> Result<(), NoteError> {
        let mut why = None;
        for key in &self.trusted {
            let size = signed.checkpoint.size;
            let ended = |one: &Rotation| one.is_end && one.keys.contains(key) && one.seq < size;
            let error = match signed.check(key) {
                Ok(()) if self.rotations.iter().any(ended) => NoteError::Retired,
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // That one key did not sign it says less than what is wrong with the signature of another.
            if matches!(why, None | Some(NoteError::Signer { .. })) {
                why = Some(error);
            }
        }
        Err(why.unwrap_or(NoteError::Signature))
    }
}

impl Looked {
    /// Number of the entry.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Hashes and reads an entry, and holds it against what stands beside it.
    pub fn at(seq: u64, body: &str, stored: Option<Digest>, beside: Beside<'_>) -> Self {
        let leaf = leaf_hash(body.as_bytes());
        let mut looked = Self {
            seq,
            leaf,
            rotation: None,
            erased: Vec::new(),
            is_bare: false,
            is_unseen: false,
            has_payload: false,
            findings: Vec::new(),
        };
        if let Some(stored) = stored.filter(|stored| *stored != leaf) {
            let (found, stored) = (leaf.short(), stored.short());
            looked.findings.push(format!("entry {seq} was changed: its text hashes to {found}, stored is {stored}"));
        }
        match serde_json::from_str::<AuditEntry>(body) {
            Ok(entry) => looked.read(&entry, beside),
            Err(error) => looked.findings.push(format!("entry {seq} is no entry that this version reads: {error}")),
        }
        looked
    }

    fn read(&mut self, entry: &AuditEntry, beside: Beside<'_>) {
        match entry.kind {
            EntryKind::KeyChanged => self.rotation = Some(Rotation::of(self.seq, entry)),
            EntryKind::PayloadsErased => self.erased.clone_from(&entry.erased),
            _ => {}
        }
        match beside {
            Beside::Unseen => self.is_unseen = entry.has_payload(),
            Beside::Nothing => self.is_bare = entry.has_payload(),
            Beside::Payload(payload) => {
                self.has_payload = true;
                for part in Part::ALL {
                    let said = entry.said_of(part);
                    let Some(misfit) = payload.misfit(part, said) else { continue };
                    let (seq, part, was, stands) = match part {
                        Part::Arguments => (self.seq, "arguments", "were", "stand arguments"),
                        Part::Result => (self.seq, "result", "was", "stands a result"),
                    };
                    self.findings.push(match misfit {
                        Misfit::Changed { found } => {
                            let said = said.and_then(|said| said.digest).map_or("nothing".to_owned(), |d| d.short());
                            let found = found.short();
                            format!("the {part} beside entry {seq} {was} edited: with the salt the hash is {found}, the entry says {said}")
                        }
                        Misfit::Missing => format!("the {part} beside entry {seq} {was} taken out"),
                        Misfit::Unnamed => format!("beside entry {seq} {stands} of which it says nothing"),
                    });
                }
            }
        }
    }
}

/// How many numbers of `bare` are in `erased`, and those that are not. All are pairs of the first and the last; those of
/// `bare` rise.
fn split(bare: &[[u64; 2]], mut erased: Vec<[u64; 2]>) -> (u64, Vec<[u64; 2]>) {
    erased.sort_unstable();
    let mut count = 0_u64;
    let mut gone = Vec::new();
    let mut rest = erased.iter().peekable();
    for [first, last] in bare {
        let mut at = *first;
        while at <= *last {
            while rest.next_if(|[_, end]| *end < at).is_some() {}
            let next = match rest.peek() {
                Some([begin, end]) if *begin <= at => {
                    let end = (*end).min(*last);
                    count = count.saturating_add(end.saturating_sub(at).saturating_add(1));
                    end
                }
                Some([begin, _]) if *begin <= *last => {
                    let end = begin.saturating_sub(1);
                    gone.push([at, end]);
                    end
                }
                _ => {
                    gone.push([at, *last]);
                    *last
                }
            };
            let Some(next) = next.checked_add(1) else { break };
            at = next;
        }
    }
    (count, gone)
}

impl Rotation {
    fn of(seq: u64, entry: &AuditEntry) -> Self {
        let keys = entry.keys.iter().filter_map(|key| key.parse().ok()).collect();
        Self { seq, keys, is_end: entry.status.as_deref() == Some(KEY_RETIRED) }
    }
}
