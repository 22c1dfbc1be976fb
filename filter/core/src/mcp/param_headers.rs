//! Step 3: the `mcp-param-…` headers of a 2026-07-28 tool call. Each repeats one argument; which one, only the tool's
//! definition says.

use super::head::stands_for;
use super::malformed::{Malformed, MalformedKind};
use crate::json::{Kind, Value, text};

/// Refuses a header that repeats no argument at all: a server that reads the header would then act on what the body does
/// not say. Which argument a header is for is bound to the call by its digest, and is the server's to check.
pub(super) fn agree(headers: &[(String, String)], arguments: Option<Value<'_>>) -> Result<(), Malformed> {
    let stray = headers.iter().find(|(_, value)| !arguments.is_some_and(|arguments| is_said(arguments, value)));
    match stray {
        None => Ok(()),
        Some((name, _)) => {
            let detail = format!("header `{}` repeats no argument of the call; make them equal", text::excerpt(name));
            Err(Malformed::new(MalformedKind::Header, detail))
        }
    }
}

/// Whether the value stands anywhere in `arguments`, outside arrays: a header is for a property that is reached through
/// properties alone. Recurses at most as deep as the document's limit let it be.
fn is_said(arguments: Value<'_>, header: &str) -> bool {
    arguments.members().any(|(_, value)| match value.kind() {
        Kind::Object => is_said(value, header),
        Kind::String => value.as_str().is_some_and(|text| stands_for(header, &text)),
        Kind::Number => is_number(header, value.raw()),
        Kind::Bool => header == value.raw(),
        Kind::Null | Kind::Array => false,
    })
}

/// Numbers are compared as numbers: `42` and `42.0` are one.
fn is_number(header: &str, body: &str) -> bool {
    let is_json_number = header.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    header == body
        || (is_json_number
            && header.parse::<f64>().is_ok_and(|header| body.parse::<f64>().is_ok_and(|body| header == body)))
}
