//! Step 5: the one text of a call, whose digest approvals are looked up and bound by.

use std::collections::BTreeSet;

use super::Call;
use crate::json::canonical::{self, ObjectWriter};
use crate::order;

/// Parts of `params` that do not change what a call does. `requestState` and `inputResponses` do: they are the server's
/// own rounds with its caller, and what people did not see they have not approved.
const LEFT_OUT: [&str; 2] = ["_meta", "task"];

/// How the names of those headers begin with which a 2026-07-28 client repeats arguments; always bound, because a
/// server may read the argument there.
const PARAM_HEADER_PREFIX: &str = "mcp-param-";

/// Canonical JSON of `{agent, headers, issuer, method, params, path, server, subject, tenant}`; absent parts are null.
///
/// `headers` has every header that the catalogue binds, and every `mcp-param-*` that came: a list of its values in
/// their order, or null when it did not come. A value that is not UTF-8 is an object `{"hex": …}`, which no text can
/// be mistaken for.
pub(super) fn write(call: &Call, server: &str, bind_headers: &BTreeSet<String>) -> String {
    let principal = &call.principal;
    let writer = ObjectWriter::new()
        .fragment("headers", headers(call, bind_headers))
        .string("issuer", &principal.issuer)
        .string("method", call.message.method().as_str())
        .fragment("params", params(call))
        .string("path", &call.route.path)
        .string("server", server)
        .string("subject", &principal.subject);
    let writer = text_or_null(writer, "agent", principal.agent_id.as_deref());
    text_or_null(writer, "tenant", principal.tenant.as_deref()).finish()
}

fn params(call: &Call) -> String {
    let mut text = String::new();
    match call.message.params() {
        Some(params) => canonical::write_where(params, |key| !LEFT_OUT.contains(&key), &mut text),
        None => text.push_str("null"),
    }
    text
}

fn headers(call: &Call, bind_headers: &BTreeSet<String>) -> String {
    let came = call.headers.iter().map(|(name, _)| name).filter(|name| name.starts_with(PARAM_HEADER_PREFIX));
    let names: BTreeSet<&String> = order::set(bind_headers.iter().chain(came));
    let each = names.into_iter().fold(ObjectWriter::new(), |writer, name| {
        let values: Vec<String> =
            call.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| header_value(value)).collect();
        let text = if values.is_empty() { "null".to_owned() } else { format!("[{}]", values.join(",")) };
        writer.fragment(name.clone(), text)
    });
    each.finish()
}

fn header_value(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) => {
            let mut literal = String::new();
            canonical::string(text, &mut literal);
            literal
        }
        Err(_) => ObjectWriter::new().string("hex", &crate::digest::hex_encode(value)).finish(),
    }
}

fn text_or_null(writer: ObjectWriter, key: &'static str, text: Option<&str>) -> ObjectWriter {
    match text {
        Some(text) => writer.string(key, text),
        None => writer.fragment(key, "null".to_owned()),
    }
}
