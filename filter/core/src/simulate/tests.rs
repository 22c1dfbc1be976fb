//! Recorded entries in; what another policy makes of them, and what cannot be said.

use proptest::prelude::*;

use super::*;
use crate::cases;
use crate::identity::{ActorType, Principal};
use crate::policy;

fn document(rules: &str) -> PolicyDocument {
    let text = format!(
        "version: \"2026-01-27\"
servers:
  tracker:
    match: {{hosts: [elsewhere.example]}}
    tools:
      list: {{action: read}}
      pay: {{action: write, resource: \"account:{{account}}\", risk_tags: [money]}}
rules:
{rules}"
    );
    policy::read_file(&text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn entry(target: &str, verdict: Verdict) -> AuditEntry {
    let principal = Principal {
        issuer: "https://idp.example".to_owned(),
        subject: "ann".to_owned(),
        agent_id: None,
        actor_type: ActorType::Human,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    };
    AuditEntry {
        principal: Some(principal),
        server: Some("tracker".to_owned()),
        method: Some("tools/call".to_owned()),
        target: Some(target.to_owned()),
        verdict: Some(verdict),
        rule_ids: vec!["old".to_owned()],
        ..AuditEntry::new(EntryKind::Decision, 1)
    }
}

fn simulated(rules: &str, target: &str) -> Simulated {
    Simulator::new(&document(rules)).judge(&entry(target, Verdict::Allow)).expect("a decision")
}

fn verdict(rules: &str, target: &str) -> String {
    match simulated(rules, target) {
        Simulated::Decided { decision, .. } => decision.verdict.as_str().to_owned(),
        Simulated::Undecidable { loosest, strictest, open_rules, lacks } => {
            let words = |set: Vec<String>| set.join("+");
            let (open, lacks) =
                (words(open_rules.into_iter().collect()), words(lacks.into_iter().map(str::to_owned).collect()));
            format!("{} to {} ({open}: {lacks})", loosest.as_str(), strictest.as_str())
        }
        Simulated::NotJudged(why) => format!("not judged: {why}"),
    }
}

const READS: &str =
    "- {id: reads, match: {labels: {mcp.action: read}, mcp: {allow_servers: [tracker]}}, decision: allow}\n";

#[test]
fn call_is_judged_by_what_the_record_keeps() {
    assert_eq!(verdict(READS, "list"), "allow");
    assert_eq!(verdict(READS, "pay"), "deny");
    let asks = "- {id: money, match: {risk_tags: [money]}, decision: require_approval, reason: x}\n";
    assert_eq!(verdict(asks, "pay"), "require_approval");
}

#[test]
fn predicate_over_arguments_is_undecidable_and_never_guessed() {
    let allows = "- {id: small, match: {arguments: {/amount: {lte: 5}}}, decision: allow}\n";
    assert_eq!(verdict(allows, "pay"), "allow to deny (small: arguments)");
    let denies =
        format!("{READS}- {{id: large, match: {{arguments: {{/n: {{gt: 5}}}}}}, decision: deny, reason: x}}\n");
    assert_eq!(verdict(&denies, "list"), "allow to deny (large: arguments)");
    let asks = "- {id: some, match: {arguments: {/n: {gt: 5}}}, decision: require_approval, reason: x}\n";
    assert_eq!(verdict(asks, "pay"), "require_approval to deny (some: arguments)");
}

#[test]
fn what_the_other_conditions_settle_needs_no_arguments() {
    let elsewhere = format!(
        "{READS}- {{id: pay, match: {{mcp: {{allow_tools: [pay]}}, arguments: {{/n: {{gt: 5}}}}}}, decision: deny, reason: x}}\n"
    );
    assert_eq!(verdict(&elsewhere, "list"), "allow");
    let denied_anyway = "- {id: never, match: {mcp: {allow_tools: [pay]}}, decision: deny, reason: x}\n\
                         - {id: small, match: {arguments: {/amount: {lte: 5}}}, decision: allow}\n";
    assert_eq!(verdict(denied_anyway, "pay"), "deny");
    let inside_not = format!(
        "{READS}- {{id: n, match: {{not: {{mcp: {{allow_tools: [pay]}}, arguments: {{/n: {{gt: 5}}}}}}}}, decision: deny, reason: x}}\n"
    );
    assert_eq!(verdict(&inside_not, "list"), "deny");
    assert_eq!(verdict(&inside_not, "pay"), "deny");
}

#[test]
fn groups_scopes_and_filled_in_resources_are_lacking_too() {
    let groups = "- {id: sre, match: {groups: [sre]}, decision: allow}\n";
    assert_eq!(verdict(groups, "list"), "allow to deny (sre: groups)");
    let scopes = "- {id: s, match: {scopes: [a]}, decision: allow}\n";
    assert_eq!(verdict(scopes, "list"), "allow to deny (s: scopes)");
    let demanded = document(READS);
    let mut with_demand = demanded.clone();
    if let Some(server) = with_demand.servers.get_mut("tracker") {
        server.credential.required_scopes.insert("repo".to_owned());
    }
    let found = Simulator::new(&with_demand).judge(&entry("list", Verdict::Allow));
    assert!(matches!(found, Some(Simulated::Undecidable { lacks, .. }) if lacks.contains("scopes")));
    let resource = "- {id: r, match: {labels: {mcp.resource: 'account:1'}}, decision: allow}\n";
    assert!(verdict(resource, "pay").contains("filled in from arguments"));
}

#[test]
fn server_that_the_catalogue_lacks_and_entries_without_facts_are_not_judged() {
    let document = document(READS);
    let mut simulator = Simulator::new(&document);
    let elsewhere = AuditEntry { server: Some("other".to_owned()), ..entry("list", Verdict::Allow) };
    assert!(matches!(simulator.judge(&elsewhere), Some(Simulated::NotJudged(why)) if why.contains("`other`")));
    let nameless = AuditEntry { target: None, ..entry("list", Verdict::Allow) };
    assert!(matches!(simulator.judge(&nameless), Some(Simulated::NotJudged(_))));
    assert_eq!(simulator.judge(&AuditEntry::new(EntryKind::Review, 1)), None);
}

#[test]
fn tally_counts_changes_by_rule_and_by_kind() {
    let document =
        document(&format!("{READS}- {{id: small, match: {{arguments: {{/n: {{lte: 5}}}}}}, decision: allow}}\n"));
    let mut simulator = Simulator::new(&document);
    let mut tally = Tally::default();
    for (target, verdict) in [("list", Verdict::Allow), ("list", Verdict::Deny), ("pay", Verdict::Allow)] {
        let entry = entry(target, verdict);
        let simulated = simulator.judge(&entry).expect("a decision");
        tally.add(&entry, &simulated);
    }
    assert_eq!((tally.calls, tally.same, tally.looser, tally.tighter, tally.undecidable), (3, 1, 1, 0, 1));
    assert_eq!(tally.rules["reads"], RuleTally { matched: 2, looser: 1, ..RuleTally::default() });
    assert_eq!(tally.rules["small"].open, 1);
    let moved = tally.moves.keys().next().expect("a move");
    assert_eq!((moved.from, moved.from_rule.as_str(), moved.to_rule.as_str()), (Verdict::Deny, "old", "reads"));
    assert_eq!(tally.lacks["arguments"], 1);
}

#[test]
fn changes_between_decisions_are_named() {
    let decide = |rule: &str| {
        let document = document(&format!("- {{id: r, match: {{mcp: {{allow_tools: [list]}}}}, {rule}}}\n"));
        let by_route = document.clone();
        let snapshot =
            policy::compile(&bounds::bound(&by_route, Unrecorded::of(&entry("list", Verdict::Allow)), Side::Against));
        let call = cases::read_call("{\"method\":\"tools/call\",\"params\":{\"name\":\"list\"}}", Some("tracker"));
        call.unwrap_or_else(|problems| panic!("{problems}")).judge(&snapshot.expect("compiles"))
    };
    let change = |old: &str, new: &str| compare(&decide(old), &decide(new)).as_str();
    let asks = |groups: &str| {
        format!("decision: require_approval, reason: x, approval: {{approvers: {{all_of: [{groups}]}}}}")
    };
    let bounded = |budgets: &str| format!("decision: allow_with_constraints, constraints: {{budgets: {{{budgets}}}}}");
    assert_eq!(change("decision: allow", "decision: allow, reason: other words"), "same");
    assert_eq!(change("decision: allow", "decision: deny, reason: x"), "tighter");
    assert_eq!(change("decision: deny, reason: x", &asks("{group: sre}")), "looser");
    assert_eq!(change("decision: allow", &bounded("max_retries: 1")), "tighter");
    assert_eq!(change(&bounded("max_retries: 1"), &bounded("max_retries: 2")), "looser");
    assert_eq!(change(&bounded("max_retries: 1"), &bounded("max_retries: 2, max_runtime_ms: 5")), "mixed");
    assert_eq!(change(&asks("{group: '*'}"), &asks("{group: sre}")), "tighter");
    assert_eq!(change(&asks("{group: sre, min: 2}"), &asks("{group: sre}")), "looser");
    assert_eq!(change(&asks("{group: sre}"), &asks("{group: dba}")), "mixed");
}

proptest! {
    /// Whatever the arguments and groups really were, the true verdict lies within what the simulation says.
    #[test]
    fn truth_lies_within_the_bounds(
        verdicts in proptest::collection::vec((0..3_u8, 0..6_u8, 0..3_i64), 1..5),
        amount in proptest::option::of(0..4_i64),
        in_group in any::<bool>(),
        tool in prop_oneof![Just("list"), Just("pay"), Just("unheard-of")],
    ) {
        let rules: String = verdicts.iter().enumerate().map(|(index, (verdict, kind, bound))| {
            let decision = match verdict { 0 => "allow", 1 => "require_approval, reason: x", _ => "deny, reason: x" };
            let condition = match kind {
                0 => format!("arguments: {{/amount: {{lte: {bound}}}}}"),
                1 => format!("not: {{arguments: {{/amount: {{gt: {bound}}}}}}}"),
                2 => "groups: [sre]".to_owned(),
                3 => format!("labels: {{mcp.action: write}}, not: {{groups: [sre], arguments: {{/amount: {{gt: {bound}}}}}}}"),
                4 => "labels: {mcp.action: read}".to_owned(),
                _ => "labels: {mcp.resource: 'account:1'}".to_owned(),
            };
            format!("- {{id: r{index}, match: {{{condition}}}, decision: {decision}}}\n")
        }).collect();
        let document = document(&rules);
        let mut entry = entry(tool, Verdict::Allow);
        entry.rule_ids.clear();
        let simulated = Simulator::new(&document).judge(&entry).expect("a decision");

        let amount = amount.map(|amount| format!(",\"amount\":{amount}")).unwrap_or_default();
        let text = format!("{{\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":{{\"account\":\"1\"{amount}}}}}}}");
        let mut call = cases::read_call(&text, None).expect("a call");
        call.route.host = Some("elsewhere.example".to_owned());
        call.principal = entry.principal.clone().expect("a principal");
        if in_group {
            call.principal.groups.insert("sre".to_owned());
        }
        let truth = verdict_of(&call.judge(&policy::compile(&document).expect("compiles")));
        match simulated {
            Simulated::Decided { decision, .. } => prop_assert_eq!(decision.verdict, truth, "{}", rules),
            Simulated::Undecidable { loosest, strictest, .. } => {
                prop_assert!(loosest <= truth && truth <= strictest, "{loosest:?} {truth:?} {strictest:?}: {rules}");
            }
            Simulated::NotJudged(why) => prop_assert!(false, "{}", why),
        }
    }
}

#[test]
fn what_the_caller_did_before_is_not_guessed() {
    let denies = format!(
        "{READS}- {{id: past, match: {{after: {{risk_tags: [money], within_ms: 5}}}}, decision: deny, reason: x}}\n"
    );
    assert_eq!(verdict(&denies, "list"), "allow to deny (past: what the caller did before)");
    let allows = "- {id: a, match: {not: {after: {risk_tags: [money], within_ms: 5}}}, decision: allow}\n";
    assert_eq!(verdict(allows, "list"), "allow to deny (a: what the caller did before)");
    // Nothing runs anyway, so there is nothing to hold up.
    let asks =
        "- {id: past, match: {after: {risk_tags: [money], within_ms: 5}}, decision: require_approval, reason: x}\n";
    assert_eq!(verdict(asks, "list"), "deny");
}
