//! Step 12: recomputes the whole log from its entries and says exactly what is wrong where.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdpoint_core::audit::AuditEntry;
use holdpoint_core::audit::merkle::{Frontier, leaf_hash};
use holdpoint_core::digest::Digest;

use super::origin;
use crate::keys::ServiceSigner;
use crate::store::row::CheckpointRow;
use crate::store::{Store, StoreError};

/// Entries read at once.
const PAGE_MAX: u32 = 4_096;
/// Findings after which the rest is not worth printing.
const FINDINGS_MAX: usize = 100;

/// What a verification found.
#[derive(Debug)]
pub struct Verified {
    pub entries: u64,
    pub checkpoints: u64,
    /// The root that the entries have.
    pub root: Digest,
    /// What is wrong, in the order of the log. Nothing means that the record is whole.
    pub findings: Vec<String>,
}

/// Recomputes every leaf and the root, and holds them against the head and every signed checkpoint. `progress` hears
/// how many entries are done.
pub async fn verify(
    store: &dyn Store,
    signer: &ServiceSigner,
    mut progress: impl FnMut(u64),
) -> Result<Verified, StoreError> {
    // Read first: what is appended meanwhile comes after this head and is left for the next time.
    let head = store.head().await?;
    let size = head.frontier.size();
    let mut findings = Vec::new();
    let mut frontier = Frontier::default();
    let mut signed = checkpoints(store).await?.into_iter().peekable();
    let mut checkpoints = 0;
    let mut next = 0;
    while next < size {
        let page = store.entries(next, PAGE_MAX).await?;
        let Some(last) = page.last().map(|row| row.seq) else { break };
        for row in page {
            if row.seq >= size {
                break;
            }
            if row.seq != next {
                findings.push(format!("entries {next} to {} are missing", row.seq - 1));
            }
            next = row.seq + 1;
            let leaf = leaf_hash(row.body.as_bytes());
            if leaf != row.leaf_hash {
                findings.push(format!(
                    "entry {} was changed: its text hashes to {}, stored is {}",
                    row.seq,
                    leaf.short(),
                    row.leaf_hash.short()
                ));
            }
            if let Err(error) = serde_json::from_str::<AuditEntry>(&row.body) {
                findings.push(format!("entry {} is no entry that this version reads: {error}", row.seq));
            }
            frontier.append(leaf);
            while let Some(checkpoint) = signed.next_if(|checkpoint| checkpoint.size <= frontier.size()) {
                checkpoints += 1;
                findings.extend(check_note(signer, &checkpoint, &frontier));
            }
        }
        next = next.max(last + 1);
        progress(next.min(size));
    }
    if frontier.size() < size {
        findings.push(format!("the log's head counts {size} entries, only {} are there", frontier.size()));
    }
    if frontier.root() != head.root {
        findings.push(format!(
            "the entries have the root {}, the log's head says {}",
            frontier.root().short(),
            head.root.short()
        ));
    }
    for checkpoint in signed {
        // One that was signed while this ran is about entries that were not read.
        if checkpoint.size <= size || store.head().await?.frontier.size() < checkpoint.size {
            findings.push(format!(
                "checkpoint {} was signed, and the log has only {} entries: the end was cut off, or an old copy put back",
                checkpoint.size,
                frontier.size()
            ));
        }
    }
    let surplus = store.entries(store.head().await?.frontier.size(), 1).await?;
    if let Some(row) = surplus.first() {
        findings.push(format!("entry {} was slipped in behind the log's head", row.seq));
    }
    if findings.len() > FINDINGS_MAX {
        let more = findings.len() - FINDINGS_MAX;
        findings.truncate(FINDINGS_MAX);
        findings.push(format!("… and {more} more"));
    }
    Ok(Verified { entries: frontier.size(), checkpoints, root: frontier.root(), findings })
}

async fn checkpoints(store: &dyn Store) -> Result<Vec<CheckpointRow>, StoreError> {
    let mut all: Vec<CheckpointRow> = Vec::new();
    loop {
        let after = all.last().map_or(0, |checkpoint| checkpoint.size);
        let page = store.checkpoints(after, PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// What is wrong with a checkpoint, given the entries up to its size.
fn check_note(signer: &ServiceSigner, checkpoint: &CheckpointRow, frontier: &Frontier) -> Option<String> {
    let size = checkpoint.size;
    let name = origin(signer);
    let Some((text, signature)) = split_note(&checkpoint.note, &name) else {
        return Some(format!("checkpoint {size} is not a note of this service's key `{name}`"));
    };
    if !signer.verifies_note(&name, text, &signature) {
        return Some(format!("checkpoint {size} is not signed by this service's key"));
    }
    let expected = format!("{name}\n{size}\n{}\n", STANDARD.encode(frontier.root().as_bytes()));
    if frontier.size() != size || text != expected {
        return Some(format!("checkpoint {size} was signed for other entries: some up to there changed since"));
    }
    None
}

/// The signed text of a note, and the signature of `name`.
fn split_note<'a>(note: &'a str, name: &str) -> Option<(&'a str, Vec<u8>)> {
    let at = note.find("\n\n")? + 1;
    let (text, signatures) = (note.get(..at)?, note.get(at + 1..)?);
    let line = signatures.lines().find_map(|line| line.strip_prefix("— ")?.strip_prefix(name)?.strip_prefix(' '))?;
    Some((text, STANDARD.decode(line).ok()?))
}
