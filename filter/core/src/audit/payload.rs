//! Step 12: what stands beside the record: arguments and result of a call, which its leaf names by salted digests.
//!
//! The leaf stays for ever. What stands beside it may be erased, and with its salt nobody can guess any more what it was.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::decision::{AuditLevel, OutputLimits, RedactionLevel};
use crate::digest::{self, Digest, HexError, hex_decode, hex_encode};
use crate::edits::Edits;
use crate::json::{self, Document};
use crate::redact::Redaction;

#[cfg(test)]
mod tests;

/// Longest text that is kept, in bytes; of a longer one the beginning is, and the entry says so.
pub const TEXT_BYTES_MAX: usize = 65_536;

const SALT_BYTES: usize = 16;

/// 128 random bits that stand in no leaf, so that a digest of few possible texts tells none of them. 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; SALT_BYTES]);

impl Salt {
    /// `bytes` are random, and used for one entry alone.
    pub const fn new(bytes: [u8; SALT_BYTES]) -> Self {
        Self(bytes)
    }

    /// sha256(tag of the part ‖ line feed ‖ salt ‖ `text`).
    pub fn digest(&self, part: Part, text: &str) -> Digest {
        Digest::tagged_all(part.tag(), &[&self.0, text.as_bytes()])
    }

    pub(super) fn push_hex(&self, out: &mut String) {
        digest::push_hex(out, &self.0);
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_encode(&self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

impl FromStr for Salt {
    type Err = SaltError;

    fn from_str(text: &str) -> Result<Self, SaltError> {
        let bytes = hex_decode(text).map_err(SaltError::Hex)?;
        <[u8; SALT_BYTES]>::try_from(bytes).map(Self).map_err(|_| SaltError::Length)
    }
}

/// Why a text is no salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaltError {
    Hex(HexError),
    Length,
}

impl fmt::Display for SaltError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hex(error) => error.fmt(f),
            Self::Length => f.write_str("a salt has 32 hex digits"),
        }
    }
}

impl std::error::Error for SaltError {}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl utoipa::PartialSchema for Salt {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, Type};
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9a-f]{32}$")).into()
    }
}

#[cfg(feature = "schema")]
impl utoipa::ToSchema for Salt {}

/// Which of the two texts of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Arguments,
    Result,
}

impl Part {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Arguments, Self::Result];

    /// The word in findings and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arguments => "arguments",
            Self::Result => "result",
        }
    }

    fn tag(self) -> &'static str {
        match self {
            Self::Arguments => "holdpoint/payload/arguments/v1",
            Self::Result => "holdpoint/payload/result/v1",
        }
    }
}

/// Why nothing of a text is kept that the policy would have let be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    /// Texts waited for the service, and there was no room for more.
    NoRoom,
    /// Too long to be digested or looked through.
    TooLong,
    /// No text that could be looked through for what is secret.
    Unreadable,
    /// What came with the entry was not what its digest names.
    Unfit,
}

impl Lost {
    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::TooLong => "too_long",
            Self::Unreadable => "unreadable",
            Self::Unfit => "unfit",
        }
    }
}

/// What the leaf says of one of the texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PayloadDigest {
    /// What is kept beside the leaf: with `digest` only the salt, else the text, `redacted` or in `full`.
    pub level: AuditLevel,
    /// Length of the whole text, in bytes.
    pub bytes: u64,
    /// With `digest` over salt and whole text, else over salt and the text as it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How many bytes are kept of a text that was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut_to_bytes: Option<u64>,
    /// Why nothing of it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Lost>,
}

impl PayloadDigest {
    /// Of a text of which nothing is kept.
    pub fn lost(level: AuditLevel, bytes: u64, lost: Lost) -> Self {
        Self { level, bytes, digest: None, cut_to_bytes: None, lost: Some(lost) }
    }

    /// Whether something stands beside the leaf unless it was erased.
    pub fn is_kept(&self) -> bool {
        self.digest.is_some() && self.lost.is_none()
    }

    /// Whether a text stands beside the leaf, and not only a salt.
    pub fn has_text(&self) -> bool {
        self.is_kept() && matches!(self.level, AuditLevel::Redacted | AuditLevel::Full)
    }
}

/// What stands beside one leaf. Its texts go nowhere but there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Payload {
    pub salt: Salt,
    /// JSON text of the arguments, as far as it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// Text of the result, as the client was given it, as far as it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Unix time in milliseconds when the service took it in, by the service's clock: from then on it is kept. 0 before.
    #[serde(skip)]
    pub kept_since_ms: u64,
}

impl fmt::Debug for Payload {
    /// Arguments may hold secrets, so only lengths are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("arguments", &self.arguments.as_ref().map(String::len))
            .field("result", &self.result.as_ref().map(String::len))
            .finish_non_exhaustive()
    }
}

impl Payload {
    /// With nothing but its salt.
    pub fn new(salt: Salt) -> Self {
        Self { salt, arguments: None, result: None, kept_since_ms: 0 }
    }

    /// Takes in a text as far as `level` lets it be kept; what the leaf says of it, if it says anything.
    pub fn keep(&mut self, part: Part, level: AuditLevel, text: &str) -> Option<PayloadDigest> {
        let bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let whole = match level {
            AuditLevel::Metadata => return None,
            AuditLevel::Digest => {
                let digest = Some(self.salt.digest(part, text));
                return Some(PayloadDigest { level, bytes, digest, cut_to_bytes: None, lost: None });
            }
            AuditLevel::Redacted => match redacted(text) {
                Some(text) => text,
                None => return Some(PayloadDigest::lost(level, bytes, Lost::Unreadable)),
            },
            AuditLevel::Full => text.to_owned(),
        };
        let kept = beginning(&whole, TEXT_BYTES_MAX);
        let is_cut = kept.len() < whole.len();
        let cut_to_bytes = is_cut.then(|| u64::try_from(kept.len()).unwrap_or(u64::MAX));
        let digest = Some(self.salt.digest(part, kept));
        *self.text_mut(part) = Some(kept.to_owned());
        Some(PayloadDigest { level, bytes, digest, cut_to_bytes, lost: None })
    }

    /// The text of a part, if there is one.
    pub fn text(&self, part: Part) -> Option<&str> {
        match part {
            Part::Arguments => self.arguments.as_deref(),
            Part::Result => self.result.as_deref(),
        }
    }

    fn text_mut(&mut self, part: Part) -> &mut Option<String> {
        match part {
            Part::Arguments => &mut self.arguments,
            Part::Result => &mut self.result,
        }
    }

    /// Takes the text of a part out.
    pub fn drop_text(&mut self, part: Part) {
        *self.text_mut(part) = None;
    }

    /// Bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        Part::ALL.into_iter().filter_map(|part| self.text(part)).fold(0, |sum, text| sum.saturating_add(text.len()))
    }

    /// How the text of a part differs from what the leaf says of it.
    pub fn misfit(&self, part: Part, said: Option<&PayloadDigest>) -> Option<Misfit> {
        let text = self.text(part);
        let Some(said) = said.filter(|said| said.has_text()) else {
            return text.map(|_| Misfit::Unnamed);
        };
        let Some(text) = text else { return Some(Misfit::Missing) };
        let found = self.salt.digest(part, text);
        let is_named = said.digest == Some(found) && text.len() <= TEXT_BYTES_MAX;
        (!is_named).then_some(Misfit::Changed { found })
    }
}

/// How a text is not the one that its leaf names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// The leaf speaks of no such text.
    Unnamed,
    /// The text that the leaf speaks of is not there.
    Missing,
    /// It, or its salt, is another one.
    Changed { found: Digest },
}

/// A JSON text without what is secret in it; nothing where it cannot be read and so cannot be looked through.
fn redacted(text: &str) -> Option<String> {
    let limits = json::Limits { depth_max: json::Limits::DEPTH_CEILING, ..json::Limits::default() };
    let document = Document::read(text.as_bytes().to_vec(), &limits).ok()?;
    let secrets = OutputLimits { redaction_level: RedactionLevel::Secrets, ..OutputLimits::default() };
    let mut edits = Edits::default();
    Redaction::new(&secrets).value(document.root(), &mut edits);
    String::from_utf8(edits.apply(document.bytes())?).ok()
}

/// The beginning of a text, not longer than `bytes_max`, up to the end of a character.
fn beginning(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}
