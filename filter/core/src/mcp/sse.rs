//! Step 11: splits a stream of Server-Sent Events into its events, piece by piece, without losing a byte.
//!
//! An event is handed on with the very bytes that made it, as soon as the blank line that ends it is there, so that
//! what is not changed passes untouched and nothing waits longer than it takes to judge it. Lines end in LF, CR or
//! CRLF, one byte order mark may stand at the start (WHATWG HTML, "Server-sent events").

use std::fmt;

#[cfg(test)]
mod tests;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BLOCK_BYTES: usize = 32;

/// One event, or a run of comments that ends in a blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    raw: Vec<u8>,
    /// Only the first event of a stream may carry a byte order mark.
    is_first: bool,
}

/// An event is longer than the limit: the stream cannot be judged any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLong {
    pub event_bytes_max: usize,
}

impl fmt::Display for EventTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one event of the answer has more than {} bytes", self.event_bytes_max)
    }
}

impl std::error::Error for EventTooLong {}

/// Takes the pieces of one stream.
#[derive(Debug)]
pub struct Splitter {
    event_bytes_max: usize,
    /// Bytes of the event that has not ended yet.
    open: Vec<u8>,
    /// How much of `open` has been looked at.
    seen: usize,
    line_is_empty: bool,
    /// The last byte looked at was a CR: an LF that follows belongs to it.
    after_cr: bool,
    at_start: bool,
    is_first: bool,
}

impl Splitter {
    /// A splitter that keeps at most `event_bytes_max` bytes.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            event_bytes_max,
            open: Vec::new(),
            seen: 0,
            line_is_empty: true,
            after_cr: false,
            at_start: true,
            is_first: true,
        }
    }

    /// Takes the next piece; answers with the events that are whole now, which may be none.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, EventTooLong> {
        self.open.extend_from_slice(piece);
        let mut events = Vec::new();
        while let Some(end) = self.end_of_event() {
            let rest = self.open.split_off(end);
            let raw = std::mem::replace(&mut self.open, rest);
            self.seen = 0;
            if raw.len() > self.event_bytes_max {
                return Err(EventTooLong { event_bytes_max: self.event_bytes_max });
            }
            events.push(Event { raw, is_first: std::mem::take(&mut self.is_first) });
        }
        if self.open.len() > self.event_bytes_max {
            return Err(EventTooLong { event_bytes_max: self.event_bytes_max });
        }
        Ok(events)
    }

    /// What is left when the stream ends without a blank line. The standard drops it, some clients do not: it has to
    /// be judged like any other.
    pub fn finish(&mut self) -> Option<Event> {
        let raw = std::mem::take(&mut self.open);
        self.seen = 0;
        (!raw.is_empty()).then_some(Event { raw, is_first: std::mem::take(&mut self.is_first) })
    }

    /// The end of the first event in `open`, if it is there.
    fn end_of_event(&mut self) -> Option<usize> {
        if self.at_start {
            // Until it is clear whether a byte order mark opens the stream, nothing can be a blank line.
            if self.open.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.open) {
                return None;
            }
            self.at_start = false;
            if self.open.starts_with(BYTE_ORDER_MARK) {
                self.seen = BYTE_ORDER_MARK.len();
            }
        }
        if self.after_cr && self.seen < self.open.len() {
            self.after_cr = false;
            if self.open.get(self.seen) == Some(&b'\n') {
                self.seen = self.seen.saturating_add(1);
            }
        }
        loop {
            let rest = self.open.get(self.seen..).unwrap_or_default();
            let Some(plain) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.line_is_empty &= rest.is_empty();
                self.seen = self.open.len();
                return None;
            };
            let is_blank = self.line_is_empty && plain == 0;
            let is_cr = rest.get(plain) == Some(&b'\r');
            self.line_is_empty = true;
            self.seen = self.seen.saturating_add(plain).saturating_add(1);
            if is_cr {
                match self.open.get(self.seen) {
                    Some(b'\n') => self.seen = self.seen.saturating_add(1),
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            if is_blank {
                return Some(self.seen);
            }
        }
    }
}

impl Event {
    /// Every byte of it, its blank line included.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Every byte of it, its blank line included.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// The same event, with no line ends in it but the standard's. Some readers split at every line end that Unicode has,
    /// and would find lines, and whole events, where others see the inside of a string or of a comment. In JSON the escape
    /// is the same text, and control characters stand nowhere.
    #[must_use]
    pub fn for_every_reader(self) -> Self {
        // In blocks, for which a processor with vectors has a few comparisons: nearly all texts have none.
        let (blocks, rest) = self.raw.as_chunks::<BLOCK_BYTES>();
        let is_plain =
            |block: &[u8; BLOCK_BYTES]| block.iter().fold(0, |any, byte| any | u8::from(may_end_line(*byte))) == 0;
        if blocks.iter().all(is_plain) && !rest.iter().any(|byte| may_end_line(*byte)) {
            return self;
        }
        let mut raw = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw.as_slice();
        if let Some(after) = self.after_mark() {
            raw.extend_from_slice(BYTE_ORDER_MARK);
            rest = after;
        }
        let mut begins_line = true;
        while let [byte, after @ ..] = rest {
            let is_at_start = std::mem::replace(&mut begins_line, matches!(byte, b'\n' | b'\r'));
            rest = match rest {
                // A mark that does not open the stream makes its line one of no known field. Were the lines before it taken
                // away, it would open the stream, and its line would count: as a comment it says nothing to anybody,
                // wherever it stands.
                [0xef, 0xbb, 0xbf, tail @ ..] if is_at_start => {
                    raw.push(b':');
                    tail
                }
                [0x0b | 0x0c | 0x1c..=0x1e, tail @ ..] => {
                    raw.push(b' ');
                    tail
                }
                [0xc2, 0x85, tail @ ..] => {
                    raw.extend_from_slice(b"\\u0085");
                    tail
                }
                [0xe2, 0x80, 0xa8, tail @ ..] => {
                    raw.extend_from_slice(b"\\u2028");
                    tail
                }
                [0xe2, 0x80, 0xa9, tail @ ..] => {
                    raw.extend_from_slice(b"\\u2029");
                    tail
                }
                _ => {
                    raw.push(*byte);
                    after
                }
            };
        }
        Self { raw, ..self }
    }

    /// The same event without its `id`.
    #[must_use]
    pub fn without_id(self) -> Self {
        let is_id = |line: &[u8]| line == b"id" || line.starts_with(b"id:");
        if !self.lines().any(is_id) {
            return self;
        }
        let mut raw = Vec::with_capacity(self.raw.len());
        // Without it, a second one behind it would open the stream.
        if self.after_mark().is_some() {
            raw.extend_from_slice(BYTE_ORDER_MARK);
        }
        for line in self.lines().filter(|line| !is_id(line)) {
            // With the line before it gone, its mark could come to open the stream: as a comment it cannot.
            let comment = line.strip_prefix(BYTE_ORDER_MARK);
            raw.extend(comment.map(|_| b':'));
            raw.extend_from_slice(comment.unwrap_or(line));
            raw.push(b'\n');
        }
        Self { raw, ..self }
    }

    /// Every id that a client might ask by for what follows this event, without the white space around it: the last one
    /// counts, for those who read the standard.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.lines().filter_map(|line| match line.strip_prefix(b"id")? {
            [] => Some(&[][..]),
            [b':', value @ ..] => Some(value.trim_ascii()),
            _ => None,
        })
    }

    /// The data: its lines joined by LF. `None` when there is none, or nothing in it: no client makes a message of that.
    pub fn data(&self) -> Option<Vec<u8>> {
        let mut lines = self.lines().filter_map(data_of);
        let mut data = lines.next()?.to_vec();
        for line in lines {
            data.push(b'\n');
            data.extend_from_slice(line);
        }
        (!data.is_empty()).then_some(data)
    }

    /// The same event with other data: id, type, retry and comments stay where they are.
    pub fn with_data(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len().saturating_add(data.len()));
        let mut written = false;
        for line in self.lines() {
            if line.is_empty() {
                continue;
            }
            if data_of(line).is_none() {
                out.extend_from_slice(line);
                out.push(b'\n');
            } else if !written {
                written = true;
                write_data(data, &mut out);
            }
        }
        out.push(b'\n');
        out
    }

    /// What stands behind the mark that opens the stream, if this event does and has one.
    fn after_mark(&self) -> Option<&[u8]> {
        self.raw.strip_prefix(BYTE_ORDER_MARK).filter(|_| self.is_first)
    }

    /// Its lines without their ends, and without the mark that may open a stream.
    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.after_mark().unwrap_or(&self.raw);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, tail) = rest.split_at_checked(end)?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] | [b'\r' | b'\n', tail @ ..] => tail,
                tail => tail,
            };
            Some(line)
        })
    }
}

/// A new event of type `message` with `data`.
pub fn message(data: &[u8]) -> Vec<u8> {
    let mut out = b"event: message\n".to_vec();
    write_data(data, &mut out);
    out.push(b'\n');
    out
}

/// Whether some reader may end a line at it, or at the character that it begins, where the standard does not.
#[inline(always)]
fn may_end_line(byte: u8) -> bool {
    (byte.wrapping_sub(0x0b) < 2) | (byte.wrapping_sub(0x1c) < 3) | (byte == 0xc2) | (byte == 0xe2) | (byte == 0xef)
}

/// The value of a `data` line.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// One `data` line for each line of `data`: a line end inside JSON stands between tokens, never in a string.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
}
