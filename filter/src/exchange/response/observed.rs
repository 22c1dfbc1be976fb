//! Step 12: what was seen of one answer, and what that says about the call.

use holdpoint_core::audit::Outcome;
use holdpoint_core::mcp::answer::Answer;

use crate::exchange::beside::RESULT_BYTES_MAX;
use crate::exchange::{InPlace, ResponseHead};

/// How much of an answer that is not read whole is kept to tell a result from an error; of a longer one only the status
/// counts.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Most messages that the record tells of which did not reach the client.
const DENIED_MAX: usize = 8;

#[derive(Default)]
pub(super) struct Observed {
    pub(super) head: Option<ResponseHead>,
    /// As they came from the server.
    pub(super) bytes: u64,
    pub(super) is_complete: bool,
    /// The filter ended it before the server did.
    pub(super) was_cut: bool,
    /// What the last message said that answered something.
    says_error: Option<bool>,
    hidden: u32,
    redacted: usize,
    denied: Vec<String>,
    kept: Vec<u8>,
    kept_overflowed: bool,
    result: Delivered,
}

/// What the client was given as the answer to its call, for the record.
#[derive(Default)]
struct Delivered {
    /// Longer ones are not remembered; 0 where none is.
    bytes_max: usize,
    bytes: Vec<u8>,
    /// Of all of it.
    length: usize,
    is_whole: bool,
}

impl Observed {
    /// Remembers results up to that length.
    pub(super) fn keeping(result_bytes_max: usize) -> Self {
        let result = Delivered { bytes_max: result_bytes_max, ..Delivered::default() };
        Self { result, ..Self::default() }
    }

    /// Whether an answer of that length is worth reading for the record's sake.
    pub(super) fn keeps(&self, length: usize) -> bool {
        let bytes_max = self.result.bytes_max;
        bytes_max > 0 && (length <= bytes_max || bytes_max == RESULT_BYTES_MAX)
    }

    /// This goes on to the client, as the answer.
    pub(super) fn deliver(&mut self, text: &[u8]) {
        self.withhold();
        self.pass(text);
        self.result.is_whole = true;
    }

    /// The answer does not go on.
    pub(super) fn withhold(&mut self) {
        self.result = Delivered { bytes_max: self.result.bytes_max, ..Delivered::default() };
    }

    /// A part of the answer goes on as it came.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let result = &mut self.result;
        result.length = result.length.saturating_add(bytes.len());
        if result.length <= result.bytes_max {
            result.bytes.extend_from_slice(bytes);
        } else {
            result.bytes = Vec::new();
        }
    }

    /// All of it has gone on in parts.
    pub(super) fn passed(&mut self) {
        // Of what nobody looked at only the length is known.
        if !self.result.is_whole && u64::try_from(self.result.length) == Ok(self.bytes) {
            self.result.is_whole = true;
        }
    }

    /// The answer as the client was given it; only its length where it is longer than what is remembered. Nothing where it
    /// was not given it whole.
    pub(super) fn take_result(&mut self) -> Option<Result<Vec<u8>, usize>> {
        let Delivered { bytes_max, bytes, length, is_whole } = std::mem::take(&mut self.result);
        (is_whole && bytes_max > 0 && length > 0).then_some(if length <= bytes_max { Ok(bytes) } else { Err(length) })
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if self.kept_overflowed {
            return;
        }
        if self.kept.len().saturating_add(bytes.len()) > KEPT_BYTES_MAX {
            self.kept_overflowed = true;
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(bytes);
        }
    }

    pub(super) fn note_message(&mut self, answer: &Answer) {
        if answer.is_response() {
            self.says_error = Some(answer.says_error());
        }
    }

    pub(super) fn note_changes(&mut self, hidden: u32, redacted: usize) {
        self.hidden = self.hidden.saturating_add(hidden);
        self.redacted = self.redacted.saturating_add(redacted);
    }

    pub(super) fn note_denied(&mut self, method: &str, rule_id: &str) {
        if self.denied.len() < DENIED_MAX {
            self.denied.push(format!("`{method}` denied by `{rule_id}`"));
        }
    }

    /// A message did not reach the client; `sentence` is what it read instead.
    pub(super) fn note_withheld(&mut self, sentence: String) {
        if self.denied.len() < DENIED_MAX {
            self.denied.push(sentence);
        }
    }

    /// Whether a message was seen that answers something.
    pub(super) fn has_answer(&self) -> bool {
        self.says_error.is_some()
    }

    pub(super) fn outcome(&self) -> Outcome {
        let Some(head) = self.head else { return Outcome::Unknown };
        let kept = || {
            let answer = Answer::read(self.kept.clone()).ok()?;
            answer.is_response().then(|| answer.says_error())
        };
        match head.status {
            _ if head.in_place == Some(InPlace::NotReached) => Outcome::Refused,
            // Envoy answers 502 to 504 itself when the server broke off; only the server knows how far it came.
            502..=504 => Outcome::Unknown,
            400.. => Outcome::Failed,
            // Modern clients close an event stream as soon as they have their answer: what counts is that it was whole.
            _ => match self.says_error.or_else(kept) {
                Some(true) => Outcome::Failed,
                Some(false) => Outcome::Committed,
                None if self.is_complete && !self.was_cut => Outcome::Committed,
                None => Outcome::Unknown,
            },
        }
    }

    /// What was done to the answer, in words.
    pub(super) fn detail(&self) -> Option<String> {
        let mut words = self.denied.clone();
        if self.hidden > 0 {
            words.push(format!("{} entries hidden", self.hidden));
        }
        if self.redacted > 0 {
            words.push(format!("{} texts redacted", self.redacted));
        }
        match self.head.and_then(|head| head.in_place) {
            Some(InPlace::TimedOut) => words.push("Envoy gave up waiting for the server".to_owned()),
            Some(InPlace::BrokeOff) => words.push("the server broke off before it answered".to_owned()),
            Some(InPlace::NotReached) => words.push("the server could not be reached".to_owned()),
            None => {}
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}
