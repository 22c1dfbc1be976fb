//! Step 12: one entry with the proof that a signed log holds it (C2SP `tlog-proof`): evidence that needs no service.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra eyJraW5kIjoi…        the entry's text, in base64
//! index 17                   its number in the log
//! CsUYapGGPo4d…=             the proof, one hash a line, from the leaf upwards
//!
//! holdpoint/3f2a9c01d7e4         the signed checkpoint that the proof leads to
//! …
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::leaf_hash;
use super::note::{self, Checkpoint, NoteError};
use super::proof::{self, ProofError};
use crate::approval::ServiceKey;
use crate::digest::Digest;

#[cfg(test)]
mod tests;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// Longest receipt that is read, in bytes: an entry of 65,535 bytes in base64, its proof and its checkpoint.
const RECEIPT_BYTES_MAX: usize = 131_072;

/// What a receipt says. Nothing of it is checked before [`Receipt::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The entry's text as it was hashed.
    pub body: String,
    pub index: u64,
    pub proof: Vec<Digest>,
    /// The checkpoint, as a signed note.
    pub checkpoint: String,
}

impl Receipt {
    /// Reads a receipt.
    pub fn read(text: &str) -> Result<Self, ReceiptError> {
        if text.len() > RECEIPT_BYTES_MAX {
            return Err(ReceiptError::Shape("it is too long"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ReceiptError::Shape("no empty line"))?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(ReceiptError::Shape("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let body = lines
            .next()
            .and_then(|line| STANDARD.decode(line.strip_prefix("extra ")?).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(ReceiptError::Shape("no `extra` line with the entry"))?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index ")?.parse().ok())
            .ok_or(ReceiptError::Shape("no `index` line"))?;
        let hash = |line: &str| {
            let bytes = STANDARD.decode(line).ok()?;
            <[u8; 32]>::try_from(bytes).ok().map(Digest::from_bytes)
        };
        let proof: Option<Vec<Digest>> = lines.take(proof::HASHES_MAX + 1).map(hash).collect();
        let proof = proof.ok_or(ReceiptError::Shape("a line of the proof is no hash"))?;
        Ok(Self { body, index, proof, checkpoint: checkpoint.to_owned() })
    }

    /// Checks signature and proof with the service's public key; the checkpoint that holds the entry.
    pub fn verify(&self, key: &ServiceKey) -> Result<Checkpoint, ReceiptError> {
        let checkpoint = note::read_checkpoint(&self.checkpoint, key).map_err(ReceiptError::Checkpoint)?;
        let leaf = leaf_hash(self.body.as_bytes());
        proof::verify_inclusion(leaf, self.index, checkpoint.size, checkpoint.root, &self.proof)
            .map_err(ReceiptError::Proof)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}\nindex {}", STANDARD.encode(&self.body), self.index)?;
        for hash in &self.proof {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiptError {
    /// Not a receipt.
    Shape(&'static str),
    Checkpoint(NoteError),
    Proof(ProofError),
}

impl fmt::Display for ReceiptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(what) => write!(f, "this is no receipt: {what}"),
            Self::Checkpoint(error) => error.fmt(f),
            Self::Proof(error) => write!(f, "the entry is not in the signed log: {error}"),
        }
    }
}

impl std::error::Error for ReceiptError {}
