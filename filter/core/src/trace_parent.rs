//! Steps 3 and 10: the W3C trace context of a call, which ties its entries to the client's trace and the server's.

use std::fmt;

use crate::digest::{Digest, hex_encode};

/// `part` of the spans below a call: what the server does.
pub const UPSTREAM_SPAN: &str = "upstream";
/// `part` of the spans below a call: that it waits for people.
pub const HOLD_SPAN: &str = "hold";

/// A `traceparent` of version 00 (W3C Trace Context, section 3.2): which trace, and which span of it is the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// 32 hex digits in lower case, not all zero.
    pub trace_id: String,
    /// 16 hex digits in lower case, not all zero.
    pub span_id: String,
    /// Whether the caller says that it records this trace.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the header's value, or `params._meta.traceparent`. `None` for what the standard has receivers ignore. A
    /// later version may carry more behind the flags.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|byte| byte != b'0');
        let is_known = version != "00" || parts.next().is_none();
        let is_whole = is_hex(version, 2) && version != "ff" && is_hex(flags, 2) && is_known;
        if !is_whole || !is_id(trace_id, 32) || !is_id(span_id, 16) {
            return None;
        }
        let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        Some(Self { trace_id: trace_id.to_owned(), span_id: span_id.to_owned(), is_sampled })
    }
}

/// The id of a span below the one of a call, 16 hex digits. The filter tells it to whoever it asks, and the service, which
/// sees entries only, names the same span alike.
pub fn span_below(span_id: &str, part: &str) -> String {
    let digest = Digest::tagged("holdpoint/span/v1", format!("{span_id} {part}").as_bytes());
    hex_encode(digest.as_bytes().split_at(8).0)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.is_sampled { "01" } else { "00" };
        write!(f, "00-{}-{}-{flags}", self.trace_id, self.span_id)
    }
}

#[cfg(test)]
mod tests {
    //! What the standard allows is read, and nothing else.

    use super::*;

    #[test]
    fn the_example_of_the_standard_is_read_and_written_again() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = TraceParent::parse(text).unwrap();
        assert_eq!((parent.trace_id.as_str(), parent.is_sampled), ("0af7651916cd43dd8448eb211c80319c", true));
        assert_eq!(parent.to_string(), text);
        assert!(TraceParent::parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more").is_some());
    }

    #[test]
    fn what_receivers_must_ignore_is_no_parent() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
