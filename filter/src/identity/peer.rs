//! Step 4: the principal of a client certificate, and the one that a trusted client names in a header.

use std::collections::BTreeSet;

use holdpoint_core::identity::{ActorType, Principal};

use super::{CallerFacts, IdentityError, is_name};

/// A certificate that a client showed in its TLS handshake, as Envoy reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Envoy checked it against its trusted roots, in this very handshake.
    pub is_validated: bool,
    /// The first URI SAN.
    pub uri_san: Option<Vec<u8>>,
    /// All URI SANs with commas between them; `None` when Envoy is not told to say (`envoy/mtls.yaml`).
    pub uri_sans: Option<Vec<u8>>,
}

impl PeerCertificate {
    /// The one URI SAN. Of several, nobody could say which one acts.
    fn uri(&self) -> Result<&str, IdentityError> {
        if !self.is_validated {
            return Err(IdentityError::Unusable(
                "the client certificate was not validated in this handshake: the gateway needs a `trusted_ca`, Envoy \
                 1.40, and session resumption off",
            ));
        }
        let Some(first) = &self.uri_san else {
            return Err(IdentityError::Unusable("the client certificate has no URI SAN"));
        };
        match &self.uri_sans {
            None => Err(IdentityError::Unusable(
                "the gateway does not say how many URI SANs the client certificate has: add the filter \
                 `holdpoint.peer` of envoy/mtls.yaml",
            )),
            Some(all) if all != first => {
                Err(IdentityError::Unusable("the client certificate has more than one URI SAN"))
            }
            Some(_) => std::str::from_utf8(first)
                .ok()
                .filter(|uri| is_name(uri))
                .ok_or(IdentityError::Unusable("the URI SAN of the client certificate is too long or not printable")),
        }
    }
}

/// The workload that the certificate names; its trust domain vouches for it.
pub(super) fn find(facts: &CallerFacts<'_>) -> Result<Principal, IdentityError> {
    let certificate =
        facts.certificate.ok_or(IdentityError::Absent("present a client certificate that this gateway accepts"))?;
    let uri = certificate.uri()?;
    let issuer = trust_domain(uri)
        .ok_or(IdentityError::Unusable("the URI SAN of the client certificate has no scheme and trust domain"))?;
    Ok(Principal {
        issuer: issuer.to_owned(),
        subject: uri.to_owned(),
        agent_id: None,
        actor_type: ActorType::Service,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    })
}

/// For whom a trusted client says it acts: it is the agent, and vouches for the subject.
pub(super) fn find_named(
    header: &str,
    from_peers: &BTreeSet<String>,
    facts: &CallerFacts<'_>,
) -> Result<Principal, IdentityError> {
    let mut values = facts.headers.iter().filter(|(name, _)| name == header.as_bytes()).map(|(_, value)| value);
    let Some(value) = values.next() else {
        return Err(IdentityError::Absent("the header that names the caller is missing"));
    };
    if values.next().is_some() {
        return Err(IdentityError::Unusable("the header that names the caller came more than once"));
    }
    let Some(certificate) = facts.certificate else {
        return Err(IdentityError::Unusable("the header that names the caller came without a client certificate"));
    };
    let peer = certificate.uri()?;
    if !from_peers.contains(peer) {
        return Err(IdentityError::Unusable("this client may not say for whom it acts"));
    }
    // A comma is how intermediaries fold a repeated header into one.
    let subject = std::str::from_utf8(value).ok().filter(|text| is_name(text) && !text.contains(','));
    let Some(subject) = subject else {
        return Err(IdentityError::Unusable("the header that names the caller holds no single printable name"));
    };
    Ok(Principal {
        issuer: peer.to_owned(),
        subject: subject.to_owned(),
        agent_id: Some(peer.to_owned()),
        actor_type: ActorType::Agent,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    })
}

/// `spiffe://mesh` of `spiffe://mesh/agents/seven`.
fn trust_domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    let domain = rest.split(['/', '?', '#']).next().filter(|domain| !domain.is_empty())?;
    uri.get(..scheme.len().checked_add(3)?.checked_add(domain.len())?)
}
