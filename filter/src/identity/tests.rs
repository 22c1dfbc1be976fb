//! What Envoy knows of a caller in, the principal or why there is none out.

use holdpoint_core::identity::ActorType;
use serde_json::json;

use super::claims::from_claims;
use super::metadata::encode;
use super::*;

fn check(claims: serde_json::Value) -> Result<Principal, IdentityError> {
    let bytes = encode::metadata("token", &claims);
    from_claims(metadata::namespace(&bytes, "token").expect("a Metadata").expect("the namespace"))
}

#[test]
fn a_person_is_issuer_and_subject() {
    let principal = check(json!({"iss": "https://idp", "sub": "alice", "groups": ["dev"], "scope": "repo read"}))
        .expect("a principal");
    assert_eq!((principal.issuer.as_str(), principal.subject.as_str()), ("https://idp", "alice"));
    assert_eq!(principal.actor_type, ActorType::Human);
    assert_eq!(principal.agent_id, None);
    assert!(principal.groups.contains("dev"));
    assert_eq!(principal.scopes, ["read".to_owned(), "repo".to_owned()].into());
}

#[test]
fn an_agent_acts_for_its_subject() {
    let principal =
        check(json!({"iss": "i", "sub": "alice", "azp": "app", "act": {"sub": "agent-7"}})).expect("a principal");
    assert_eq!(principal.actor_type, ActorType::Agent);
    assert_eq!(principal.agent_id.as_deref(), Some("agent-7"));
    assert_eq!(principal.subject, "alice");
}

#[test]
fn claims_of_the_wrong_type_are_refused_rather_than_skipped() {
    for claims in [
        json!({"sub": "alice"}),
        json!({"iss": "i"}),
        json!({"iss": "i", "sub": 7}),
        json!({"iss": "i", "sub": ""}),
        json!({"iss": "i", "sub": "a\nb"}),
        json!({"iss": "i", "sub": "a", "act": "agent"}),
        json!({"iss": "i", "sub": "a", "groups": "admin"}),
        json!({"iss": "i", "sub": "a", "groups": ["admin", 1]}),
        json!({"iss": "i", "sub": "a", "scope": 1}),
    ] {
        let shown = claims.to_string();
        assert!(matches!(check(claims), Err(IdentityError::Unusable(_))), "{shown}");
    }
}

const JWT: &str = "envoy.filters.http.jwt_authn";

fn jwt(is_optional: bool) -> IdentitySource {
    IdentitySource { proof: Proof::Jwt { metadata_key: "jwt".to_owned() }, is_optional }
}

fn mtls() -> IdentitySource {
    IdentitySource { proof: Proof::MtlsUriSan, is_optional: false }
}

fn actor(is_optional: bool) -> IdentitySource {
    let from_peers = ["spiffe://mesh/gateway".to_owned()].into();
    IdentitySource { proof: Proof::Header { name: "x-actor".to_owned(), from_peers }, is_optional }
}

/// A caller with these headers, verified claims and certificate.
#[derive(Default)]
struct Caller {
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    metadata: Vec<u8>,
    certificate: Option<PeerCertificate>,
}

impl Caller {
    fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.as_bytes().to_vec(), value.to_vec()));
        self
    }

    fn claims(mut self, claims: &serde_json::Value) -> Self {
        self.metadata = encode::metadata(JWT, &json!({"jwt": claims}));
        self
    }

    fn certificate(mut self, uri: &str) -> Self {
        let uri = Some(uri.as_bytes().to_vec());
        self.certificate = Some(PeerCertificate { is_validated: true, uri_san: uri.clone(), uri_sans: uri });
        self
    }

    fn resolve(&self, sources: &[IdentitySource]) -> Result<Arc<Principal>, IdentityError> {
        self.resolve_with(sources, &mut Known::default())
    }

    fn resolve_with(&self, sources: &[IdentitySource], known: &mut Known) -> Result<Arc<Principal>, IdentityError> {
        let certificate = self.certificate.as_ref();
        resolve(sources, &CallerFacts { headers: &self.headers, dynamic_metadata: &self.metadata, certificate }, known)
    }

    fn is_unusable(&self, sources: &[IdentitySource]) -> bool {
        matches!(self.resolve(sources), Err(IdentityError::Unusable(_)))
    }

    fn is_absent(&self, sources: &[IdentitySource]) -> bool {
        matches!(self.resolve(sources), Err(IdentityError::Absent(_)))
    }
}

#[test]
fn without_verified_facts_nobody_is_there() {
    assert!(Caller::default().is_absent(&[jwt(false)]));
    assert!(Caller::default().is_absent(&[jwt(true), mtls()]));
    assert!(Caller::default().is_absent(&[]));
}

#[test]
fn a_token_that_nobody_verified_is_unusable_rather_than_absent() {
    let caller = Caller::default().header("authorization", b"Bearer x").certificate("spiffe://mesh/agents/7");
    assert!(caller.is_unusable(&[jwt(true), mtls()]));
    let caller = Caller::default().header(":path", b"/mcp?a=b&access_token=x").certificate("spiffe://mesh/agents/7");
    assert!(caller.is_unusable(&[jwt(true), mtls()]));
}

#[test]
fn who_is_known_is_refused_for_all_that_would_refuse_a_stranger() {
    let mut known = Known::default();
    let sources = [jwt(true), mtls()];
    let alice = || Caller::default().claims(&json!({"iss": "i", "sub": "alice"}));
    let first = alice().resolve_with(&sources, &mut known).expect("a principal");
    let again = alice().header(":path", b"/mcp").resolve_with(&sources, &mut known).expect("a principal");
    assert!(Arc::ptr_eq(&first, &again), "read once");
    let in_query = alice().header(":path", b"/mcp?access_token=x");
    assert!(matches!(in_query.resolve_with(&sources, &mut known), Err(IdentityError::Unusable(_))));
    let unproven = Caller::default().header("authorization", b"Bearer x");
    assert!(matches!(unproven.resolve_with(&sources, &mut known), Err(IdentityError::Unusable(_))));
    let other = IdentitySource { proof: Proof::Jwt { metadata_key: "other".to_owned() }, is_optional: false };
    assert!(matches!(alice().resolve_with(&[other], &mut known), Err(IdentityError::Absent(_))));
}

#[test]
fn a_source_is_passed_over_only_when_it_is_optional_and_absent() {
    let caller = Caller::default().certificate("spiffe://mesh/agents/7");
    assert!(caller.is_absent(&[jwt(false), mtls()]));
    assert_eq!(caller.resolve(&[jwt(true), mtls()]).expect("a principal").subject, "spiffe://mesh/agents/7");
    let both = Caller::default().claims(&json!({"iss": "i", "sub": "alice"})).certificate("spiffe://mesh/agents/7");
    assert_eq!(both.resolve(&[jwt(true), mtls()]).expect("a principal").subject, "alice");
    let broken = Caller::default().claims(&json!({"iss": "i", "sub": 7})).certificate("spiffe://mesh/agents/7");
    assert!(broken.is_unusable(&[jwt(true), mtls()]));
}

#[test]
fn a_certificate_names_a_workload_of_its_trust_domain() {
    let principal = Caller::default().certificate("spiffe://mesh/agents/7").resolve(&[mtls()]).expect("a principal");
    assert_eq!((principal.issuer.as_str(), principal.actor_type), ("spiffe://mesh", ActorType::Service));
    assert_eq!(principal.agent_id, None);
}

#[test]
fn a_certificate_that_proves_no_one_workload_is_unusable() {
    let with = |change: fn(&mut PeerCertificate)| {
        let mut caller = Caller::default().certificate("spiffe://mesh/agents/7");
        if let Some(certificate) = &mut caller.certificate {
            change(certificate);
        }
        caller.is_unusable(&[mtls()])
    };
    assert!(with(|certificate| certificate.is_validated = false));
    assert!(with(|certificate| certificate.uri_san = None));
    assert!(with(|certificate| certificate.uri_sans = None));
    assert!(with(|certificate| certificate.uri_sans = Some(b"spiffe://mesh/agents/7,spiffe://mesh/admin".to_vec())));
    for uri in ["agents/7", "spiffe:///agents/7", "spiffe://mesh/a\nb"] {
        assert!(Caller::default().certificate(uri).is_unusable(&[mtls()]), "{uri}");
    }
}

#[test]
fn a_listed_client_says_for_whom_it_acts() {
    let caller = Caller::default().certificate("spiffe://mesh/gateway").header("x-actor", b"alice");
    let principal = caller.resolve(&[actor(false)]).expect("a principal");
    assert_eq!((principal.issuer.as_str(), principal.subject.as_str()), ("spiffe://mesh/gateway", "alice"));
    assert_eq!(principal.agent_id.as_deref(), Some("spiffe://mesh/gateway"));
    let silent = Caller::default().certificate("spiffe://mesh/gateway");
    assert!(silent.is_absent(&[actor(false)]));
    assert_eq!(silent.resolve(&[actor(true), mtls()]).expect("itself").subject, "spiffe://mesh/gateway");
}

#[test]
fn nobody_else_says_so_and_not_in_two_ways() {
    let gateway = || Caller::default().certificate("spiffe://mesh/gateway");
    let sources = [actor(true), mtls()];
    assert!(Caller::default().header("x-actor", b"alice").is_unusable(&sources), "no certificate");
    assert!(Caller::default().certificate("spiffe://mesh/gateway/x").header("x-actor", b"a").is_unusable(&sources));
    assert!(gateway().header("x-actor", b"alice").header("x-actor", b"bob").is_unusable(&sources), "twice");
    for value in [&b""[..], b"alice, bob", b"a\tb", b"\xff"] {
        assert!(gateway().header("x-actor", value).is_unusable(&sources), "{value:?}");
    }
    let mut unproven = gateway().header("x-actor", b"alice");
    unproven.certificate.as_mut().expect("a certificate").is_validated = false;
    assert!(unproven.is_unusable(&sources));
}
