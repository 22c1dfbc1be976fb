//! A candidate is asked of every call and decides none.

use holdpoint_core::audit::EntryKind;
use holdpoint_core::decision::Verdict;
use holdpoint_core::simulate::Change;

use super::*;

/// In force as ever; tried: nobody reads, and everybody writes.
fn bench() -> Bench {
    let tried = POLICY
        .replace("decision: allow\n    reason: Reads", "decision: deny\n    reason: Reads")
        .replace("decision: require_approval", "decision: allow");
    assert_ne!(tried, POLICY);
    let mut bench = Bench::new();
    bench.put_in_force(config_with(&format!("{POLICY}\ncandidate:{tried}")));
    bench
}

#[test]
fn calls_are_decided_by_the_policy_in_force_and_the_difference_is_recorded_and_counted() {
    let mut bench = bench();
    let mut exchange = bench.exchange();
    assert!(bench.post(&mut exchange, &call("list_issues")).forwards());
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry") };
    assert_eq!((entry.kind, entry.verdict), (EntryKind::Decision, Some(Verdict::Allow)));
    let other = entry.candidate.as_ref().expect("what the candidate would have done");
    assert_eq!((other.verdict, other.rule_id.as_str(), other.change), (Verdict::Deny, "reads", Change::Tighter));
    assert!(entry.call_digest.is_some(), "by which it is found");

    let (_, did) = bench.hold();
    assert!(did.asked().path.ends_with("/v1/approvals"), "it waits for people as before");
    let mut exchange = bench.exchange();
    let did = bench.post(&mut exchange, &call("delete_project"));
    assert!(!did.forwards() && did.entries()[0].candidate.is_none(), "denied by both");

    let report = bench.desk.candidates.next_report("gw/1").expect("a report");
    let seen: Vec<_> = report
        .differences
        .iter()
        .map(|one| (one.tool.as_deref().unwrap_or_default(), one.verdict, one.candidate_verdict, one.calls))
        .collect();
    assert_eq!(
        seen,
        [
            ("create_issue", Verdict::RequireApproval, Verdict::Allow, 1),
            ("list_issues", Verdict::Allow, Verdict::Deny, 1)
        ]
    );
    assert_eq!(report.compared, 3);
}

#[test]
fn without_a_candidate_nothing_is_compared() {
    let mut bench = Bench::new();
    let mut exchange = bench.exchange();
    bench.post(&mut exchange, &call("list_issues"));
    assert_eq!(bench.desk.candidates.next_report("gw/1"), None);
}
