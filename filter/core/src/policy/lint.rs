//! Step 6, before it: what a policy says that its author hardly meant. Never changes a decision.

mod annotated;
mod narrower;
mod reach;

use std::collections::BTreeSet;

pub use annotated::annotated;

use super::document::{ActionClass, BeforeStart, Entry, Match, PolicyDocument, Rule, Server};
use super::glob::Glob;
use super::past;
use crate::decision::{LimitScope, Verdict};
use crate::yaml::Place;

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Names the kind of warning, such as `unbounded-allow`.
    pub lint: &'static str,
    pub at: Place,
    /// What it is about: ``rule `x` ``, ``server `y` ``.
    pub subject: String,
    pub message: String,
}

/// Words of tool names that say more than `read`.
const WRITING_WORDS: [&str; 26] = [
    "add", "apply", "close", "create", "delete", "deploy", "drop", "edit", "exec", "execute", "grant", "insert",
    "kill", "merge", "move", "post", "publish", "push", "put", "remove", "rename", "revoke", "send", "set", "update",
    "write",
];

/// Every warning, in the order of the places.
pub fn lint(document: &PolicyDocument) -> Vec<Finding> {
    let mut findings = Vec::new();
    if document.default_decision == Verdict::Allow {
        findings.push(Finding {
            lint: "default-allow",
            at: Place::START,
            subject: "default_decision".to_owned(),
            message: "every call that no rule matches is allowed; allow-lists then allow nothing more".to_owned(),
        });
        if !admin_is_gated(&Match::default(), document) {
            findings.push(Finding {
                lint: "admin-without-human",
                at: Place::START,
                subject: "default_decision".to_owned(),
                message: "lets admin calls through without a human: add a rule that requires approval for \
                          `mcp.action: admin`"
                    .to_owned(),
            });
        }
    }
    for rule in &document.rules {
        lint_rule(rule, document, &mut findings);
    }
    for (name, server) in &document.servers {
        lint_server(name, server, &mut findings);
    }
    findings.sort_by_key(|finding| finding.at);
    findings
}

fn lint_rule(rule: &Rule, document: &PolicyDocument, findings: &mut Vec<Finding>) {
    let mut warn = |lint: &'static str, message: &str| {
        let subject = format!("rule `{}`", rule.id);
        findings.push(Finding { lint, at: rule.at, subject, message: message.to_owned() });
    };
    if let Some(why) = reach::why_unreachable(rule, document) {
        warn("unreachable", &format!("never matches: {why}"));
    }
    if let Some(message) = shadow(rule, document) {
        warn("shadowed", &message);
    }
    for after in rule.matches.looks_back() {
        if !after.scope_is_declared {
            warn(
                "after-is-per-process",
                "looks back at what ran through this Envoy process alone: write `scope: process` to say that you know",
            );
        }
        if after.before_start == BeforeStart::Clean {
            warn(
                "restart-forgets",
                "with `before_start: clean` a restart of Envoy makes every caller one who did nothing before",
            );
        }
        if !past::is_served(after, document) {
            warn("looks-for-nothing", "looks back for a kind of call that nothing in the catalogue is");
        }
    }
    if rule.constraints.scope == LimitScope::Fleet {
        warn(
            "fleet-limit-asks-the-service",
            "`scope: fleet` has each such call ask the approval service before it runs and tell it when it has ended: one round \
             trip more for the caller, one durable write each, and no such call runs while the service is away",
        );
    }
    match rule.verdict {
        Verdict::Allow => {
            if document.default_decision == Verdict::Allow && rule.constraints.is_empty() {
                warn(
                    "allow-under-default-allow",
                    "allows what is allowed anyway, and keeps nothing else out: under `default_decision: allow` an \
                     allow-list does nothing",
                );
            }
            if !is_bounded(&rule.matches) {
                warn(
                    "unbounded-allow",
                    "allows on every server: bind it with `mcp.allow_servers` or `mcp.allow_tools`",
                );
            }
            if reaches_admin(&rule.matches) && !admin_is_gated(&rule.matches, document) {
                warn(
                    "admin-without-human",
                    "lets admin calls through without a human: add `mcp.deny_actions: [admin]` to it, or a rule that \
                     requires approval for `mcp.action: admin`",
                );
            }
        }
        Verdict::RequireApproval | Verdict::Deny => {
            if rule.reason.is_none() {
                warn("no-reason", "gives no `reason`; approvers and agents see it");
            }
        }
    }
}

/// Whether the rule is about named servers, tools, resources or prompts.
fn is_bounded(condition: &Match) -> bool {
    let is_bound = |patterns: &std::collections::BTreeSet<Glob>| {
        !patterns.is_empty() && patterns.iter().all(|glob| glob.literal_bytes() > 0)
    };
    let by_selection = condition.mcp_allow.by_label().into_iter().any(|(_, _, patterns)| is_bound(patterns));
    let by_label = ["mcp.server", "mcp.tool", "mcp.resource", "mcp.prompt"]
        .into_iter()
        .any(|label| condition.labels.get(label).is_some_and(is_bound));
    by_selection || by_label
}

fn reaches_admin(condition: &Match) -> bool {
    let by_label =
        condition.labels.get("mcp.action").is_none_or(|patterns| patterns.iter().any(|glob| glob.matches("admin")));
    let allowed = condition.mcp_allow.actions.is_empty() || condition.mcp_allow.actions.contains(&ActionClass::Admin);
    let denied = condition.mcp_deny.actions.contains(&ActionClass::Admin);
    let excluded = condition.not.as_ref().is_some_and(|not| is_only_about_actions(not) && reaches_admin(not));
    by_label && allowed && !denied && !excluded
}

/// Whether some rule holds or denies every admin call that matches.
fn admin_is_gated(condition: &Match, document: &PolicyDocument) -> bool {
    let mut admin = condition.clone();
    admin.labels.remove("mcp.action");
    admin.mcp_deny.actions.clear();
    admin.mcp_allow.actions = BTreeSet::from([ActionClass::Admin]);
    document.rules.iter().any(|gate| gates(gate) && narrower::is_within(&admin, &gate.matches))
}

/// Whether the rule is enforced and keeps calls from running by themselves.
fn gates(rule: &Rule) -> bool {
    let is_gate = match rule.verdict {
        Verdict::RequireApproval | Verdict::Deny => true,
        Verdict::Allow => false,
    };
    is_gate && !rule.is_observed
}

/// Says which stricter rule leaves `rule` nothing to decide.
fn shadow(rule: &Rule, document: &PolicyDocument) -> Option<String> {
    // Bounds deny by themselves, and then say what was broken.
    if !rule.constraints.allowed_tools.is_empty() || !rule.constraints.arguments.is_empty() {
        return None;
    }
    let has_more_to_say = match rule.verdict {
        Verdict::Allow => !rule.constraints.is_empty() || rule.audit.is_some(),
        Verdict::RequireApproval | Verdict::Deny => false,
    };
    let strict = document.rules.iter().filter(|other| gates(other) && other.verdict > rule.verdict);
    let stricter = strict.filter(|other| other.verdict == Verdict::Deny || !has_more_to_say);
    let shadow = stricter.into_iter().find(|other| narrower::is_within(&rule.matches, &other.matches))?;
    Some(match shadow.verdict {
        Verdict::Deny => format!("decides nothing: rule `{}` denies every call that it matches", shadow.id),
        Verdict::Allow | Verdict::RequireApproval => {
            format!("decides nothing: rule `{}` requires an approval for every call that it matches", shadow.id)
        }
    })
}

fn is_only_about_actions(condition: &Match) -> bool {
    let Match {
        labels,
        risk_tags,
        requires,
        capabilities,
        topics,
        tenants,
        scopes,
        groups,
        actor_ids,
        actor_types,
        mcp_allow,
        mcp_deny,
        secrets_present,
        arguments,
        after,
        not,
    } = condition;
    let no_patterns =
        |selection: &super::Selection| selection.by_label().into_iter().all(|(_, _, patterns)| patterns.is_empty());
    labels.keys().all(|name| name == "mcp.action")
        && [risk_tags, requires, tenants, scopes, groups, actor_ids].into_iter().all(|set| set.is_empty())
        && capabilities.is_empty()
        && topics.is_empty()
        && actor_types.is_empty()
        && secrets_present.is_none()
        && arguments.is_empty()
        && after.is_none()
        && not.is_none()
        && no_patterns(mcp_allow)
        && no_patterns(mcp_deny)
}

fn lint_server(name: &str, server: &Server, findings: &mut Vec<Finding>) {
    let subject = || format!("server `{name}`");
    for (kind, entries) in [("tools", &server.tools), ("resources", &server.resources), ("prompts", &server.prompts)] {
        let entries: Vec<(&Glob, &Entry)> = entries.iter().collect();
        for (index, (one, entry)) in entries.iter().enumerate() {
            for (other, beside) in entries.iter().skip(index.saturating_add(1)) {
                if let Some((first, hidden)) = hides((one, entry), (other, beside)) {
                    let message = format!(
                        "{kind}: names that match both `{}` and `{}` are judged by the first alone, which has more \
                         fixed characters; write an entry of their own for them",
                        first.as_str(),
                        hidden.as_str()
                    );
                    findings.push(Finding { lint: "pattern-hides", at: entry.at, subject: subject(), message });
                }
                let tied = !one.is_literal() && !other.is_literal() && one.literal_bytes() == other.literal_bytes();
                if tied && one.overlaps(other) {
                    let message = format!(
                        "{kind}: `{}` and `{}` are equally specific and match the same names; such a call is judged by \
                         both, the strictest wins",
                        one.as_str(),
                        other.as_str()
                    );
                    findings.push(Finding { lint: "patterns-tie", at: entry.at, subject: subject(), message });
                }
            }
        }
    }
    if let Some((read, admin)) = shared_credential(server) {
        let message = format!(
            "the read tool `{}` and the admin tool `{}` send the server the same token, so a token that may read may \
             also administer: set `credential: {{forward: false}}` on one of them, or give the admin tool a server of its own",
            read.as_str(),
            admin.as_str()
        );
        findings.push(Finding { lint: "shared-credential", at: server.at, subject: subject(), message });
    }
    for (glob, entry) in &server.tools {
        if entry.pin.as_ref().is_some_and(|pin| pin.on_unseen == Verdict::Allow) {
            let message = format!(
                "the pin of tool `{}` says nothing of calls before a list with it has been seen: after each start of Envoy \
                 they pass under whatever definition the server has; leave `on_unseen` out, or ask for an approval",
                glob.as_str()
            );
            findings.push(Finding { lint: "pin-open-until-seen", at: entry.at, subject: subject(), message });
        }
        let word = words(glob.as_str()).into_iter().find(|word| WRITING_WORDS.contains(&word.as_str()));
        if let Some(word) = word.filter(|_| entry.action == ActionClass::Read) {
            let message = format!("tool `{}` is classed `read`, but its name says `{word}`", glob.as_str());
            findings.push(Finding { lint: "name-says-otherwise", at: entry.at, subject: subject(), message });
        }
    }
}

/// The pattern of the two that alone speaks for names which match both, where it leaves the other nothing to say or says
/// less; not where it plainly refines the other.
fn hides<'g>(one: (&'g Glob, &Entry), two: (&'g Glob, &Entry)) -> Option<(&'g Glob, &'g Glob)> {
    let ((first, speaks), (other, says)) = if one.0.is_before(two.0) { (one, two) } else { (two, one) };
    let is_refinement = first.is_literal() || other.covers(first);
    let matters = first.covers(other) || speaks.action < says.action;
    (first.is_before(other) && !is_refinement && matters && first.overlaps(other)).then_some((first, other))
}

/// A read tool and an admin tool with which the caller's credential goes on.
fn shared_credential(server: &Server) -> Option<(&Glob, &Glob)> {
    let by_server = server.credential.forward == Some(true);
    let forwarding = |action: ActionClass| {
        let is_one = |entry: &Entry| entry.action == action && entry.credential.forward.unwrap_or(by_server);
        server.tools.iter().find(|(_, entry)| is_one(entry)).map(|(glob, _)| glob)
    };
    Some((forwarding(ActionClass::Read)?, forwarding(ActionClass::Admin)?))
}

/// The words of a name in snake, kebab or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for character in name.chars() {
        let starts_word = !character.is_alphanumeric() || character.is_uppercase();
        if starts_word {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
    }
    words
}
