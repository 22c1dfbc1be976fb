//! The plugin configuration as Envoy hands it over → [`FilterConfig`], checked. Every step reads from it.
//!
//! It arrives as the text of a `google.protobuf.StringValue` and is read by the same reader as a file. Everything that
//! is wrong is reported at once, with its place.

use std::ops::RangeInclusive;

use crate::approval::{ServiceKey, ServiceKeyError, ServiceKeys};
use crate::in_force::PolicyStanding;
use crate::policy::{self, PolicySnapshot};
use crate::yaml::{self, Cursor, Fields, Place, Problem, Problems};

mod identity;
#[cfg(test)]
mod tests;

pub use identity::{IdentitySource, Proof};

const SECTIONS: &[&str] = &["approval", "identity", "limits", "audit", "policy", "candidate"];

/// Everything one exchange needs to know.
#[derive(Debug)]
pub struct FilterConfig {
    pub approval: ApprovalSettings,
    /// In the order of the configuration; never empty. All but the last are optional.
    pub identity: Vec<IdentitySource>,
    pub limits: Limits,
    pub audit: AuditSettings,
    pub policy: PolicySnapshot,
    /// A policy that is tried on the same calls and decides nothing.
    pub candidate: Option<PolicySnapshot>,
    /// Where it stands among those its gateway has had; `None` until a gateway has put it in force.
    pub standing: Option<PolicyStanding>,
}

/// Where the approval service is, and how long people and clients may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalSettings {
    /// The Envoy cluster of the service.
    pub cluster: String,
    /// `:authority` of the callouts; the cluster's name unless given.
    pub authority: String,
    /// What a claim must be signed with: any of them.
    pub service_keys: ServiceKeys,
    /// Longest time a request waits inside Envoy.
    pub hold_ms_max: u64,
    /// Longest single wait for the service's answer.
    pub leg_ms_max: u64,
    /// How long clients wait for an answer before they give up.
    pub client_patience_ms: u64,
    /// How long the service may give no usable answer before a held call is refused.
    pub outage_ms_max: u64,
    /// How long a request stays open for an identical call after a 2026-07-28 client left.
    pub rejoin_ms: u64,
}

/// Whether calls wait for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Every call waits until its entry is durable: no record, no call.
    pub required: bool,
    /// How long a call waits for that before it is refused.
    pub wait_ms_max: u64,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { required: false, wait_ms_max: 2_000 }
    }
}

/// Bounds on what one request, and all of them together, may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request body.
    pub body_bytes_max: u64,
    /// Objects and arrays inside one another.
    pub depth_max: u32,
    /// Calls held at once, per worker.
    pub holds_max: u32,
    /// Bodies of held calls together, per worker.
    pub held_bytes_max: u64,
    /// How long the first piece of a body may take.
    pub body_wait_ms: u64,
    /// Longest answer, or event of one, that is read whole. Envoy's own buffer must be at least as large.
    pub answer_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 1_048_576,
            depth_max: 64,
            holds_max: 20_000,
            held_bytes_max: 268_435_456,
            body_wait_ms: 10_000,
            answer_bytes_max: 1_048_576,
        }
    }
}

impl FilterConfig {
    /// Reads the configuration's text.
    pub fn read(bytes: &[u8]) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let text = match text(bytes) {
            Ok(text) => text,
            Err(message) => {
                problems.push(Problem { at: Place::START, path: String::new(), message: message.to_owned() });
                return Err(problems);
            }
        };
        let node = match yaml::read(text, &yaml::Limits::default()) {
            Ok(node) => node,
            Err(located) => {
                for error in located {
                    problems.push(Problem { at: error.at, path: String::new(), message: error.message });
                }
                return Err(problems);
            }
        };
        let root = Cursor::root(&node);
        let config = Self::from_sections(&root, &mut problems);
        problems.or(config)
    }

    fn from_sections(root: &Cursor<'_>, problems: &mut Problems) -> Option<Self> {
        let sections = root.fields(SECTIONS, problems)?;
        let approval = sections.require("approval", problems).and_then(|section| approval(&section, problems));
        let identity = sections.require("identity", problems).and_then(|section| identity::read(&section, problems));
        let limits = match sections.get("limits") {
            Some(section) => limits(&section, problems),
            None => Some(Limits::default()),
        };
        let audit = match sections.get("audit") {
            Some(section) => audit(&section, problems),
            None => Some(AuditSettings::default()),
        };
        let policy = sections.require("policy", problems).and_then(|section| snapshot(&section, problems));
        let candidate = match sections.get("candidate") {
            Some(section) => Some(snapshot(&section, problems)?),
            None => None,
        };
        if let (Some(policy), Some(candidate), Some(section)) = (&policy, &candidate, sections.get("candidate"))
            && policy.id() == candidate.id()
        {
            section.problem("the candidate is the policy in force: take it out, or try another one", problems);
        }
        Some(Self {
            approval: approval?,
            identity: identity?,
            limits: limits?,
            audit: audit?,
            policy: policy?,
            candidate,
            standing: None,
        })
    }
}

fn snapshot(section: &Cursor<'_>, problems: &mut Problems) -> Option<PolicySnapshot> {
    let document = policy::read_document(section, problems)?;
    match policy::compile(&document) {
        Ok(snapshot) => Some(snapshot),
        Err(found) => {
            for problem in found.iter() {
                problems.push(problem.clone());
            }
            None
        }
    }
}

/// Makes sure that this is text somebody wrote, not a `Struct` that Envoy's own loader has already bent.
fn text(bytes: &[u8]) -> Result<&str, &'static str> {
    let looks_like_protobuf = bytes.iter().any(|byte| *byte < b'\t' || (0x0e..0x20).contains(byte));
    match std::str::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Err(
            "the plugin has no configuration: give it a `google.protobuf.StringValue` whose `value: |` holds the document",
        ),
        Ok(text) if !looks_like_protobuf => Ok(text),
        Ok(_) | Err(_) => Err(
            "the configuration is not text: write it as `\"@type\": type.googleapis.com/google.protobuf.StringValue` with \
             `value: |`; a `Struct` reaches the filter only after Envoy dropped duplicate keys and changed numbers",
        ),
    }
}

fn approval(section: &Cursor<'_>, problems: &mut Problems) -> Option<ApprovalSettings> {
    const FIELDS: &[&str] = &[
        "cluster",
        "authority",
        "service_key",
        "hold_ms_max",
        "leg_ms_max",
        "client_patience_ms",
        "outage_ms_max",
        "rejoin_ms",
    ];
    let fields = section.fields(FIELDS, problems)?;
    let cluster = fields.require("cluster", problems).and_then(|field| field.string(problems)).map(str::to_owned);
    let authority = match fields.get("authority") {
        Some(field) => field.string(problems).map(str::to_owned),
        None => cluster.clone(),
    };
    let service_keys = fields.require("service_key", problems).and_then(|field| service_keys(&field, problems));
    const DAY_MS: u64 = 86_400_000;
    let mut ms = |name, default, bounds| number(&fields, name, default, bounds, problems);
    let hold_ms_max = ms("hold_ms_max", 45_000, 100..=DAY_MS);
    let leg_ms_max = ms("leg_ms_max", 55_000, 100..=60_000);
    let client_patience_ms = ms("client_patience_ms", 60_000, 1_000..=DAY_MS);
    let outage_ms_max = ms("outage_ms_max", 10_000, 0..=DAY_MS);
    let rejoin_ms = ms("rejoin_ms", 120_000, 0..=DAY_MS);
    Some(ApprovalSettings {
        cluster: cluster?,
        authority: authority?,
        service_keys: service_keys?,
        hold_ms_max: hold_ms_max?,
        leg_ms_max: leg_ms_max?,
        client_patience_ms: client_patience_ms?,
        outage_ms_max: outage_ms_max?,
        rejoin_ms: rejoin_ms?,
    })
}

/// One key, or a list of those that may sign while one takes the place of another.
fn service_keys(field: &Cursor<'_>, problems: &mut Problems) -> Option<ServiceKeys> {
    let items = field.one_or_more(problems)?;
    let keys: Option<Vec<ServiceKey>> = items
        .iter()
        .map(|item| {
            let text = item.string(problems)?;
            text.parse().map_err(|error: ServiceKeyError| item.problem(error.to_string(), problems)).ok()
        })
        .collect();
    let read = ServiceKeys::new(keys?);
    if read.is_none() {
        field.problem(format!("at most {} keys are trusted at once", ServiceKeys::MAX), problems);
    }
    read
}

fn limits(section: &Cursor<'_>, problems: &mut Problems) -> Option<Limits> {
    const FIELDS: &[&str] =
        &["body_bytes_max", "depth_max", "holds_max", "held_bytes_max", "body_wait_ms", "answer_bytes_max"];
    let fields = section.fields(FIELDS, problems)?;
    let default = Limits::default();
    let mut take = |name, default, bounds| number(&fields, name, default, bounds, problems);
    let body_bytes_max = take("body_bytes_max", default.body_bytes_max, 1..=16_777_216);
    let depth_max = take("depth_max", default.depth_max.into(), 4..=512);
    let holds_max = take("holds_max", default.holds_max.into(), 0..=1_000_000);
    let held_bytes_max = take("held_bytes_max", default.held_bytes_max, 0..=1_073_741_824);
    let body_wait_ms = take("body_wait_ms", default.body_wait_ms, 100..=600_000);
    let answer_bytes_max = take("answer_bytes_max", default.answer_bytes_max, 1_024..=16_777_216);
    Some(Limits {
        body_bytes_max: body_bytes_max?,
        depth_max: u32::try_from(depth_max?).ok()?,
        holds_max: u32::try_from(holds_max?).ok()?,
        held_bytes_max: held_bytes_max?,
        body_wait_ms: body_wait_ms?,
        answer_bytes_max: answer_bytes_max?,
    })
}

fn audit(section: &Cursor<'_>, problems: &mut Problems) -> Option<AuditSettings> {
    let fields = section.fields(&["required", "wait_ms_max"], problems)?;
    let default = AuditSettings::default();
    let required = match fields.get("required") {
        Some(field) => field.boolean(problems),
        None => Some(default.required),
    };
    if let (Some(false), Some(field)) = (required, fields.get("wait_ms_max")) {
        field.problem("`wait_ms_max` bounds the wait of `required: true`, which is not set", problems);
    }
    let wait_ms_max = number(&fields, "wait_ms_max", default.wait_ms_max, 100..=60_000, problems);
    Some(AuditSettings { required: required?, wait_ms_max: wait_ms_max? })
}

fn number(
    fields: &Fields<'_>,
    name: &'static str,
    default: u64,
    bounds: RangeInclusive<u64>,
    problems: &mut Problems,
) -> Option<u64> {
    match fields.get(name) {
        Some(field) => field.whole_number(bounds, problems),
        None => Some(default),
    }
}
