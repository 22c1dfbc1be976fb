//! What Envoy knows of a request: headers, route, cluster, dynamic metadata, node.

use holdpoint_core::digest::Digest;

use super::abi::{self, HostError};
use super::pairs::{self, Pairs};
use crate::enforce::HeaderEdit;
use crate::exchange::{AnswerFormat, InPlace, ResponseHead, RouteMetadata};
use crate::identity::PeerCertificate;
use crate::identity::metadata::{self, MetadataError, Said};

/// Namespace of the route's metadata that Holdpoint reads.
const ROUTE_NAMESPACE: &str = "holdpoint";

/// Which plugin of this VM it is, by root id and name; configurations of the same plugin replace each other. One word where
/// both are the same.
pub(super) fn plugin() -> String {
    let (root_id, name) = (text("plugin_root_id").unwrap_or_default(), text("plugin_name").unwrap_or_default());
    if root_id == name { name } else { format!("{root_id}/{name}") }
}

/// Envoy's node id, or a fixed word where none is configured.
pub(super) fn gateway() -> String {
    text("xds\0node\0id").filter(|id| !id.is_empty()).unwrap_or_else(|| "envoy".to_owned())
}

/// All headers of the request; `None` when they cannot be read.
pub(super) fn request_headers() -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let bytes = abi::headers(abi::Headers::Request)?;
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    Some(pairs::read(&bytes)?.into_iter().map(owned).collect())
}

/// Serialised `Metadata` with what earlier filters wrote about this request.
pub(super) fn dynamic_metadata() -> Vec<u8> {
    abi::property("metadata").unwrap_or_default()
}

/// The certificate that the client showed in its TLS handshake; `None` when it showed none.
pub(super) fn certificate() -> Option<PeerCertificate> {
    let flag = |path| abi::property(path).is_some_and(|bytes| bytes == [1]);
    flag("connection\0mtls").then(|| PeerCertificate {
        is_validated: flag("connection\0peer_certificate_valid"),
        uri_san: abi::property("connection\0uri_san_peer_certificate").filter(|uri| !uri.is_empty()),
        uri_sans: abi::property("filter_state\0holdpoint.peer_uri_sans"),
    })
}

/// What the route says in the namespace `holdpoint`. Unreadable metadata reads as none: the route is then governed and
/// names no server.
pub(super) fn route() -> RouteMetadata {
    let bytes = abi::property("xds\0route_metadata").unwrap_or_default();
    read_route(&bytes).ok().flatten().unwrap_or_default()
}

fn read_route(bytes: &[u8]) -> Result<Option<RouteMetadata>, MetadataError> {
    let Some(values) = metadata::namespace(bytes, ROUTE_NAMESPACE)? else { return Ok(None) };
    let mut route = RouteMetadata::default();
    for member in values.members() {
        let (name, said) = member?;
        said.check()?;
        match (name, said) {
            ("server", said) => route.server = said.as_text().map(str::to_owned),
            // Only the boolean counts: the string "false" must not switch governance off.
            ("passthrough", said) => route.passthrough = matches!(said, Said::Bool(true)),
            ("anonymous", said) => route.judges_anonymous = said.as_text() == Some("judged"),
            _ => {}
        }
    }
    Ok(Some(route))
}

/// Name of the cluster the route selects now.
pub(super) fn cluster() -> Option<String> {
    text("xds\0cluster_name")
}

/// The response whose headers are at hand.
pub(super) fn response_head(has_body: bool) -> ResponseHead {
    let bytes = abi::headers(abi::Headers::Response).unwrap_or_default();
    let headers = pairs::read(&bytes).unwrap_or_default();
    let values = |name: &'static [u8]| headers.iter().filter(move |(one, _)| *one == name).map(|(_, value)| *value);
    let content_types: Vec<&[u8]> = values(b"content-type").collect();
    let format = AnswerFormat::of(&content_types);
    let is_encoded = values(b"content-encoding").any(|value| !value.eq_ignore_ascii_case(b"identity"));
    let content_length = values(b"content-length").next().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    let status = status(&headers).unwrap_or_default();
    // A server may answer these itself: the details tell.
    let in_place = match status {
        502..=504 => text("response\0code_details").and_then(|details| in_place(&details, tries())),
        _ => None,
    };
    let mcp_session = values(b"mcp-session-id").next().map(Digest::of);
    ResponseHead { status, format, is_encoded, content_length, has_body, in_place, mcp_session }
}

/// What Envoy's response code details say of an answer in the server's place (stream_info.h, ResponseCodeDetails; the
/// reasons of a reset are those of `Http::Utility::resetReasonToString`, with underscores). They tell of the last of the
/// `tries`: what became of an earlier one nobody knows.
fn in_place(details: &str, tries: u64) -> Option<InPlace> {
    const NEVER_LEFT: [&str; 3] = ["connection_failure", "connection_timeout", "overflow"];
    let never_left = match details {
        "response_timeout" | "upstream_response_timeout" | "upstream_per_try_timeout" => {
            return Some(InPlace::TimedOut);
        }
        "no_healthy_upstream" | "cluster_not_found" | "maintenance_mode" => true,
        _ => {
            let reason = details.strip_prefix("upstream_reset_before_response_started")?;
            NEVER_LEFT.iter().any(|one| reason.contains(one))
        }
    };
    Some(if never_left && tries <= 1 { InPlace::NotReached } else { InPlace::BrokeOff })
}

/// How often Envoy has tried to send this request to a server. Where it does not say, none of it is certain.
fn tries() -> u64 {
    let count = abi::property("upstream\0request_attempt_count");
    count.and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
}

/// `:status` of a header map.
pub(super) fn status(headers: &Pairs<'_>) -> Option<u16> {
    let (_, value) = headers.iter().find(|(name, _)| *name == b":status")?;
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Carries out one header edit on the request or the response.
pub(super) fn edit(headers: abi::Headers, edit: &HeaderEdit) -> Result<(), HostError> {
    match edit {
        HeaderEdit::Remove(name) => abi::remove_header(headers, name),
        HeaderEdit::Set(name, value) => abi::replace_header(headers, name, value.as_bytes()),
    }
}

fn text(path: &str) -> Option<String> {
    String::from_utf8(abi::property(path)?).ok()
}
