//! Step 6: the one spelling of a policy, which names it: JSON in the grammar itself, so that it can be read again.
//!
//! Sets are sorted, rules stand in the order of their ids, aliases are the proper word, what is empty is left out. So
//! neither formatting and comments nor the order of rules nor YAML against JSON changes the id.

use super::document::{
    After, BeforeStart, Bound, Credential, Entry, Match, Pin, PolicyDocument, Recognition, Rule, RuleConstraints,
    Scalar, Selection, Server, ValueTest,
};
use super::glob::Glob;
use super::number::Number;
use crate::decision::{ApprovalRequirement, ApproverGroup, AuditLevel, LimitScope, Verdict};
use crate::json::canonical::{self, ObjectWriter};
use crate::order;

/// The whole policy with its catalogue.
pub(super) fn document(document: &PolicyDocument) -> String {
    let rules = order::sorted(document.rules.iter().collect(), |one: &&Rule, two| one.id.cmp(&two.id));
    let servers = document
        .servers
        .iter()
        .fold(ObjectWriter::new(), |writer, (name, written)| writer.fragment(name.clone(), server(written)));
    let writer = ObjectWriter::new()
        .string("version", &document.version)
        .string("default_decision", document.default_decision.as_str())
        .fragment("rules", array(rules.into_iter().map(rule)));
    some(writer, "servers", !document.servers.is_empty(), || servers.finish()).finish()
}

/// One rule.
pub(super) fn rule(rule: &Rule) -> String {
    let decision = match rule.verdict {
        Verdict::Allow => "allow",
        Verdict::RequireApproval => "require_approval",
        Verdict::Deny => "deny",
    };
    let mut writer = ObjectWriter::new()
        .string("id", &rule.id)
        .fragment("match", matches(&rule.matches))
        .string("decision", decision);
    for (name, text) in [("reason", &rule.reason), ("remediation", &rule.remediation)] {
        if let Some(text) = text {
            writer = writer.string(name, text);
        }
    }
    if let Some(approval) = &rule.approval {
        writer = writer.fragment("approval", requirement(approval));
    }
    let writer = some(writer, "conceal", rule.conceal, || "true".to_owned());
    let writer = some(writer, "mode", rule.is_observed, || literal("observe"));
    let writer = audit(writer, rule.audit);
    some(writer, "constraints", !rule.constraints.is_empty(), || constraints(&rule.constraints)).finish()
}

fn constraints(of: &RuleConstraints) -> String {
    let rate = of.rate;
    let numbers = [
        ("max_runtime_ms", of.max_runtime_ms),
        ("max_retries", of.max_retries.map(u64::from)),
        ("max_concurrent_jobs", of.max_concurrent_jobs.map(u64::from)),
        ("max_calls", rate.map(|rate| u64::from(rate.calls_max))),
        ("per_ms", rate.map(|rate| rate.per_ms)),
    ];
    let budgets = numbers.into_iter().fold(ObjectWriter::new(), |writer, (name, number)| match number {
        Some(number) => writer.number(name, number),
        None => writer,
    });
    let budgets = match rate {
        Some(rate) => budgets.string("key", rate.key.as_str()),
        None => budgets,
    };
    let budgets = match of.scope {
        LimitScope::Process => budgets,
        LimitScope::Fleet => budgets.string("scope", "fleet"),
    }
    .finish();
    let writer = some(ObjectWriter::new(), "budgets", budgets != "{}", || budgets);
    let writer = some(writer, "toolchain", !of.allowed_tools.is_empty(), || {
        globs(ObjectWriter::new(), "allowed_tools", &of.allowed_tools).finish()
    });
    let writer = some(writer, "arguments", !of.arguments.is_empty(), || {
        let each = of.arguments.iter().fold(ObjectWriter::new(), |writer, (pointer, bound)| {
            writer.fragment(pointer.as_str().to_owned(), self::bound(bound))
        });
        each.finish()
    });
    let output = match of.output.max_bytes {
        Some(max_bytes) => ObjectWriter::new().number("max_bytes", max_bytes),
        None => ObjectWriter::new(),
    };
    let output = strings(output, "redact", &of.output.redact).finish();
    let writer = some(writer, "output", output != "{}", || output);
    let level = of.output.redaction_level;
    some(writer, "redaction_level", !level.is_none(), || literal(level.as_str())).finish()
}

/// A bound on an argument, as the grammar writes it.
pub(super) fn bound(bound: &Bound) -> String {
    let test = test_members(&bound.test);
    some(test, "optional", bound.optional, || "true".to_owned()).finish()
}

/// What a server says of every call to it: all but how it is recognised and what it exposes.
pub(super) fn server_facts(server: &Server) -> ObjectWriter {
    let writer = strings(ObjectWriter::new(), "requires", &server.requires);
    let writer = strings(writer, "risk_tags", &server.risk_tags);
    let writer = strings(writer, "bind_headers", &server.bind_headers);
    labels(credential(audit(writer, server.audit), &server.credential), &server.labels)
}

fn audit(writer: ObjectWriter, level: Option<AuditLevel>) -> ObjectWriter {
    match level {
        Some(level) => writer.string("audit", level.as_str()),
        None => writer,
    }
}

fn credential(writer: ObjectWriter, credential: &Credential) -> ObjectWriter {
    some(writer, "credential", *credential != Credential::default(), || {
        let inner = match credential.forward {
            Some(forward) => ObjectWriter::new().fragment("forward", forward.to_string()),
            None => ObjectWriter::new(),
        };
        let inner = strings(inner, "required_scopes", &credential.required_scopes);
        strings(inner, "headers", &credential.headers).finish()
    })
}

/// What a server says of what it does not name.
pub(super) fn unlisted(server: &Server) -> String {
    strings(ObjectWriter::new(), "risk_tags", &server.unlisted_risk_tags).finish()
}

/// One tool, resource or prompt.
pub(super) fn entry(entry: &Entry) -> String {
    let mut writer = ObjectWriter::new().string("action", entry.action.as_str());
    if let Some(capability) = &entry.capability {
        writer = writer.string("capability", capability);
    }
    if let Some(resource) = &entry.resource {
        writer = writer.string("resource", resource.as_str());
    }
    let writer = match &entry.pin {
        Some(pin) => writer.fragment("definition", self::pin(pin)),
        None => writer,
    };
    let writer = strings(writer, "risk_tags", &entry.risk_tags);
    let writer = strings(writer, "requires", &entry.requires);
    labels(credential(audit(writer, entry.audit), &entry.credential), &entry.labels).finish()
}

fn pin(pin: &Pin) -> String {
    let writer = ObjectWriter::new()
        .fragment("digest", array(pin.digests.iter().map(|digest| literal(&digest.to_string()))))
        .string("on_change", pin.on_change.as_str())
        .string("on_unseen", pin.on_unseen.as_str());
    let asks = [pin.on_change, pin.on_unseen].contains(&Verdict::RequireApproval);
    some(writer, "approval", asks, || requirement(&pin.approval)).finish()
}

fn server(server: &Server) -> String {
    let mut writer = server_facts(server).fragment("match", recognition(&server.recognised_by));
    writer = some(writer, "unlisted", !server.unlisted_risk_tags.is_empty(), || unlisted(server));
    for (name, entries) in [("tools", &server.tools), ("resources", &server.resources), ("prompts", &server.prompts)] {
        writer = some(writer, name, !entries.is_empty(), || {
            let each = entries.iter().fold(ObjectWriter::new(), |writer, (glob, written)| {
                writer.fragment(glob.as_str().to_owned(), entry(written))
            });
            each.finish()
        });
    }
    writer.finish()
}

fn recognition(by: &Recognition) -> String {
    let writer = strings(ObjectWriter::new(), "route_metadata", &by.route_metadata);
    let writer = globs(writer, "hosts", &by.hosts);
    let writer = strings(writer, "path_prefixes", &by.path_prefixes);
    strings(writer, "clusters", &by.clusters).finish()
}

fn requirement(approval: &ApprovalRequirement) -> String {
    let mut writer = ObjectWriter::new()
        .fragment("approvers", approvers(&approval.all_of))
        .number("decide_within_ms", approval.decide_within_ms)
        .number("claim_within_ms", approval.claim_within_ms);
    if let Some(escalation) = &approval.escalation {
        let escalate = ObjectWriter::new()
            .number("after_ms", escalation.after_ms)
            .fragment("approvers", approvers(&escalation.all_of));
        writer = writer.fragment("escalate", escalate.finish());
    }
    if let Some(grants) = &approval.grants {
        let limits = ObjectWriter::new()
            .number("uses_max", u64::from(grants.uses_max))
            .number("within_ms_max", grants.within_ms_max);
        writer = writer.fragment("grants", limits.finish());
    }
    writer.finish()
}

fn approvers(all_of: &[ApproverGroup]) -> String {
    let groups = all_of
        .iter()
        .map(|entry| ObjectWriter::new().string("group", &entry.group).number("min", u64::from(entry.min)).finish());
    ObjectWriter::new().fragment("all_of", array(groups)).finish()
}

fn matches(condition: &Match) -> String {
    let mut writer = ObjectWriter::new();
    if !condition.labels.is_empty() {
        let each = condition.labels.iter().fold(ObjectWriter::new(), |writer, (name, patterns)| {
            writer.fragment(name.clone(), array(patterns.iter().map(|glob| literal(glob.as_str()))))
        });
        writer = writer.fragment("labels", each.finish());
    }
    writer = strings(writer, "risk_tags", &condition.risk_tags);
    writer = strings(writer, "requires", &condition.requires);
    writer = globs(writer, "capabilities", &condition.capabilities);
    writer = globs(writer, "topics", &condition.topics);
    writer = strings(writer, "tenants", &condition.tenants);
    writer = strings(writer, "scopes", &condition.scopes);
    writer = strings(writer, "groups", &condition.groups);
    writer = strings(writer, "actor_ids", &condition.actor_ids);
    writer = some(writer, "actor_types", !condition.actor_types.is_empty(), || {
        array(condition.actor_types.iter().map(|of| literal(of.as_str())))
    });
    let mcp = selection(ObjectWriter::new(), "allow", &condition.mcp_allow);
    let mcp = selection(mcp, "deny", &condition.mcp_deny).finish();
    writer = some(writer, "mcp", mcp != "{}", || mcp);
    if let Some(wanted) = condition.secrets_present {
        writer = writer.fragment("secrets_present", wanted.to_string());
    }
    writer = some(writer, "arguments", !condition.arguments.is_empty(), || {
        let each = condition.arguments.iter().fold(ObjectWriter::new(), |writer, (pointer, test)| {
            writer.fragment(pointer.as_str().to_owned(), value_test(test))
        });
        each.finish()
    });
    if let Some(after) = &condition.after {
        writer = writer.fragment("after", self::after(after));
    }
    if let Some(not) = &condition.not {
        writer = writer.fragment("not", matches(not));
    }
    writer.finish()
}

/// The kind of earlier call that is looked for: what its mark is made of.
pub(super) fn sought(after: &After) -> ObjectWriter {
    let writer = strings(ObjectWriter::new(), "risk_tags", &after.risk_tags);
    let writer = globs(writer, "capabilities", &after.capabilities);
    globs(writer, "servers", &after.servers)
}

fn after(after: &After) -> String {
    let writer = sought(after).number("within_ms", after.within_ms).string("scope", "process");
    let is_clean = after.before_start == BeforeStart::Clean;
    some(writer, "before_start", is_clean, || literal("clean")).finish()
}

fn selection(mut writer: ObjectWriter, prefix: &str, selection: &Selection) -> ObjectWriter {
    for (name, _, patterns) in selection.by_label() {
        writer = some(writer, format!("{prefix}_{name}"), !patterns.is_empty(), || {
            array(patterns.iter().map(|glob| literal(glob.as_str())))
        });
    }
    some(writer, format!("{prefix}_actions"), !selection.actions.is_empty(), || {
        array(selection.actions.iter().map(|action| literal(action.as_str())))
    })
}

fn value_test(test: &ValueTest) -> String {
    test_members(test).finish()
}

fn test_members(test: &ValueTest) -> ObjectWriter {
    let mut writer = ObjectWriter::new();
    if let Some(equals) = &test.equals {
        writer = writer.fragment("equals", scalar(equals));
    }
    writer = some(writer, "one_of", !test.one_of.is_empty(), || array(test.one_of.iter().map(scalar)));
    if let Some(glob) = &test.glob {
        writer = writer.string("glob", glob.as_str());
    }
    if let Some(prefix) = &test.prefix {
        writer = writer.string("prefix", prefix);
    }
    let bounds: [(&'static str, &Option<Number>); 4] =
        [("lt", &test.lt), ("lte", &test.lte), ("gt", &test.gt), ("gte", &test.gte)];
    for (name, bound) in bounds {
        if let Some(bound) = bound {
            writer = writer.fragment(name, bound.as_str().to_owned());
        }
    }
    if let Some(exists) = test.exists {
        writer = writer.fragment("exists", exists.to_string());
    }
    if let Some(length) = test.length_lte {
        writer = writer.number("length_lte", length);
    }
    if let Some(not) = &test.not {
        writer = writer.fragment("not", value_test(not));
    }
    some(writer, "every", test.every, || "true".to_owned())
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(number) => number.as_str().to_owned(),
        Scalar::String(text) => literal(text),
    }
}

fn literal(text: &str) -> String {
    let mut out = String::new();
    canonical::string(text, &mut out);
    out
}

fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

/// Writes the member when `there`.
fn some(
    writer: ObjectWriter,
    name: impl Into<std::borrow::Cow<'static, str>>,
    there: bool,
    value: impl FnOnce() -> String,
) -> ObjectWriter {
    if there { writer.fragment(name, value()) } else { writer }
}

fn strings(writer: ObjectWriter, name: &'static str, set: &std::collections::BTreeSet<String>) -> ObjectWriter {
    some(writer, name, !set.is_empty(), || array(set.iter().map(|text| literal(text))))
}

fn globs(writer: ObjectWriter, name: &'static str, set: &std::collections::BTreeSet<Glob>) -> ObjectWriter {
    some(writer, name, !set.is_empty(), || array(set.iter().map(|glob| literal(glob.as_str()))))
}

fn labels(writer: ObjectWriter, labels: &std::collections::BTreeMap<String, String>) -> ObjectWriter {
    some(writer, "labels", !labels.is_empty(), || {
        let each = labels.iter().fold(ObjectWriter::new(), |writer, (name, value)| writer.string(name.clone(), value));
        each.finish()
    })
}
