//! Two policies around one: the strictest and the loosest that it could be, were the unrecorded facts known.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::AuditEntry;
use crate::decision::Verdict;
use crate::envelope::SECRETS_TAG;
use crate::policy::{
    Bound, Match, Number, Pointer, PolicyDocument, Recognition, Rule, Scalar, Selection, Server, ValueTest,
};

/// The argument that stands for all that is not known. No server's tool has one of this name.
pub(super) const MARKER: &str = "holdpoint.unrecorded";
/// A string: a predicate that wants a number cannot judge it, one that wants another string fails.
pub(super) const MARKER_VALUE: &str = "?";

/// Which facts the record does not keep of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unrecorded {
    pub arguments: bool,
    /// The resource of a tool is filled in from its arguments.
    pub resource: bool,
    pub groups: bool,
    pub scopes: bool,
    /// Under which definition the tool was listed.
    pub definition: bool,
}

/// How unrecorded facts are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// As what cannot be judged, which the engine counts against the caller.
    Against,
    /// As it suits the caller best; `asks` says how of rules that require approval.
    For { asks: bool },
}

/// What becomes of one open condition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Unknown,
    Holds,
    Fails,
}

impl Answer {
    /// What suits the match around a `not` is the opposite of what suits the match inside.
    fn inside_not(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
        }
    }
}

impl Unrecorded {
    /// What `entry` lacks. A caller recorded without groups may have had some.
    pub fn of(entry: &AuditEntry) -> Self {
        let method = entry.method.as_deref().unwrap_or_default();
        let has_arguments = matches!(method, "tools/call" | "prompts/get");
        let principal = entry.principal.as_ref();
        Self {
            arguments: has_arguments,
            resource: method == "tools/call",
            groups: principal.is_none_or(|principal| principal.groups.is_empty()),
            scopes: principal.is_none_or(|principal| principal.scopes.is_empty()),
            definition: method == "tools/call" && entry.definition.is_none(),
        }
    }

    /// The words for what `condition` asks and the record lacks.
    pub(super) fn asked_by(self, condition: &Match) -> BTreeSet<&'static str> {
        let mut asked = BTreeSet::new();
        let mut ask = |word: &'static str, is_asked: bool| {
            if is_asked {
                asked.insert(word);
            }
        };
        ask("arguments", self.arguments && !condition.arguments.is_empty());
        ask("whether arguments hold secrets", self.arguments && asks_secrets(condition));
        ask("the resource, which is filled in from arguments", self.resource && asks_resource(condition));
        ask("groups", self.groups && !condition.groups.is_empty());
        ask("scopes", self.scopes && !condition.scopes.is_empty());
        if let Some(not) = &condition.not {
            asked.extend(self.asked_by(not));
        }
        asked
    }
}

/// `document` with every question about unrecorded facts answered. Servers are recognised by their own names, which is
/// what the record keeps.
pub(super) fn bound(document: &PolicyDocument, unrecorded: Unrecorded, side: Side) -> PolicyDocument {
    let recognised = |name: &String, server: &Server| {
        let by_name = Recognition { route_metadata: BTreeSet::from([name.clone()]), ..Recognition::default() };
        let mut server = Server { recognised_by: by_name, ..server.clone() };
        if unrecorded.scopes && side != Side::Against {
            // Without scopes on record every demand for one would deny.
            server.credential.required_scopes = BTreeSet::new();
            let entries = [&mut server.tools, &mut server.resources, &mut server.prompts];
            for entry in entries.into_iter().flat_map(BTreeMap::values_mut) {
                entry.credential.required_scopes = BTreeSet::new();
            }
        }
        if unrecorded.definition && side != Side::Against {
            // One that was not seen counts against the caller, as one that was not recorded must here.
            server.tools.values_mut().for_each(|entry| entry.pin = None);
        }
        (name.clone(), server)
    };
    let answered = |rule: &Rule| {
        let answer = match (side, rule.verdict) {
            (Side::Against, _) => Answer::Unknown,
            (Side::For { .. }, Verdict::Allow) | (Side::For { asks: true }, Verdict::RequireApproval) => Answer::Holds,
            (Side::For { .. }, Verdict::Deny) | (Side::For { asks: false }, Verdict::RequireApproval) => Answer::Fails,
        };
        let mut rule = Rule { matches: settle(&rule.matches, unrecorded, answer), ..rule.clone() };
        if unrecorded.arguments && !rule.constraints.arguments.is_empty() {
            rule.constraints.arguments = BTreeMap::new();
            if side == Side::Against {
                // What cannot be judged breaks a bound.
                let bound = Bound { test: unjudgeable(), optional: false };
                rule.constraints.arguments.extend(marker().map(|pointer| (pointer, bound)));
            }
        }
        rule
    };
    PolicyDocument {
        servers: document.servers.iter().map(|(name, server)| recognised(name, server)).collect(),
        rules: document.rules.iter().map(answered).collect(),
        ..document.clone()
    }
}

/// `condition` with its open parts taken out, and one predicate on the marker in their place that answers `answer`.
fn settle(condition: &Match, unrecorded: Unrecorded, answer: Answer) -> Match {
    let mut settled = condition.clone();
    let open = !unrecorded.asked_by(&Match { not: None, ..condition.clone() }).is_empty();
    if unrecorded.arguments {
        settled.arguments = BTreeMap::new();
        settled.secrets_present = None;
        if asks_secrets(condition) {
            settled.risk_tags = BTreeSet::new();
        }
    }
    if unrecorded.groups {
        settled.groups = BTreeSet::new();
    }
    if unrecorded.scopes {
        settled.scopes = BTreeSet::new();
    }
    if unrecorded.resource {
        settled.labels.remove("mcp.resource");
        settled.mcp_allow.resources = BTreeSet::new();
        settled.mcp_deny.resources = BTreeSet::new();
    }
    settled.not = condition.not.as_ref().map(|not| Box::new(settle(not, unrecorded, answer.inside_not())));
    if open {
        let test = match answer {
            Answer::Unknown => Some(unjudgeable()),
            Answer::Fails => {
                Some(ValueTest { equals: Some(Scalar::String("known".to_owned())), ..ValueTest::default() })
            }
            Answer::Holds => None,
        };
        settled.arguments.extend(marker().zip(test));
    }
    settled
}

/// A test that cannot judge the marker's value.
fn unjudgeable() -> ValueTest {
    ValueTest { gt: Number::parse("0"), ..ValueTest::default() }
}

fn marker() -> Option<Pointer> {
    Pointer::parse(&format!("/{MARKER}")).ok()
}

/// Detected secrets also set a risk tag.
fn asks_secrets(condition: &Match) -> bool {
    condition.secrets_present.is_some() || condition.risk_tags.contains(SECRETS_TAG)
}

fn asks_resource(condition: &Match) -> bool {
    let selects = |selection: &Selection| !selection.resources.is_empty();
    condition.labels.contains_key("mcp.resource") || selects(&condition.mcp_allow) || selects(&condition.mcp_deny)
}
