//! Step 4, before it: which verified facts may name a principal, in which order, and which of them may be absent.
//!
//! An order that could never come to its later sources is refused: a source that is configured and never asked would
//! look like a safeguard.

use std::collections::BTreeSet;

use crate::order;
use crate::yaml::{Cursor, Fields, Problems};

/// Most sources, and most peers of one of them.
const SOURCES_MAX: usize = 8;
const PEERS_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 512;

/// One source of a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySource {
    pub proof: Proof,
    /// Its absence lets the next source speak. A source that is there and cannot be used never does.
    pub is_optional: bool,
}

/// What proves a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Claims that Envoy's `jwt_authn` verified and wrote under this `payload_in_metadata` key.
    Jwt { metadata_key: String },
    /// The one URI SAN of a client certificate that Envoy validated.
    MtlsUriSan,
    /// A header with this lower-case name, believed only from a client whose validated URI SAN is one of `from_peers`.
    Header { name: String, from_peers: BTreeSet<String> },
}

impl Proof {
    /// Whether it is read from the client's certificate.
    pub fn reads_certificate(&self) -> bool {
        match self {
            Self::Jwt { .. } => false,
            Self::MtlsUriSan | Self::Header { .. } => true,
        }
    }
}

/// Reads the section `identity`.
pub(super) fn read(section: &Cursor<'_>, problems: &mut Problems) -> Option<Vec<IdentitySource>> {
    let fields = section.fields(&["sources"], problems)?;
    let sources = fields.require("sources", problems)?;
    let list = sources.list(problems)?;
    if list.is_empty() || list.len() > SOURCES_MAX {
        let expected = format!("1 to {SOURCES_MAX} sources, such as `- jwt: {{metadata_key: jwt}}`");
        sources.expected(&expected, problems);
        return None;
    }
    let read: Vec<Option<IdentitySource>> = list.iter().map(|cursor| source(cursor, problems)).collect();
    let mut before: Vec<&IdentitySource> = Vec::new();
    for (cursor, source) in list.iter().zip(&read) {
        let Some(source) = source else { continue };
        if let Some(why) = unreachable(source, &before) {
            cursor.problem(why, problems);
        }
        before.push(source);
    }
    if let (Some(cursor), Some(Some(last))) = (list.last(), read.last())
        && last.is_optional
    {
        let why = "no source comes after this one, so `optional` means nothing here: leave it out; a route takes \
                   callers without an identity with the metadata `holdpoint: {anonymous: judged}`";
        cursor.problem(why, problems);
    }
    read.into_iter().collect()
}

fn source(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<IdentitySource> {
    let fields = cursor.fields(&["jwt", "mtls", "header", "from_peers", "optional"], problems)?;
    let is_optional = match fields.get("optional") {
        Some(field) => field.boolean(problems)?,
        None => false,
    };
    let proofs = [fields.get("jwt"), fields.get("mtls"), fields.get("header")];
    if proofs.iter().flatten().count() != 1 {
        cursor.problem("a source has exactly one of `jwt`, `mtls`, `header`", problems);
        return None;
    }
    let [jwt, mtls, header] = proofs;
    if let (None, Some(peers)) = (&header, fields.get("from_peers")) {
        peers.problem("`from_peers` belongs to `header`", problems);
    }
    let proof = match (jwt, mtls, header) {
        (Some(jwt), _, _) => {
            let jwt = jwt.fields(&["metadata_key"], problems)?;
            let metadata_key = jwt.require("metadata_key", problems)?.string(problems)?.to_owned();
            Proof::Jwt { metadata_key }
        }
        (None, Some(mtls), _) => {
            mtls.one_of("part of the certificate", &[("uri_san", ())], problems)?;
            Proof::MtlsUriSan
        }
        (None, None, Some(header)) => header_proof(&header, &fields, problems)?,
        (None, None, None) => return None,
    };
    Some(IdentitySource { proof, is_optional })
}

fn header_proof(header: &Cursor<'_>, fields: &Fields<'_>, problems: &mut Problems) -> Option<Proof> {
    let name = header_name(header, problems);
    let peers = fields.require("from_peers", problems)?;
    let from_peers: BTreeSet<String> = order::set(peers.strings(problems).into_iter().map(str::to_owned));
    if from_peers.len() > PEERS_MAX {
        peers.problem(format!("at most {PEERS_MAX} peers"), problems);
    }
    for peer in &from_peers {
        if peer.contains('*') || !peer.contains("://") || peer.len() > NAME_BYTES_MAX {
            let why =
                format!("peer `{peer}`: a peer is the whole URI SAN of a certificate, such as `spiffe://mesh/agents`");
            peers.problem(why, problems);
        }
    }
    Some(Proof::Header { name: name?, from_peers })
}

/// Headers that mean something else to Envoy, to HTTP or to MCP, and begin so.
const TAKEN: [&str; 12] = [
    ":",
    "mcp-",
    "x-envoy-",
    "x-forwarded-",
    "x-request-id",
    "authorization",
    "cookie",
    "content-",
    "connection",
    "host",
    "te",
    "transfer-encoding",
];

fn header_name(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<String> {
    let name = cursor.string(problems)?;
    if name == "x-forwarded-client-cert" {
        cursor.problem(
            "`x-forwarded-client-cert` is text that a caller may have written: use `mtls: uri_san`, which reads the \
             handshake",
            problems,
        );
        return None;
    }
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let is_taken = |taken: &&str| name == *taken || (taken.ends_with(['-', ':']) && name.starts_with(taken));
    if !name.bytes().all(is_token) || name.len() > NAME_BYTES_MAX || TAKEN.iter().any(is_taken) {
        let why = format!("header `{name}`: expected a header of your own in lower case, such as `x-actor`");
        cursor.problem(why, problems);
        return None;
    }
    Some(name.to_owned())
}

/// Why a source would never be asked, if so.
fn unreachable(source: &IdentitySource, before: &[&IdentitySource]) -> Option<&'static str> {
    if before.iter().any(|earlier| !earlier.is_optional) {
        return Some(
            "never asked: mark every source before it `optional: true`, or leave it out; a source that is not \
             optional is never passed over",
        );
    }
    let is_header = matches!(source.proof, Proof::Header { .. });
    if is_header && before.iter().any(|earlier| earlier.proof == Proof::MtlsUriSan) {
        return Some("never asked: every peer that may send it has a certificate; put it before `mtls`");
    }
    let is_same = |earlier: &&IdentitySource| match (&earlier.proof, &source.proof) {
        (Proof::Header { name: one, .. }, Proof::Header { name: two, .. }) => one == two,
        (one, two) => one == two,
    };
    before.iter().any(is_same).then_some("this source stands here twice")
}
