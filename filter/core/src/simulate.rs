//! Steps 5 and 6 with calls of the past: what another policy would have made of them.
//!
//! The record keeps no arguments, and of a caller no groups, no scopes and not all that it did before. Whatever a policy asks about those is not
//! guessed: a call is judged once with every such question answered in its favour and once with all of them against
//! it, by the one `evaluate`; where the two differ, the call is undecidable and the report says what was missing.

mod bounds;
mod compare;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::audit::{AuditEntry, EntryKind};
use crate::cases::Judged;
use crate::decision::{Decision, Verdict};
use crate::envelope::{Annotations, Call, RouteFacts};
use crate::json::canonical;
use crate::mcp::{self, Head};
use crate::policy::{NoUsage, PIN_RULE_ID, PolicyDocument, PolicySnapshot, UnknownUsage, UsageView};
use crate::yaml::Problems;

pub use bounds::Unrecorded;
pub use compare::{Change, compare, compare_decisions, compare_verdicts};
pub use tally::{Move, RuleTally, Tally};

use bounds::{MARKER, MARKER_VALUE, Side};

/// The rule id of a denial for want of scopes that the catalogue demands.
const REQUIRED_SCOPES: &str = "required_scopes";

/// One policy, ready to judge entries of a record.
pub struct Simulator<'d> {
    document: &'d PolicyDocument,
    /// By what was not recorded.
    bounds: BTreeMap<Unrecorded, Bounds>,
}

struct Bounds {
    /// Everything unrecorded counts against the caller.
    strictest: PolicySnapshot,
    /// Everything unrecorded counts for the caller. Two of them: an approval rule loosens a default deny and tightens
    /// an allow, so both of its answers are tried.
    loosest: [PolicySnapshot; 2],
}

/// What a policy makes of one recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulated {
    /// The verdict does not depend on anything that was not recorded.
    Decided {
        /// With every unrecorded question answered against the caller.
        decision: Box<Decision>,
        /// Rules that took part whatever the answers.
        rules: BTreeSet<String>,
    },
    /// It depends on what was not recorded.
    Undecidable {
        loosest: Verdict,
        strictest: Verdict,
        /// Rules whose match is open.
        open_rules: BTreeSet<String>,
        /// What the record lacks, in words.
        lacks: BTreeSet<&'static str>,
    },
    /// It cannot be put to the policy at all; the text says why.
    NotJudged(String),
}

impl<'d> Simulator<'d> {
    pub fn new(document: &'d PolicyDocument) -> Self {
        Self { document, bounds: BTreeMap::new() }
    }

    /// Judges one entry; nothing when it reports no decision of a call.
    ///
    /// Client tags and the annotations of tools are not recorded either. They can only tighten, so calls that had some
    /// may in truth have been decided more strictly.
    pub fn judge(&mut self, entry: &AuditEntry) -> Option<Simulated> {
        if entry.kind != EntryKind::Decision {
            return None;
        }
        Some(self.simulate(entry).unwrap_or_else(Simulated::NotJudged))
    }

    fn simulate(&mut self, entry: &AuditEntry) -> Result<Simulated, String> {
        let server = entry.server.as_deref().ok_or("the entry names no server")?;
        if !self.document.servers.contains_key(server) {
            return Err(format!(
                "server `{server}` is not in the catalogue; whether another entry would recognise it was not recorded"
            ));
        }
        let unrecorded = Unrecorded::of(entry);
        let call = call(entry, server)?;
        let bounds = self.bounds(unrecorded).map_err(|problems| problems.to_string())?;
        let strictest = judge(&bounds.strictest, call.clone(), &UnknownUsage)?;
        let loosest = bounds.loosest.iter().map(|snapshot| judge(snapshot, call.clone(), &NoUsage));
        let loosest = loosest.collect::<Result<Vec<_>, _>>()?;
        let verdict = loosest.iter().map(|decision| decision.verdict).min().unwrap_or(strictest.verdict);
        let named = |decision: &Decision| -> BTreeSet<String> {
            decision.reasons.iter().map(|reason| reason.rule_id.clone()).collect()
        };
        let all: Vec<BTreeSet<String>> = loosest.iter().chain([&strictest]).map(named).collect();
        let any: BTreeSet<String> = all.iter().flatten().cloned().collect();
        let certain: BTreeSet<String> =
            any.iter().filter(|rule| all.iter().all(|rules| rules.contains(*rule))).cloned().collect();
        if verdict == strictest.verdict {
            return Ok(Simulated::Decided { decision: Box::new(strictest), rules: certain });
        }
        let open_rules: BTreeSet<String> = any
            .difference(&certain)
            .filter(|rule| self.document.rules.iter().any(|one| one.id == **rule))
            .cloned()
            .collect();
        let mut lacks = self.lacks(&open_rules, unrecorded);
        for (rule, what) in [(REQUIRED_SCOPES, "scopes"), (PIN_RULE_ID, "the tool's definition")] {
            if any.contains(rule) && !certain.contains(rule) {
                lacks.insert(what);
            }
        }
        Ok(Simulated::Undecidable { loosest: verdict, strictest: strictest.verdict, open_rules, lacks })
    }

    fn bounds(&mut self, unrecorded: Unrecorded) -> Result<&Bounds, Problems> {
        let document = self.document;
        match self.bounds.entry(unrecorded) {
            std::collections::btree_map::Entry::Occupied(there) => Ok(there.into_mut()),
            std::collections::btree_map::Entry::Vacant(vacant) => {
                let compile = |side| crate::policy::compile(&bounds::bound(document, unrecorded, side));
                Ok(vacant.insert(Bounds {
                    strictest: compile(Side::Against)?,
                    loosest: [compile(Side::For { asks: false })?, compile(Side::For { asks: true })?],
                }))
            }
        }
    }

    fn lacks(&self, rules: &BTreeSet<String>, unrecorded: Unrecorded) -> BTreeSet<&'static str> {
        let open = self.document.rules.iter().filter(|rule| rules.contains(&rule.id));
        open.flat_map(|rule| {
            let bounded = unrecorded.arguments && !rule.constraints.arguments.is_empty();
            let looks_back = !rule.matches.looks_back().is_empty();
            let asked = unrecorded.asked_by(&rule.matches).into_iter();
            asked.chain(bounded.then_some("arguments")).chain(looks_back.then_some("what the caller did before"))
        })
        .collect()
    }
}

/// To look back only tightens, so a caller who did nothing before is the one who fares best.
fn judge(snapshot: &PolicySnapshot, call: Call, usage: &dyn UsageView) -> Result<Decision, String> {
    let envelope = snapshot.seal(call).map_err(|(_, error)| error.to_string())?;
    Ok(Arc::unwrap_or_clone(snapshot.evaluate(&envelope, usage).decision))
}

/// A call like the recorded one. Its one argument is the marker that stands for all that is not known.
fn call(entry: &AuditEntry, server: &str) -> Result<Call, String> {
    let method = entry.method.as_deref().ok_or("the entry names no method")?;
    let principal = entry.principal.clone().ok_or("the entry names no principal")?;
    let name = match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" => Some("taskId"),
        "completion/complete" | "subscriptions/listen" => {
            return Err(format!("what a `{method}` is about is recorded in part only"));
        }
        _ => None,
    };
    let mut body = String::from("{\"jsonrpc\":\"2.0\"");
    if !method.starts_with("notifications/") {
        body.push_str(",\"id\":1");
    }
    body.push_str(",\"method\":");
    canonical::string(method, &mut body);
    if let Some(name) = name {
        let target =
            entry.target.as_deref().ok_or_else(|| format!("the entry does not say what `{method}` was for"))?;
        body.push_str(",\"params\":{");
        canonical::string(name, &mut body);
        body.push(':');
        canonical::string(target, &mut body);
        if name == "name" {
            body.push_str(",\"arguments\":{");
            canonical::string(MARKER, &mut body);
            body.push(':');
            canonical::string(MARKER_VALUE, &mut body);
            body.push('}');
        }
        body.push('}');
    }
    body.push('}');
    let headers = [(b"content-type".to_vec(), b"application/json".to_vec())];
    let head = Head { method: b"POST", path: b"/", headers: &headers };
    let message = mcp::read(&head, body.into_bytes(), &crate::json::Limits::default())
        .map_err(|malformed| format!("the recorded call cannot be put together again: {}", malformed.detail))?;
    let route = RouteFacts { metadata_server: Some(server.to_owned()), path: "/".to_owned(), ..RouteFacts::default() };
    let (annotations, definition) = (Annotations::default(), entry.definition);
    Ok(Call { message, principal: principal.into(), route, headers: Vec::new(), annotations, definition })
}

/// What the record says was decided, for [`compare_verdicts`].
pub fn recorded(entry: &AuditEntry) -> Option<(Verdict, &str)> {
    let rule = entry.rule_ids.first().map_or("default_decision", String::as_str);
    entry.verdict.map(|verdict| (verdict, rule))
}

/// The verdict of what was judged; a refused call is as good as denied.
pub fn verdict_of(judged: &Judged) -> Verdict {
    match judged {
        Judged::Decided(decision) => decision.verdict,
        Judged::Refused(_) => Verdict::Deny,
    }
}
