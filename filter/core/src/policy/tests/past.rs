//! Rules that look back: what a caller did before makes the present stricter, and what nobody knows does too.

use super::*;
use crate::digest::Digest;

/// Fixed answers to every question about the past.
struct Told(Past);

impl UsageView for Told {
    fn past(&self, _: Digest, _: &Principal) -> Past {
        self.0
    }
}

const NOW_MS: u64 = 1_000_000;

fn told(last_at_ms: Option<u64>, began_at_ms: u64, lost_at_ms: Option<u64>) -> Told {
    Told(Past { now_ms: NOW_MS, last_at_ms, began_at_ms, lost_at_ms })
}

fn verdict(policy: &PolicySnapshot, usage: &dyn UsageView) -> Verdict {
    let envelope = seal(policy, tool("create_issue", "{}"));
    let decision = std::sync::Arc::unwrap_or_clone(policy.evaluate(&envelope, usage).decision);
    assert_eq!(policy.trace(&envelope, usage).decision, decision);
    decision.verdict
}

const AFTER: &str = "after: {risk_tags: [confidential], within_ms: 1000}";
const OPEN: &str = "- {id: open, match: {}, decision: allow}\n";

#[test]
fn what_was_done_within_the_time_asks_and_what_is_not_known_asks_too() {
    let policy = with_rules(&format!("{OPEN}- {{id: r, match: {{{AFTER}}}, decision: require_approval}}\n"));
    let long_ago = NOW_MS - 1_000;
    for (usage, expected) in [
        (told(None, 0, None), Verdict::Allow),
        (told(Some(long_ago + 1), 0, None), Verdict::RequireApproval),
        (told(Some(long_ago), 0, None), Verdict::Allow),
        // The clock stepped back.
        (told(Some(NOW_MS + 60_000), 0, None), Verdict::RequireApproval),
        // Nobody wrote down what ran at the beginning of the time, or some of it was forgotten.
        (told(None, long_ago, None), Verdict::Allow),
        (told(None, long_ago + 1, None), Verdict::RequireApproval),
        (told(None, 0, Some(long_ago)), Verdict::Allow),
        (told(None, 0, Some(long_ago + 1)), Verdict::RequireApproval),
        (Told(Past::UNKNOWN), Verdict::RequireApproval),
    ] {
        assert_eq!(verdict(&policy, &usage), expected, "{:?}", usage.0);
    }
}

#[test]
fn clean_start_is_a_word_that_somebody_wrote_and_forgives_no_loss() {
    let after = "after: {risk_tags: [confidential], within_ms: 1000, before_start: clean}";
    let policy = with_rules(&format!("{OPEN}- {{id: r, match: {{{after}}}, decision: deny}}\n"));
    assert_eq!(verdict(&policy, &told(None, NOW_MS, None)), Verdict::Allow);
    assert_eq!(verdict(&policy, &told(None, NOW_MS, Some(NOW_MS))), Verdict::Deny);
    assert_eq!(verdict(&policy, &told(Some(NOW_MS), NOW_MS, None)), Verdict::Deny);
}

#[test]
fn past_never_opens_what_is_closed_to_others() {
    // Alone the rule would ask where nobody else may even ask.
    let policy = with_rules(&format!("- {{id: r, match: {{{AFTER}}}, decision: require_approval}}\n"));
    for usage in [told(Some(NOW_MS), 0, None), told(None, 0, None), Told(Past::UNKNOWN)] {
        assert_eq!(verdict(&policy, &usage), Verdict::Deny);
    }
    let policy = with_rules(&format!("- {{id: r, match: {{not: {{{AFTER}}}}}, decision: allow}}\n"));
    assert_eq!(verdict(&policy, &told(None, 0, None)), Verdict::Allow);
    assert_eq!(verdict(&policy, &told(Some(NOW_MS), 0, None)), Verdict::Deny);
    assert_eq!(verdict(&policy, &Told(Past::UNKNOWN)), Verdict::Deny);
}

#[test]
fn grammar_refuses_a_past_that_would_loosen_or_says_nothing() {
    let problems = |rule: &str| {
        let text = format!("version: \"2026-01-27\"\nrules:\n- {{id: r, {rule}}}\n");
        read_file(&text).err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    for (rule, expected) in [
        (format!("match: {{{AFTER}}}, decision: allow"), "would allow a call because of what its caller did"),
        (format!("match: {{not: {{{AFTER}}}}}, decision: deny"), "would spare a caller"),
        (format!("match: {{not: {{{AFTER}}}}}, decision: require_approval"), "would spare a caller"),
        (format!("match: {{not: {{not: {{{AFTER}}}}}}}, decision: allow"), "would allow a call"),
        ("match: {after: {within_ms: 5}}, decision: deny".to_owned(), "what the earlier call was"),
        ("match: {after: {servers: a}}, decision: deny".to_owned(), "within_ms"),
        ("match: {after: {servers: a, within_ms: 0}}, decision: deny".to_owned(), "0"),
        ("match: {after: {servers: a, within_ms: 86400001}}, decision: deny".to_owned(), "86400000"),
        ("match: {after: {servers: a, within_ms: 5, scope: fleet}}, decision: deny".to_owned(), "scope"),
        ("match: {after: {tools: a, within_ms: 5}}, decision: deny".to_owned(), "tools"),
    ] {
        let found = problems(&rule);
        assert!(found.contains(expected), "{rule}: {found:?}");
    }
    for rule in [
        format!("match: {{{AFTER}}}, decision: deny"),
        format!("match: {{not: {{not: {{{AFTER}}}}}}}, decision: deny"),
        format!("match: {{not: {{{AFTER}}}}}, decision: allow"),
    ] {
        assert_eq!(problems(&rule), "", "{rule}");
    }
}

#[test]
fn call_has_the_marks_of_every_reading_and_of_what_it_may_bring() {
    let policy = with_rules(
        "- {id: a, match: {after: {risk_tags: [prod], within_ms: 1}}, decision: deny}\n\
         - {id: b, match: {after: {risk_tags: [prod], within_ms: 9}}, decision: deny}\n\
         - {id: c, match: {after: {capabilities: repo.*, servers: github, within_ms: 1}}, decision: deny}\n\
         - {id: d, match: {after: {servers: intranet, within_ms: 1}}, decision: deny}\n\
         - {id: e, match: {not: {after: {risk_tags: [secrets], within_ms: 1}}}, decision: allow}\n",
    );
    assert_eq!(policy.marks().count(), 4, "one kind of call, however far back, is one mark");
    let count = |call| policy.marks_of(&seal(&policy, call)).len();
    assert_eq!(count(tool("create_issue", "{}")), 2);
    assert_eq!(count(tool("list_issues", "{}")), 1);
    assert_eq!(count(call("intranet", "tools/call", r#"{"name":"search"}"#)), 1);
    // A secret that the caller sends makes a reading of its own.
    let secret = r#"{"t":"ghp_16C7e42F292c6912E7710c838347Ae178B4a"}"#;
    assert_eq!(count(tool("list_issues", secret)), 2);
    // The result of a task may be that of any call.
    assert_eq!(count(call("github", "tasks/result", r#"{"taskId":"t"}"#)), 2);
    assert_eq!(count(call("github", "tools/list", "{}")), 0);
    let mut resumed = tool("list_issues", "{}");
    resumed.headers.push(("last-event-id".to_owned(), b"7".to_vec()));
    assert_eq!(count(resumed), 2);
}

#[test]
fn canonical_text_keeps_the_past_and_names_the_policy_alike_with_and_without_scope() {
    let of = |after: &str| with_rules(&format!("- {{id: r, match: {{after: {{{after}}}}}, decision: deny}}\n"));
    let policy = of("risk_tags: [a], servers: b, within_ms: 7, before_start: clean");
    let again = compile(&read_file(policy.canonical()).unwrap()).unwrap();
    assert_eq!(again.id(), policy.id());
    assert_eq!(of("servers: b, within_ms: 7").id(), of("servers: b, within_ms: 7, scope: process").id());
    assert_ne!(of("servers: b, within_ms: 7").id(), of("servers: b, within_ms: 8").id());
}

#[test]
fn lists_show_what_only_the_past_forbids_for_the_past_is_forgotten_one_day() {
    let policy = with_rules(&format!("{OPEN}- {{id: r, match: {{{AFTER}}}, decision: deny}}\n"));
    assert!(policy.may_ever(&principal(), "github", crate::envelope::Offered::Tool("create_issue")));
    let policy = with_rules(&format!("- {{id: r, match: {{not: {{{AFTER}}}}}, decision: allow}}\n"));
    assert!(policy.may_ever(&principal(), "github", crate::envelope::Offered::Tool("create_issue")));
}

#[test]
fn trace_says_what_was_looked_for_and_that_it_is_not_known() {
    let policy = with_rules(&format!("- {{id: r, match: {{{AFTER}}}, decision: deny}}\n"));
    let trace = policy.trace(&seal(&policy, tool("create_issue", "{}")), &UnknownUsage);
    let condition = &trace.readings[0].rules[0].conditions[0];
    assert_eq!((condition.field.as_str(), condition.truth), ("after", Truth::Unknown));
    assert_eq!(condition.wanted, ["risk_tags confidential", "1000 ms"]);
    assert!(condition.why.is_some());
}

#[test]
fn lint_tells_whoever_looks_back_how_far_that_reaches() {
    let found = |after: &str| {
        let text = format!(
            "version: \"2026-01-27\"\n{CATALOGUE}rules:\n\
             - {{id: r, match: {{after: {{{after}, within_ms: 5}}}}, decision: deny, reason: x}}\n"
        );
        lint(&read_file(&text).unwrap())
            .into_iter()
            .map(|finding| finding.lint)
            .filter(|lint| *lint != "pattern-hides")
            .collect::<Vec<_>>()
    };
    assert_eq!(found("risk_tags: [prod], scope: process"), [""; 0]);
    assert_eq!(found("risk_tags: [prod]"), ["after-is-per-process"]);
    assert_eq!(found("risk_tags: [prod], scope: process, before_start: clean"), ["restart-forgets"]);
    assert_eq!(found("risk_tags: [prud], scope: process"), ["looks-for-nothing"]);
    assert_eq!(found("servers: github, capabilities: mail.*, scope: process"), ["looks-for-nothing"]);
}
