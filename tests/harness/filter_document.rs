//! The filter's configuration document, as text, with the knobs that tests turn. What step 6 runs on arrives this way.

use anyhow::Context;

use crate::repository;

/// Everything the document holds; `text` writes it. Defaults are those of the base configuration.
#[derive(Debug, Clone)]
pub struct FilterDocument {
    /// The service's public key, `ed25519:<64 hex digits>`.
    pub service_key: String,
    /// The longest that a call waits inside Envoy, in milliseconds.
    pub hold_ms_max: u64,
    /// The longest single long poll, in milliseconds.
    pub leg_ms_max: u64,
    /// How long clients wait for an answer, in milliseconds.
    pub client_patience_ms: u64,
    /// How long the service may be away before a held call is refused, in milliseconds.
    pub outage_ms_max: u64,
    /// How long the first piece of a body may take, in milliseconds.
    pub body_wait_ms: u64,
    /// The largest body that is read, in bytes.
    pub body_bytes_max: u64,
    /// The deepest nesting that is read.
    pub depth_max: u64,
    /// How many calls may wait at once.
    pub holds_max: u64,
    /// How many bytes of waiting calls may be kept at once.
    pub held_bytes_max: u64,
    /// The longest answer, or event of one, that is read whole, in bytes.
    pub answer_bytes_max: u64,
    /// Whether every call waits until it is recorded.
    pub audit_required: bool,
    /// How long a call waits for that.
    pub audit_wait_ms_max: u64,
    /// The entries of `identity.sources`, as YAML flow text.
    pub identity_sources: String,
    /// The policy document, as YAML text.
    pub policy: String,
    /// A policy that is tried beside it, likewise.
    pub candidate: Option<String>,
}

impl FilterDocument {
    /// The quickstart's policy with the base configuration's bounds, trusting `service_key`.
    pub fn quickstart(service_key: &str) -> anyhow::Result<Self> {
        Ok(Self {
            service_key: service_key.to_owned(),
            hold_ms_max: 45_000,
            leg_ms_max: 55_000,
            client_patience_ms: 60_000,
            outage_ms_max: 10_000,
            body_wait_ms: 10_000,
            body_bytes_max: 1_048_576,
            depth_max: 64,
            holds_max: 20_000,
            held_bytes_max: 268_435_456,
            answer_bytes_max: 1_048_576,
            audit_required: false,
            audit_wait_ms_max: 2_000,
            identity_sources: "[{jwt: {metadata_key: jwt}}]".to_owned(),
            policy: quickstart_policy()?,
            candidate: None,
        })
    }

    /// The document as the filter reads it.
    pub fn text(&self) -> String {
        let Self {
            service_key,
            hold_ms_max,
            leg_ms_max,
            client_patience_ms,
            outage_ms_max,
            body_wait_ms,
            body_bytes_max,
            depth_max,
            holds_max,
            held_bytes_max,
            answer_bytes_max,
            audit_required,
            audit_wait_ms_max,
            identity_sources,
            policy,
            candidate,
        } = self;
        let policy = indent(policy);
        // What bounds a wait is refused where nothing waits.
        let audit_wait = if *audit_required { format!(", wait_ms_max: {audit_wait_ms_max}") } else { String::new() };
        let candidate =
            candidate.as_ref().map(|candidate| format!("candidate:\n{}", indent(candidate))).unwrap_or_default();
        format!(
            "approval:\n  cluster: holdpoint\n  service_key: \"{service_key}\"\n  hold_ms_max: {hold_ms_max}\n  \
             leg_ms_max: {leg_ms_max}\n  client_patience_ms: {client_patience_ms}\n  outage_ms_max: {outage_ms_max}\n\
             identity:\n  sources: {identity_sources}\n\
             limits: {{body_wait_ms: {body_wait_ms}, body_bytes_max: {body_bytes_max}, depth_max: {depth_max}, holds_max: {holds_max}, \
             held_bytes_max: {held_bytes_max}, answer_bytes_max: {answer_bytes_max}}}\n\
             audit: {{required: {audit_required}{audit_wait}}}\n\
             policy:\n{policy}{candidate}"
        )
    }
}

/// The policy part of `examples/quickstart/policy.yaml`, as text of its own.
pub fn quickstart_policy() -> anyhow::Result<String> {
    let document = repository::text("examples/quickstart/policy.yaml")?;
    let (_, policy) =
        document.split_once("\npolicy:\n").context("`examples/quickstart/policy.yaml` has no line `policy:`")?;
    Ok(policy
        .lines()
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n"))
}

fn indent(policy: &str) -> String {
    policy.lines().fold(
        String::new(),
        |text, line| {
            if line.is_empty() { text + "\n" } else { text + "  " + line + "\n" }
        },
    )
}
