//! Tools that are pinned by their definition: what is denied, held, or let through when it is another one, or unseen.

use super::*;
use crate::digest::Digest;
use crate::policy::PIN_RULE_ID;

fn known() -> Digest {
    Digest::of(b"known")
}

fn policy(definition: &str, rules: &str) -> PolicySnapshot {
    snapshot(&format!(
        "version: \"2026-01-27\"\nservers:\n  github:\n    tools:\n      do_it: {{action: write, definition: {definition}}}\n      \
         other: {{action: write}}\nrules:\n{rules}"
    ))
}

const ALLOW: &str = "- {id: all, match: {mcp: {allow_servers: [github]}}, decision: allow}\n";

fn calling(name: &str, definition: Option<Digest>) -> Call {
    Call { definition, ..tool(name, "{}") }
}

fn changed() -> Option<Digest> {
    Some(Digest::of(b"changed"))
}

#[test]
fn a_changed_or_unseen_definition_denies_what_every_rule_allows() {
    let policy = policy(&format!("\"{}\"", known()), ALLOW);
    assert_eq!(decide(&policy, calling("do_it", Some(known()))).verdict, Verdict::Allow);
    for definition in [changed(), None] {
        let decision = decide(&policy, calling("do_it", definition));
        assert_eq!((decision.verdict, decision.rule_id()), (Verdict::Deny, PIN_RULE_ID), "{definition:?}");
        assert_eq!(rule_ids(&decision), [PIN_RULE_ID, "all"]);
        assert_eq!(decide(&policy, calling("other", definition)).verdict, Verdict::Allow, "what is not pinned");
    }
}

#[test]
fn a_pin_may_ask_people_instead_and_their_requirements_add_up() {
    let asks = format!(
        "{{digest: [\"{}\"], on_change: require_approval, approval: {{approvers: {{all_of: [{{group: sec}}]}}}}}}",
        known()
    );
    let approvers = |rules: &str, definition| {
        let decision = decide(&policy(&asks, rules), calling("do_it", definition));
        let groups = decision.approval.map(|asked| asked.all_of.into_iter().map(|one| one.group).collect::<Vec<_>>());
        (decision.verdict, groups.unwrap_or_default())
    };
    let held = "- {id: ask, match: {}, decision: require_approval, approval: {approvers: {all_of: [{group: sre}]}}}\n";
    assert_eq!(approvers(ALLOW, changed()), (Verdict::RequireApproval, vec!["sec".to_owned()]));
    assert_eq!(approvers(ALLOW, None), (Verdict::RequireApproval, vec!["sec".to_owned()]), "unseen is no better");
    assert_eq!(approvers(ALLOW, Some(known())), (Verdict::Allow, vec![]));
    assert_eq!(
        approvers(held, changed()),
        (Verdict::RequireApproval, vec!["sec".to_owned(), "sre".to_owned()]),
        "both groups"
    );
    assert_eq!(approvers("  []", changed()).0, Verdict::Deny, "a pin grants nothing");
}

#[test]
fn what_was_not_seen_yet_may_be_let_through_on_purpose() {
    let open = policy(&format!("{{digest: \"{}\", on_unseen: allow}}", known()), ALLOW);
    assert_eq!(decide(&open, calling("do_it", None)).verdict, Verdict::Allow);
    assert_eq!(decide(&open, calling("do_it", changed())).verdict, Verdict::Deny);
}

#[test]
fn a_changed_definition_is_another_basis_pinned_or_not() {
    let policy = policy(&format!("\"{}\"", known()), "- {id: ask, match: {}, decision: require_approval}\n");
    for name in ["do_it", "other"] {
        let basis = |definition| decide(&policy, calling(name, definition)).basis;
        assert_ne!(basis(Some(known())), basis(changed()), "{name}");
        assert_ne!(basis(Some(known())), basis(None), "{name}");
        assert_eq!(basis(changed()), basis(changed()), "{name}");
    }
}

#[test]
fn a_rule_that_denies_keeps_the_first_word() {
    let hidden = "- {id: hidden, match: {}, decision: deny, conceal: true}\n";
    let decision = decide(&policy(&format!("\"{}\"", known()), hidden), calling("do_it", changed()));
    assert!(decision.conceal);
    assert_eq!(rule_ids(&decision), ["hidden", PIN_RULE_ID]);
}

#[test]
fn a_list_hides_a_definition_that_no_call_could_run_under() {
    let denies = policy(&format!("\"{}\"", known()), ALLOW);
    let asks = policy(&format!("{{digest: \"{}\", on_change: require_approval}}", known()), ALLOW);
    let other = Digest::of(b"changed");
    assert!(denies.pin_denies("github", "do_it", other) && !asks.pin_denies("github", "do_it", other));
    assert!(!denies.pin_denies("github", "do_it", known()) && !denies.pin_denies("github", "other", other));
    assert!(denies.pins("github", "do_it") && !denies.pins("github", "other") && !denies.pins("nobody", "do_it"));
}

#[test]
fn pins_are_part_of_the_policy_and_survive_its_one_spelling() {
    let definition = format!(
        "{{digest: \"{}\", on_change: require_approval, on_unseen: allow, approval: {{claim_within_ms: 1000}}}}",
        known()
    );
    let one = policy(&definition, ALLOW);
    let read = compile(&read_file(one.canonical()).expect("its own grammar")).expect("compiles");
    assert_eq!((read.id(), read.canonical()), (one.id(), one.canonical()));
    assert_ne!(one.id(), policy(&format!("\"{}\"", known()), ALLOW).id());
    let short = policy(&format!("\"{}\"", known()), ALLOW);
    let long = policy(&format!("{{digest: [\"{}\"], on_change: deny, on_unseen: deny}}", known()), ALLOW);
    assert_eq!(short.id(), long.id(), "defaults written out");
}

#[test]
fn a_pin_that_means_nothing_is_an_error() {
    let problems = |tools: &str| {
        let text = format!("version: \"2026-01-27\"\nservers:\n  github:\n    {tools}\nrules: []\n");
        read_file(&text).expect_err("refused").to_string()
    };
    let of = |definition: &str| problems(&format!("tools: {{a: {{action: read, definition: {definition}}}}}"));
    assert!(of("\"sha256:12\"").contains("64 lower-case hex digits"));
    assert!(of("[]").contains("empty list"));
    assert!(of("{on_change: deny}").contains("`digest` is missing"));
    assert!(of(&format!("{{digest: \"{}\", on_change: allow}}", known())).contains("unknown word `allow`"));
    assert!(of(&format!("{{digest: \"{}\", approval: {{}}}}", known())).contains("belongs to"));
    let digest = known();
    assert!(problems(&format!("tools: {{\"a*\": {{action: read, definition: \"{digest}\"}}}}")).contains("exact name"));
    assert!(problems(&format!("prompts: {{a: {{action: read, definition: \"{digest}\"}}}}")).contains("only tools"));
}

#[test]
fn lint_warns_of_a_pin_that_is_open_until_a_list_is_seen() {
    let findings = |more: &str| {
        let text = format!(
            "version: \"2026-01-27\"\nservers:\n  github:\n    tools: {{look: {{action: read, definition: {{digest: \"{}\"{more}}}}}}}\nrules: []\n",
            known()
        );
        let document = read_file(&text).expect("a policy");
        lint(&document).into_iter().map(|finding| finding.lint).collect::<Vec<_>>()
    };
    assert_eq!(findings(", on_unseen: allow"), ["pin-open-until-seen"]);
    assert_eq!(findings(""), [""; 0]);
}
