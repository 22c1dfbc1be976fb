//! Step 3: the HTTP side of one request: what it says about its body, and the headers that repeat parts of the body.

use super::malformed::{Malformed, MalformedKind};
use super::method::Method;
use super::target::Target;
use crate::json::text;
use crate::order;

/// The head of one HTTP message as Envoy gives it: names lower-case, values as bytes, pseudo headers among them or not.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a [u8],
    /// Path with query.
    pub path: &'a [u8],
    pub headers: &'a [(Vec<u8>, Vec<u8>)],
}

/// Headers that repeat what the body says, and the legacy session.
#[derive(Clone, Debug, Default)]
pub(super) struct Routing<'a> {
    pub(super) version: Option<&'a str>,
    pub(super) method: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) mcp_session_id: Option<&'a str>,
    /// `mcp-param-…` headers, sorted by name.
    pub(super) params: Vec<(String, String)>,
}

/// Headers by which frameworks let a request say that it is another one: its method (method-override middleware), its
/// path (IIS and what imitates it).
const OVERRIDES: &[&str] =
    &["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];
/// The same in the query.
const METHOD_PARAMETER: &[u8] = b"_method=";

const PARAM_PREFIX: &[u8] = b"mcp-param-";
const SESSION_ID_CHARS_MAX: usize = 1024;
const EVENT_ID_CHARS_MAX: usize = 1024;

impl<'a> Head<'a> {
    /// Checks what must hold before the body can be read as JSON at all.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        if self.method != b"POST" {
            return Err(Malformed::new(MalformedKind::HttpMethod, "messages come by POST"));
        }
        self.refuse_overrides()?;
        let content_type = self.single("content-type", MalformedKind::ContentType)?;
        if !content_type.is_some_and(is_json) {
            let detail = "content-type must be `application/json`, with no parameter but `charset=utf-8`";
            return Err(Malformed::new(MalformedKind::ContentType, detail));
        }
        let encoding = self.single("content-encoding", MalformedKind::Encoding)?;
        if !encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity")) {
            return Err(Malformed::new(MalformedKind::Encoding, "send the body without content-encoding"));
        }
        Ok(())
    }

    /// Refuses what makes some servers take the message for one of another method or path than Envoy routed.
    pub(super) fn refuse_overrides(&self) -> Result<(), Malformed> {
        for (name, _) in self.headers {
            if let Some(name) = OVERRIDES.iter().find(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes())) {
                let detail = format!("header `{name}` lets a server run another request than this one; leave it out");
                return Err(Malformed::new(MalformedKind::Header, detail));
            }
        }
        let query = self.path.iter().position(|byte| *byte == b'?').and_then(|at| self.path.get(at..));
        let mut parameters = query.unwrap_or_default().split(|byte| matches!(byte, b'?' | b'&' | b';'));
        if parameters.any(|parameter| parameter.starts_with(METHOD_PARAMETER)) {
            let detail = "query parameter `_method` lets a server run another method than POST; leave it out";
            return Err(Malformed::new(MalformedKind::Header, detail));
        }
        Ok(())
    }

    /// Reads the headers that two readers could understand differently if they came twice.
    pub(super) fn routing(&self) -> Result<Routing<'a>, Malformed> {
        let kind = MalformedKind::Header;
        // One pass, and most headers are put aside by their length.
        let (mut length, mut host, mut version, mut method, mut name, mut mcp_session_id) =
            (None, None, None, None, None, None);
        for (one, value) in self.headers {
            let (wanted, slot) = match one.len() {
                4 => ("host", &mut host),
                8 => ("mcp-name", &mut name),
                10 if one.starts_with(b":") => (":authority", &mut host),
                10 => ("mcp-method", &mut method),
                14 if one.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'c')) => {
                    ("content-length", &mut length)
                }
                14 => ("mcp-session-id", &mut mcp_session_id),
                20 => ("mcp-protocol-version", &mut version),
                _ => continue,
            };
            if one.eq_ignore_ascii_case(wanted.as_bytes()) {
                once(wanted, value, slot, kind)?;
            }
        }
        if !mcp_session_id.is_none_or(|id| (1..=SESSION_ID_CHARS_MAX).contains(&id.len()) && !id.contains(' ')) {
            let detail = format!("mcp-session-id must be 1 to {SESSION_ID_CHARS_MAX} visible characters");
            return Err(Malformed::new(kind, detail));
        }
        Ok(Routing { version, method, name, mcp_session_id, params: self.param_headers()? })
    }

    /// The event after which a broken stream is to go on.
    pub(super) fn last_event_id(&self) -> Result<Option<&'a str>, Malformed> {
        let id = self.single("last-event-id", MalformedKind::Header)?;
        if id.is_none_or(|id| (1..=EVENT_ID_CHARS_MAX).contains(&id.len())) {
            return Ok(id);
        }
        let detail = format!("last-event-id must be 1 to {EVENT_ID_CHARS_MAX} printable characters");
        Err(Malformed::new(MalformedKind::Header, detail))
    }

    /// Whether some `accept` header takes an event stream.
    pub(super) fn accepts_events(&self) -> bool {
        let accepts = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"accept"));
        let mut ranges = accepts.flat_map(|(_, value)| value.split(|byte| *byte == b','));
        ranges.any(|range| {
            let essence = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            essence.eq_ignore_ascii_case(b"text/event-stream")
        })
    }

    /// The trimmed value of a header that may come once.
    fn single(&self, wanted: &str, kind: MalformedKind) -> Result<Option<&'a str>, Malformed> {
        let mut found = None;
        for (name, value) in self.headers {
            if name.eq_ignore_ascii_case(wanted.as_bytes()) {
                once(wanted, value, &mut found, kind)?;
            }
        }
        Ok(found)
    }

    fn param_headers(&self) -> Result<Vec<(String, String)>, Malformed> {
        let mut params: Vec<(String, String)> = Vec::new();
        for (name, value) in self.headers {
            let prefix = name.get(..PARAM_PREFIX.len()).unwrap_or_default();
            if !prefix.eq_ignore_ascii_case(PARAM_PREFIX) {
                continue;
            }
            let name = name.to_ascii_lowercase();
            let shown = text::excerpt(&String::from_utf8_lossy(&name));
            let (Ok(name), Some(value)) = (String::from_utf8(name), readable(value)) else {
                let detail = format!("header `{shown}` holds other than printable ASCII characters");
                return Err(Malformed::new(MalformedKind::Header, detail));
            };
            params.push((name, value.to_owned()));
        }
        let params = order::sorted(params, Ord::cmp);
        let repeated = params.iter().zip(params.iter().skip(1)).find(|(a, b)| a.0 == b.0);
        if let Some(((name, _), _)) = repeated {
            let detail = format!("header `{}` comes more than once; send it once", text::excerpt(name));
            return Err(Malformed::new(MalformedKind::Header, detail));
        }
        Ok(params)
    }
}

/// Takes the trimmed value of a header that may come once.
fn once<'a>(name: &str, value: &'a [u8], slot: &mut Option<&'a str>, kind: MalformedKind) -> Result<(), Malformed> {
    if slot.is_some() {
        return Err(Malformed::new(kind, format!("header `{name}` comes more than once; send it once")));
    }
    let value = readable(value)
        .ok_or_else(|| Malformed::new(kind, format!("header `{name}` holds other than printable ASCII characters")))?;
    *slot = Some(value);
    Ok(())
}

impl Routing<'_> {
    /// Refuses headers that disagree with the body. `required` says that the era wants them there; where it does not,
    /// only an honest client's equal ones pass.
    pub(super) fn agree(&self, method: Option<&Method>, target: &Target, required: bool) -> Result<(), Malformed> {
        let mismatch = |detail: &str| Err(Malformed::new(MalformedKind::Header, detail));
        match (self.method, method.map(Method::as_str)) {
            (Some(header), Some(body)) if header == body => {}
            (Some(_), _) => {
                return mismatch("header `mcp-method` differs from the body's `method`; make them equal");
            }
            (None, _) if required => {
                return mismatch("header `mcp-method` is missing; repeat the body's `method` in it");
            }
            (None, _) => {}
        }
        match (self.name, method.and_then(|method| target.in_name_header(method))) {
            (Some(header), Some((body, _))) if stands_for(header, body) => {}
            (Some(_), Some(_)) => mismatch("header `mcp-name` differs from what the body names; make them equal")?,
            (Some(_), None) => mismatch("header `mcp-name` is there, but the body names nothing for it; leave it out")?,
            (None, Some((_, true))) if required => {
                mismatch("header `mcp-name` is missing; repeat what the body names in it")?
            }
            (None, _) => {}
        }
        Ok(())
    }
}

/// Whether the header value, plain or as `=?base64?…?=`, stands for `body`. The body's text is encoded and compared, so
/// that sloppy base64, which decoders read differently, never matches.
pub(super) fn stands_for(header: &str, body: &str) -> bool {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => encoded == base64(body.as_bytes()),
        None => header == body,
    }
}

/// Base64 with the standard alphabet and padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for group in bytes.chunks(3) {
        let byte = |index| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for index in 0..4_usize {
            let shift = 18_usize.saturating_sub(index.saturating_mul(6));
            let digit = ALPHABET.get((bits >> shift) as usize & 63).copied().unwrap_or_default();
            encoded.push(if index > group.len() { '=' } else { char::from(digit) });
        }
    }
    encoded
}

fn is_json(content_type: &str) -> bool {
    // What nearly every client says.
    if content_type == "application/json" {
        return true;
    }
    let mut parts = content_type.split(';').map(|part| part.trim_matches([' ', '\t']));
    let is_utf8 = |part: &str| matches!(part.to_ascii_lowercase().as_str(), "charset=utf-8" | "charset=\"utf-8\"");
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) && parts.all(is_utf8)
}

/// The value without the white space around it, if it is printable ASCII.
fn readable(value: &[u8]) -> Option<&str> {
    let mut value = value;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    std::str::from_utf8(value).ok().filter(|_| value.iter().all(|byte| (0x20..0x7f).contains(byte)))
}
