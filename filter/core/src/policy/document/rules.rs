//! Reads `rules:`.

use std::collections::BTreeMap;

use super::{RESERVED_RULE_IDS, Rule, conditions, constraints};
use crate::decision::{ApprovalRequirement, ApproverGroup, AuditLevel, Escalation, GrantLimits, Verdict};
use crate::yaml::{Cursor, Place, Problems};

const RULE_FIELDS: [&str; 10] =
    ["id", "match", "decision", "reason", "remediation", "conceal", "approval", "constraints", "mode", "audit"];

const MODES: [(&str, bool); 2] = [("enforce", false), ("observe", true)];

pub(super) const AUDIT_LEVELS: [(&str, AuditLevel); 4] = [
    ("metadata", AuditLevel::Metadata),
    ("digest", AuditLevel::Digest),
    ("redacted", AuditLevel::Redacted),
    ("full", AuditLevel::Full),
];

/// Proper words first, then the aliases of the guide's product.
const DECISIONS: [(&str, Decides); 10] = [
    ("allow", Decides { verdict: Verdict::Allow, constrained: false }),
    ("deny", Decides { verdict: Verdict::Deny, constrained: false }),
    ("require_approval", Decides { verdict: Verdict::RequireApproval, constrained: false }),
    ("allow_with_constraints", Decides { verdict: Verdict::Allow, constrained: true }),
    ("permit", Decides { verdict: Verdict::Allow, constrained: false }),
    ("block", Decides { verdict: Verdict::Deny, constrained: false }),
    ("require-approval", Decides { verdict: Verdict::RequireApproval, constrained: false }),
    ("require_human", Decides { verdict: Verdict::RequireApproval, constrained: false }),
    ("require-human", Decides { verdict: Verdict::RequireApproval, constrained: false }),
    ("allow-with-constraints", Decides { verdict: Verdict::Allow, constrained: true }),
];

#[derive(Clone, Copy)]
struct Decides {
    verdict: Verdict,
    /// The word promises constraints.
    constrained: bool,
}

const CLOCK_MS_MIN: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
const APPROVERS_MAX: u64 = 100;
/// No grant reaches further, whatever a rule says.
const GRANT_USES_MAX: u64 = 1_000;
const GRANT_MS_MAX: u64 = 28_800_000;
const ID_BYTES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 2_048;

pub(super) fn read(cursor: &Cursor<'_>, problems: &mut Problems) -> Vec<Rule> {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    let mut rules = Vec::new();
    for cursor in cursor.list(problems).unwrap_or_default() {
        // The id names the rule in every message, so it is looked up before anything is judged.
        let id = cursor.node().get("id").and_then(|id| id.as_str()).filter(|id| !id.is_empty());
        let cursor = match id {
            Some(id) => cursor.about(&format!("rule `{id}`")),
            None => cursor,
        };
        if let Some(id) = id {
            if let Some(first) = seen.get(id) {
                cursor.problem(format!("another rule has this id, at {first}; ids are unique"), problems);
            } else {
                seen.insert(id, cursor.place());
            }
        }
        rules.extend(rule(&cursor, problems));
    }
    rules
}

fn rule(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Rule> {
    let fields = cursor.fields(&RULE_FIELDS, problems)?;
    let id = fields.require("id", problems).and_then(|id| {
        let text = id.string(problems)?;
        if RESERVED_RULE_IDS.contains(&text) {
            id.problem(format!("`{text}` names decisions that no rule made; choose another id"), problems);
        }
        if text.len() > ID_BYTES_MAX || text.contains(char::is_control) {
            id.problem(format!("an id has at most {ID_BYTES_MAX} bytes and no control characters"), problems);
        }
        Some(text)
    });
    let decides = fields.require("decision", problems);
    let decides = decides.and_then(|decision| decision.one_of("decision", &DECISIONS, problems));
    let verdict = decides.map(|decides| decides.verdict);
    let matches = fields.require("match", problems);
    let matches = matches.and_then(|matches| conditions::read(&matches, verdict, problems));
    let mut text = |name: &str| {
        let field = fields.get(name)?;
        let text = field.string(problems)?;
        if text.len() > TEXT_BYTES_MAX {
            field.problem(format!("`{name}` has at most {TEXT_BYTES_MAX} bytes"), problems);
        }
        Some(text.to_owned())
    };
    let (reason, remediation) = (text("reason"), text("remediation"));
    let conceal = fields.get("conceal").and_then(|conceal| {
        let value = conceal.boolean(problems)?;
        if value && verdict.is_some_and(|verdict| verdict != Verdict::Deny) {
            conceal.problem("only a rule that denies can conceal", problems);
        }
        Some(value)
    });
    let approval = fields.get("approval").and_then(|approval| {
        if verdict.is_some_and(|verdict| verdict != Verdict::RequireApproval) {
            approval.problem("`approval` belongs to `decision: require_approval`", problems);
        }
        requirement(&approval, problems)
    });
    let constraints = fields.get("constraints").and_then(|field| {
        if verdict == Some(Verdict::Deny) {
            field.problem("a denied call runs under no constraints; leave them out", problems);
        }
        constraints::read(&field, problems)
    });
    if fields.get("constraints").is_none() && decides.is_some_and(|decides| decides.constrained) {
        cursor.problem("`decision: allow_with_constraints` needs `constraints`", problems);
    }
    let is_observed = fields.get("mode").and_then(|mode| mode.one_of("mode", &MODES, problems));
    let audit = fields.get("audit").and_then(|audit| audit.one_of("audit level", &AUDIT_LEVELS, problems));
    let verdict = verdict?;
    Some(Rule {
        at: cursor.place(),
        id: id?.to_owned(),
        matches: matches?,
        verdict,
        reason,
        remediation,
        conceal: conceal.unwrap_or(false),
        approval: (verdict == Verdict::RequireApproval).then(|| approval.unwrap_or_default()),
        constraints: constraints.unwrap_or_default(),
        is_observed: is_observed.unwrap_or(false),
        audit,
    })
}

pub(super) fn requirement(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<ApprovalRequirement> {
    let known = ["approvers", "decide_within_ms", "claim_within_ms", "escalate", "grants"];
    let fields = cursor.fields(&known, problems)?;
    let mut clock = |name: &str, default: u64| {
        let field = fields.get(name);
        field.and_then(|field| field.whole_number(CLOCK_MS_MIN..=DAY_MS, problems)).unwrap_or(default)
    };
    let decide_within_ms = clock("decide_within_ms", ApprovalRequirement::default().decide_within_ms);
    let claim_within_ms = clock("claim_within_ms", ApprovalRequirement::default().claim_within_ms);
    let all_of = fields.get("approvers").and_then(|approvers| approver_groups(&approvers, problems));
    let all_of = all_of.unwrap_or_else(|| ApprovalRequirement::default().all_of);
    let escalation = fields.get("escalate").and_then(|escalate| {
        let fields = escalate.fields(&["after_ms", "approvers"], problems)?;
        let after = fields.require("after_ms", problems);
        let approvers = fields.require("approvers", problems);
        let all_of = approvers.and_then(|approvers| approver_groups(&approvers, problems));
        let after_ms = after.as_ref().and_then(|after| after.whole_number(CLOCK_MS_MIN..=DAY_MS, problems))?;
        if after_ms >= decide_within_ms {
            escalate
                .problem("`after_ms` must be less than `decide_within_ms`: later, nobody is asked any more", problems);
        }
        Some(Escalation { after_ms, all_of: all_of? })
    });
    let grants = fields.get("grants").and_then(|grants| {
        let fields = grants.fields(&["uses_max", "within_ms_max"], problems)?;
        let uses = fields.require("uses_max", problems);
        let within = fields.require("within_ms_max", problems);
        let uses_max = uses.and_then(|uses| uses.whole_number(2..=GRANT_USES_MAX, problems));
        let within_ms_max = within.and_then(|within| within.whole_number(CLOCK_MS_MIN..=GRANT_MS_MAX, problems));
        Some(GrantLimits { uses_max: u32::try_from(uses_max?).ok()?, within_ms_max: within_ms_max? })
    });
    Some(ApprovalRequirement { all_of, decide_within_ms, claim_within_ms, escalation, grants })
}

fn approver_groups(approvers: &Cursor<'_>, problems: &mut Problems) -> Option<Vec<ApproverGroup>> {
    let fields = approvers.fields(&["all_of"], problems)?;
    groups(&fields.require("all_of", problems)?, problems)
}

fn groups(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Vec<ApproverGroup>> {
    let entries = cursor.list(problems)?;
    if entries.is_empty() {
        cursor.problem("an empty list would need nobody's approval; name a group", problems);
        return None;
    }
    let mut groups: BTreeMap<String, u32> = BTreeMap::new();
    for entry in entries {
        let Some(fields) = entry.fields(&["group", "min"], problems) else { continue };
        let group = fields.require("group", problems).and_then(|group| group.string(problems));
        let min = fields.get("min").map_or(Some(1), |min| min.whole_number(1..=APPROVERS_MAX, problems));
        let (Some(group), Some(min)) = (group, min.and_then(|min| u32::try_from(min).ok())) else { continue };
        if groups.insert(group.to_owned(), min).is_some() {
            entry.problem(format!("group `{group}` stands twice; name it once with the larger `min`"), problems);
        }
    }
    Some(groups.into_iter().map(|(group, min)| ApproverGroup { group, min }).collect())
}
