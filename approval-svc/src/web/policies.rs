//! Step 6 as people see it: which policy each gateway decides by, and what the tried ones would decide otherwise.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use holdpoint_core::candidate::CandidateDifference;
use holdpoint_core::digest::Digest;
use holdpoint_core::simulate::Change;

use super::{Frame, Shown, When, short, shown};
use crate::candidates::CandidateView;
use crate::store::row::InForceRow;

/// Differences of one candidate on the page; the API tells more.
const DIFFERENCES_MAX: usize = 50;
/// Gateways that are named on one line.
const GATEWAYS_NAMED_MAX: usize = 8;

/// `GET /policies`
#[derive(Debug, Template)]
#[template(path = "policies.html")]
pub struct PoliciesPage {
    pub frame: Frame,
    pub in_force: Vec<InForce>,
    /// What is tried; nothing for those who are bound to a tenant, as it tells of the calls of all.
    pub tried: Option<Vec<Tried>>,
}

/// One policy that decides in one plugin.
#[derive(Debug)]
pub struct InForce {
    pub id: String,
    pub short: String,
    pub plugin: Shown,
    pub gateways: Shown,
    /// Whether other gateways decide by another policy in the same plugin.
    pub differs: bool,
    pub since: When,
}

/// One candidate beside the policy that decides.
#[derive(Debug)]
pub struct Tried {
    pub id: String,
    pub short: String,
    pub beside: String,
    pub plugin: Shown,
    pub summary: Shown,
    pub gateways: Shown,
    /// Where it decides by now.
    pub in_force_on: Option<Shown>,
    pub until: When,
    pub differences: Vec<Differs>,
    /// Calls that differ and are not in `differences`.
    pub further: u64,
}

/// One thing that a candidate would decide otherwise.
#[derive(Debug)]
pub struct Differs {
    pub calls: u64,
    pub tone: &'static str,
    pub change: &'static str,
    pub what: Shown,
    pub server: Shown,
    pub verdict: &'static str,
    pub rule_id: Shown,
    pub then: &'static str,
    pub then_rule_id: Shown,
    /// Where the last of these calls is found in the record.
    pub sample: Option<String>,
    pub at: When,
}

impl PoliciesPage {
    pub fn new(frame: Frame, rows: &[InForceRow], tried: Option<&[CandidateView]>) -> Self {
        let now_ms = frame.now_ms;
        let tried = tried.map(|views| views.iter().map(|view| Tried::new(view, now_ms)).collect());
        Self { in_force: in_force(rows, now_ms), tried, frame }
    }
}

/// One line for each policy of each plugin, however many processes and gateways decide by it.
fn in_force(rows: &[InForceRow], now_ms: u64) -> Vec<InForce> {
    let mut found: BTreeMap<&str, BTreeMap<Digest, (BTreeSet<String>, u64)>> = BTreeMap::new();
    for InForceRow { report, .. } in rows {
        let of_plugin = found.entry(&report.standing.plugin).or_default();
        let (gateways, since_ms) = of_plugin.entry(report.snapshot_id).or_insert((BTreeSet::new(), report.since_ms));
        gateways.insert(report.gateway.clone());
        *since_ms = report.since_ms.min(*since_ms);
    }
    let line = |plugin: &str, differs: bool, id: Digest, gateways: BTreeSet<String>, since_ms: u64| InForce {
        id: id.to_string(),
        short: short(&id.to_string()),
        plugin: shown(plugin),
        gateways: names(&gateways.into_iter().collect::<Vec<_>>()),
        differs,
        since: When::new(since_ms, now_ms),
    };
    let mut lines = Vec::new();
    for (plugin, policies) in found {
        let differs = policies.len() > 1;
        lines.extend(policies.into_iter().map(|(id, (on, since_ms))| line(plugin, differs, id, on, since_ms)));
    }
    lines
}

impl Tried {
    fn new(view: &CandidateView, now_ms: u64) -> Self {
        let told = view.differences.iter().take(DIFFERENCES_MAX);
        let untold = view.differences.iter().skip(DIFFERENCES_MAX).map(|one| one.calls);
        Self {
            id: view.candidate_id.to_string(),
            short: short(&view.candidate_id.to_string()),
            beside: short(&view.snapshot_id.to_string()),
            plugin: shown(&view.plugin),
            summary: shown(&view.summary),
            gateways: names(&view.gateways),
            in_force_on: (!view.in_force_on.is_empty()).then(|| names(&view.in_force_on)),
            until: When::new(view.until_ms, now_ms),
            differences: told.map(|one| Differs::new(one, now_ms)).collect(),
            further: untold.fold(view.unlisted, u64::saturating_add),
        }
    }
}

impl Differs {
    fn new(one: &CandidateDifference, now_ms: u64) -> Self {
        Self {
            calls: one.calls,
            tone: match one.change {
                Change::Looser | Change::Mixed => "warn",
                Change::Tighter => "bad",
                Change::Same => "good",
            },
            change: one.change.as_str(),
            what: shown(one.tool.as_ref().unwrap_or(&one.method)),
            server: shown(&one.server),
            verdict: one.verdict.as_str(),
            rule_id: shown(&one.rule_id),
            then: one.candidate_verdict.as_str(),
            then_rule_id: shown(&one.candidate_rule_id),
            sample: one.sample.call_digest.map(|digest| format!("/record?call={digest}")),
            at: When::new(one.sample.at_ms, now_ms),
        }
    }
}

fn names(names: &[String]) -> Shown {
    let mut text = names.iter().take(GATEWAYS_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > GATEWAYS_NAMED_MAX {
        text += &format!(" and {} more", names.len() - GATEWAYS_NAMED_MAX);
    }
    shown(&text)
}
