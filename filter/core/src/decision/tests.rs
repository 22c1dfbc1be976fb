//! How constraints unite and read.

use super::*;

fn limit(rule_id: &str, jobs_max: u32) -> ConcurrencyLimit {
    ConcurrencyLimit { rule_id: rule_id.to_owned(), jobs_max, scope: LimitScope::Process }
}

#[test]
fn united_constraints_are_as_strict_as_each() {
    let from = |name: &str, rule: &str| [(name.to_owned(), rule.to_owned())].into();
    let one = Constraints {
        max_runtime_ms: Some(5),
        concurrency: [limit("a", 1)].into(),
        limited_by: from("max_runtime_ms", "a"),
        ..Constraints::default()
    };
    let two = Constraints {
        max_runtime_ms: Some(9),
        max_retries: Some(2),
        concurrency: [limit("b", 3)].into(),
        limited_by: from("max_runtime_ms", "b"),
        ..Constraints::default()
    };
    let both = one.united(&two);
    assert_eq!(both, two.united(&one));
    assert_eq!((both.max_runtime_ms, both.max_retries), (Some(5), Some(2)));
    assert_eq!(both.concurrency, [limit("a", 1), limit("b", 3)].into());
    assert_eq!(both.limited_by, from("max_runtime_ms", "a"), "the rule whose limit it is, not every rule");
    assert_eq!(one.united(&Constraints::default()), one);
}

#[test]
fn constraints_read_as_words() {
    let all = Constraints {
        max_runtime_ms: Some(30_000),
        max_retries: Some(1),
        concurrency: [limit("a", 1)].into(),
        limited_by: [("max_runtime_ms".to_owned(), "b".to_owned())].into(),
        ..Constraints::default()
    };
    assert_eq!(all.to_string(), "at most 30000 ms (rule `b`), 1 retry, 1 at a time (rule `a`)");
    let answer = Constraints {
        rates: [RateLimit {
            rule_id: "r".to_owned(),
            scope: LimitScope::Process,
            calls_max: 3,
            per_ms: 1_000,
            key: RateKey::Actor,
            of: "alice".to_owned(),
        }]
        .into(),
        output: OutputLimits {
            max_bytes: Some(10),
            redact: ["sk-*".to_owned()].into(),
            redaction_level: RedactionLevel::Secrets,
        },
        bounds: [KeptBound { rule_id: "b".to_owned(), text: "only tools `a`".to_owned() }].into(),
        ..Constraints::default()
    };
    assert_eq!(
        answer.to_string(),
        "3 calls in 1000 ms for actor `alice` (rule `r`), an answer of at most 10 bytes, secrets taken out of the \
         answer, `sk-*` taken out of the answer, only tools `a` (rule `b`)"
    );
    assert!(!answer.is_empty());
    assert_eq!(Constraints::default().to_string(), "no constraints");
}

#[test]
fn a_batch_needs_a_permit_for_each_of_its_messages() {
    let permit = |runtime_ms: u64| {
        let constraints = Constraints { max_runtime_ms: Some(runtime_ms), ..Constraints::default() };
        Permit::new(None, Digest::of(b"snapshot"), constraints.into())
    };
    let all = PermitSet::of_all(vec![permit(9), permit(5)], 2).expect("one for each");
    assert_eq!((all.permits().len(), all.constraints().max_runtime_ms), (2, Some(5)));
    for (permits, messages) in [(vec![], 0), (vec![], 1), (vec![permit(9)], 2), (vec![permit(9), permit(5)], 1)] {
        assert!(PermitSet::of_all(permits, messages).is_none());
    }
}

#[test]
fn requirements_of_several_rules_add_up_and_escalate_last() {
    let group = |group: &str, min| ApproverGroup { group: group.to_owned(), min };
    let plain = ApprovalRequirement { all_of: vec![group("sre", 1)], ..ApprovalRequirement::default() };
    let escalating = ApprovalRequirement {
        all_of: vec![group("security", 2)],
        decide_within_ms: 60_000,
        escalation: Some(Escalation { after_ms: 1_000, all_of: vec![group("oncall", 1)] }),
        grants: Some(GrantLimits { uses_max: 5, within_ms_max: 1_000 }),
        ..ApprovalRequirement::default()
    };
    let later = ApprovalRequirement {
        escalation: Some(Escalation { after_ms: 2_000, all_of: vec![group("oncall", 2)] }),
        grants: Some(GrantLimits { uses_max: 3, within_ms_max: 9_000 }),
        ..escalating.clone()
    };
    let both = ApprovalRequirement::all_together([&plain, &escalating].into_iter());
    assert_eq!(both.all_of, [group("security", 2), group("sre", 1)]);
    assert_eq!(both.decide_within_ms, 60_000);
    let escalated = Escalation { after_ms: 1_000, all_of: vec![group("oncall", 1), group("sre", 1)] };
    assert_eq!(both.escalation, Some(escalated), "a rule that does not escalate still needs its own");
    assert_eq!(both.grants, None, "every rule must grant");
    let two = ApprovalRequirement::all_together([&escalating, &later].into_iter());
    assert_eq!(two.escalation, Some(Escalation { after_ms: 2_000, all_of: vec![group("oncall", 2)] }));
    assert_eq!(two.grants, Some(GrantLimits { uses_max: 3, within_ms_max: 1_000 }));
}
