//! Step 4: verified facts from Envoy → the principal a call acts for.
//!
//! Only facts that Envoy has proven count: claims of a token that `jwt_authn` verified, the URI SAN of a client
//! certificate that it validated, and what a listed client with such a certificate says. Nothing that a caller merely
//! sends is believed, `x-forwarded-client-cert` least of all.

use std::sync::Arc;

use holdpoint_core::config::{IdentitySource, Proof};
use holdpoint_core::identity::Principal;

mod claims;
mod known;
pub mod metadata;
mod peer;
#[cfg(test)]
mod tests;

pub use known::Known;
pub use peer::PeerCertificate;

/// Longest issuer, subject, agent, tenant, group or scope, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// What Envoy knows of a caller.
#[derive(Clone, Copy, Debug)]
pub struct CallerFacts<'a> {
    /// Names in lower case, repeated ones repeated.
    pub headers: &'a [(Vec<u8>, Vec<u8>)],
    /// Serialised `Metadata` of the request's dynamic metadata.
    pub dynamic_metadata: &'a [u8],
    /// The client's certificate, if it showed one.
    pub certificate: Option<&'a PeerCertificate>,
}

/// Why nobody can say whom a call acts for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// Nothing was there that could prove a principal; the text says what to send.
    Absent(&'static str),
    /// Something is there and names no principal; the text says what is wrong with it. Never passed over.
    Unusable(&'static str),
}

impl std::fmt::Display for IdentityError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent(send) => write!(f, "no verified identity: {send}"),
            Self::Unusable(what) => write!(f, "the identity cannot be used: {what}"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// Finds the principal. Sources are asked in their order; one that is absent is passed over only when it is optional,
/// and one that is there and cannot be used ends the search. Of `known` nothing is asked but whom the same claims named.
pub fn resolve(
    sources: &[IdentitySource],
    facts: &CallerFacts<'_>,
    known: &mut Known,
) -> Result<Arc<Principal>, IdentityError> {
    let mut absent = IdentityError::Absent("this gateway has no source of identities");
    for source in sources {
        let found = match &source.proof {
            Proof::Jwt { metadata_key } => claims::find(metadata_key, facts, known),
            Proof::MtlsUriSan => peer::find(facts).map(Arc::new),
            Proof::Header { name, from_peers } => peer::find_named(name, from_peers, facts).map(Arc::new),
        };
        match found {
            Err(error @ IdentityError::Absent(_)) if source.is_optional => absent = error,
            settled => return settled,
        }
    }
    Err(absent)
}

/// Whether a text names somebody: of bounded length, printable, and not empty.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}
