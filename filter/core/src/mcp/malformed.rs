//! Step 3: why a message was refused before any rule saw it, with what its answer needs.

use std::fmt;

use super::era::Era;
use crate::json::ReadError;

/// A message that cannot be read in one way only, or that breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// HTTP status of the answer, as the message's era wants it.
    pub status: u16,
    /// JSON-RPC error code of the answer.
    pub code: i32,
    /// What is wrong and what to do, lower-case. Text of the sender is escaped and shortened in it.
    pub detail: String,
    /// Raw JSON text of the message's id, where it could be read without doubt.
    pub id: Option<String>,
    /// The message's era, where it was known by then.
    pub era: Option<Era>,
    /// Which wall it ran into.
    pub kind: MalformedKind,
    /// The version in its envelope, shortened, where that is what nobody knows: the answer repeats it.
    pub requested_version: Option<String>,
}

/// Which wall a message ran into; a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MalformedKind {
    /// Not a POST.
    HttpMethod,
    /// Not `application/json`.
    ContentType,
    /// Compressed or otherwise encoded.
    Encoding,
    /// A header is repeated, unreadable or disagrees with the body.
    Header,
    /// Not JSON, or more of it than allowed.
    Json,
    /// A key stands twice in one object.
    DuplicateKey,
    /// A key that some readers take for a key of the protocol.
    NearKey,
    /// An array of messages.
    Batch,
    /// Not a JSON-RPC message of this era.
    Envelope,
    /// A protocol version that is not known.
    Version,
    /// Parameters that the method does not allow.
    Params,
}

impl MalformedKind {
    /// The label in metrics and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpMethod => "http_method",
            Self::ContentType => "content_type",
            Self::Encoding => "encoding",
            Self::Header => "header",
            Self::Json => "json",
            Self::DuplicateKey => "duplicate_key",
            Self::NearKey => "near_key",
            Self::Batch => "batch",
            Self::Envelope => "envelope",
            Self::Version => "version",
            Self::Params => "params",
        }
    }

    /// HTTP status and JSON-RPC code before the era changes them.
    fn answer(self) -> (u16, i32) {
        match self {
            Self::HttpMethod => (405, INVALID_REQUEST),
            Self::ContentType | Self::Encoding => (415, INVALID_REQUEST),
            Self::Json => (400, PARSE_ERROR),
            Self::Header | Self::DuplicateKey | Self::NearKey | Self::Batch | Self::Envelope | Self::Version => {
                (400, INVALID_REQUEST)
            }
            Self::Params => (400, INVALID_PARAMS),
        }
    }
}

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const INVALID_PARAMS: i32 = -32_602;
const HEADER_MISMATCH: i32 = -32_020;
const UNSUPPORTED_VERSION: i32 = -32_022;

impl Malformed {
    /// A message refused before its id and era were known.
    pub(super) fn new(kind: MalformedKind, detail: impl Into<String>) -> Self {
        let (status, code) = kind.answer();
        Self { status, code, detail: detail.into(), id: None, era: None, kind, requested_version: None }
    }

    pub(super) fn json(error: &ReadError) -> Self {
        let kind = match error {
            ReadError::DuplicateKey { .. } => MalformedKind::DuplicateKey,
            ReadError::SpecialKey { .. } => MalformedKind::NearKey,
            ReadError::ByteOrderMark
            | ReadError::TooLarge { .. }
            | ReadError::NotUtf8 { .. }
            | ReadError::Unexpected { .. }
            | ReadError::ControlCharacter { .. }
            | ReadError::Escape { .. }
            | ReadError::LoneSurrogate { .. }
            | ReadError::Number { .. }
            | ReadError::NumberTooLong { .. }
            | ReadError::NumberTooLarge { .. }
            | ReadError::TooDeep { .. }
            | ReadError::TooManyNodes { .. }
            | ReadError::TrailingBytes { .. } => MalformedKind::Json,
        };
        Self::new(kind, error.to_string())
    }

    /// The same, answered under the message's id.
    pub(super) fn with_id(self, id: Option<&str>) -> Self {
        Self { id: id.map(str::to_owned), ..self }
    }

    /// The same, answered as the era wants it.
    pub(super) fn with_era(mut self, era: Era) -> Self {
        self.era = Some(era);
        if era.is_modern() {
            match self.kind {
                MalformedKind::Header => self.code = HEADER_MISMATCH,
                MalformedKind::Version => self.code = UNSUPPORTED_VERSION,
                MalformedKind::HttpMethod
                | MalformedKind::ContentType
                | MalformedKind::Encoding
                | MalformedKind::Json
                | MalformedKind::DuplicateKey
                | MalformedKind::NearKey
                | MalformedKind::Batch
                | MalformedKind::Envelope
                | MalformedKind::Params => {}
            }
        } else if self.kind == MalformedKind::Params && self.id.is_some() {
            // Up to 2025-11-25 an error of the method rides on 200; some clients give up their connection on a 400.
            self.status = 200;
        }
        self
    }

    /// The same, with the code for parameters: an envelope in `params._meta` that cannot be read is one of them.
    pub(super) fn with_params_code(self) -> Self {
        Self { code: INVALID_PARAMS, ..self }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl std::error::Error for Malformed {}
