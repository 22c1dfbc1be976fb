//! Step 12: the log's signed head as C2SP writes it: a `tlog-checkpoint` in a `signed-note`, checked with the public key alone.
//!
//! ```text
//! holdpoint/3f2a9c01d7e4      the log's name
//! 1204                    how many entries
//! CsUYapGGPo4d…=          the root, in base64
//!
//! — holdpoint/3f2a9c01d7e4 az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
//! ```

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

use crate::approval::ServiceKey;
use crate::digest::{Digest, hex_encode};

#[cfg(test)]
mod tests;

/// Signature type of Ed25519 in a signed note.
const NOTE_ALGORITHM: u8 = 0x01;
/// How many hex digits of a key's digest name its log.
const KEY_ID_DIGITS: usize = 12;
/// Longest note that is read, in bytes.
const NOTE_BYTES_MAX: usize = 16_384;

/// The head of the log at one size, as somebody signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Digest,
}

/// The name of the log that a key signs: the first line of its checkpoints, and the name in their signature line.
pub fn origin(key: &ServiceKey) -> String {
    let mut id = hex_encode(Digest::of(key.as_bytes()).as_bytes());
    id.truncate(KEY_ID_DIGITS);
    format!("holdpoint/{id}")
}

/// The text that is signed.
pub fn checkpoint_text(checkpoint: &Checkpoint) -> String {
    format!("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size, STANDARD.encode(checkpoint.root.as_bytes()))
}

/// A whole note: `text`, an empty line, and the signature line of `name`. `signature` is 64 bytes over `text`.
pub fn write(name: &str, key: &ServiceKey, text: &str, signature: &[u8; 64]) -> String {
    let signed = [&key_hash(name, key)[..], signature].concat();
    format!("{text}\n— {name} {}\n", STANDARD.encode(signed))
}

/// The same note with the signature of a further key behind those that it has.
pub fn add_signature(note: &str, name: &str, key: &ServiceKey, signature: &[u8; 64]) -> String {
    let signed = [&key_hash(name, key)[..], signature].concat();
    format!("{note}— {name} {}\n", STANDARD.encode(signed))
}

/// Reads a note and checks that this key signed it.
pub fn read_checkpoint(note: &str, key: &ServiceKey) -> Result<Checkpoint, NoteError> {
    let signed = SignedCheckpoint::read(note)?;
    signed.check(key)?;
    Ok(signed.checkpoint)
}

/// A note as it was read: who signed it is still to be checked.
#[derive(Clone, Debug)]
pub struct SignedCheckpoint {
    pub checkpoint: Checkpoint,
    /// What was signed.
    text: String,
    /// Of the lines under the log's own name: hash of the key, and signature.
    signatures: Vec<([u8; 4], Signature)>,
}

impl SignedCheckpoint {
    /// Reads a note. Lines of other names, such as a witness's, are passed over.
    pub fn read(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(NoteError::Shape);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Shape)?;
        let text = format!("{text}\n");
        let checkpoint = parse(&text).ok_or(NoteError::Shape)?;
        let own = lines
            .lines()
            .filter_map(|line| line.strip_prefix("— ")?.strip_prefix(&checkpoint.origin)?.strip_prefix(' '));
        let signatures: Option<Vec<_>> = own
            .map(|line| {
                let signed = STANDARD.decode(line).ok()?;
                let (hash, signature) = signed.split_first_chunk::<4>()?;
                Some((*hash, Signature::from_slice(signature).ok()?))
            })
            .collect();
        Ok(Self { signatures: signatures.ok_or(NoteError::Shape)?, checkpoint, text })
    }

    /// Whether this key signed it.
    pub fn check(&self, key: &ServiceKey) -> Result<(), NoteError> {
        let hash = key_hash(&self.checkpoint.origin, key);
        let mut own = self.signatures.iter().filter(|(of, _)| *of == hash).peekable();
        if own.peek().is_none() {
            return Err(NoteError::Signer { expected: origin(key), found: self.checkpoint.origin.clone() });
        }
        let verifying = VerifyingKey::from_bytes(key.as_bytes()).map_err(|_| NoteError::Signature)?;
        let is_signed = own.any(|(_, signature)| verifying.verify_strict(self.text.as_bytes(), signature).is_ok());
        if is_signed { Ok(()) } else { Err(NoteError::Signature) }
    }
}

fn parse(text: &str) -> Option<Checkpoint> {
    let mut lines = text.lines();
    let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
    let size_text = lines.next()?;
    let size: u64 = size_text.parse().ok()?;
    let root = <[u8; 32]>::try_from(STANDARD.decode(lines.next()?).ok()?).ok()?;
    // One size has one spelling; what else the note may say is not ours.
    (size.to_string() == size_text && lines.next().is_none()).then(|| Checkpoint {
        origin,
        size,
        root: Digest::from_bytes(root),
    })
}

/// sha256(name ‖ line feed ‖ algorithm ‖ public key), its first four bytes.
fn key_hash(name: &str, key: &ServiceKey) -> [u8; 4] {
    let named = [name.as_bytes(), b"\n", &[NOTE_ALGORITHM], key.as_bytes()].concat();
    let [a, b, c, d, ..] = *Digest::of(&named).as_bytes();
    [a, b, c, d]
}

/// Why a note is not a checkpoint to go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// Not a checkpoint as a signed note.
    Shape,
    /// Signed by another key.
    Signer { expected: String, found: String },
    /// The signature is not this key's over this text.
    Signature,
    /// This key had been retired when the checkpoint was signed.
    Retired,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("this is no checkpoint: origin, size, root, an empty line, a signature line"),
            Self::Signer { expected, found } => {
                write!(
                    f,
                    "this key (of the log `{expected}`, unless it took another's place) has not signed it; it is of the log `{found}`"
                )
            }
            Self::Retired => f.write_str("it is signed by a key that had been retired by then"),
            Self::Signature => f.write_str("the signature is not this key's over this checkpoint"),
        }
    }
}

impl std::error::Error for NoteError {}
