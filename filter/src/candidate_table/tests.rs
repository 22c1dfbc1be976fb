//! What one worker counts, and that nothing is counted twice or without end.

use holdpoint_core::decision::Verdict;
use holdpoint_core::simulate::Change;

use super::*;

fn id(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn pair(candidate: &str) -> (Digest, Digest) {
    (id("policy"), id(candidate))
}

fn differs(tool: Option<&str>, rule: &str, at_ms: u64) -> CandidateDifference {
    CandidateDifference {
        server: "s".to_owned(),
        method: "tools/call".to_owned(),
        tool: tool.map(str::to_owned),
        change: Change::Tighter,
        verdict: Verdict::Allow,
        rule_id: rule.to_owned(),
        candidate_verdict: Verdict::Deny,
        candidate_rule_id: "no".to_owned(),
        calls: 1,
        sample: CandidateSample { call_digest: Some(id(&at_ms.to_string())), at_ms },
    }
}

#[test]
fn a_report_holds_all_that_was_counted_so_one_that_was_lost_is_made_up_for() {
    let mut table = CandidateTable::default();
    assert_eq!(table.next_report("gw/1"), None);
    table.count(pair("a"), None, "gw/1", 5);
    table.count(pair("a"), Some(differs(Some("x"), "reads", 6)), "gw/1", 6);
    let first = table.next_report("gw/1").expect("a report");
    assert_eq!((first.since_ms, first.until_ms, first.compared, first.differences.len()), (5, 6, 2, 1));
    assert_eq!(table.next_report("gw/1"), None, "nothing new");
    table.report_answered(BatchAnswer::TryAgain);
    table.count(pair("a"), Some(differs(Some("x"), "reads", 9)), "gw/1", 9);
    let again = table.next_report("gw/1").expect("a report");
    assert_eq!((again.compared, again.differences[0].calls, again.differences[0].sample.at_ms), (3, 2, 9));
    table.report_answered(BatchAnswer::Acknowledged);
    assert_eq!(table.next_report("gw/1"), None);
}

#[test]
fn another_candidate_begins_at_nothing_and_the_last_word_on_the_one_before_is_kept() {
    let mut table = CandidateTable::default();
    table.count(pair("a"), None, "gw/1", 5);
    table.count(pair("b"), None, "gw/1", 6);
    let last = table.next_report("gw/1").expect("the last word on `a`");
    assert_eq!((last.candidate_id, last.compared), (id("a"), 1));
    table.report_answered(BatchAnswer::TryAgain);
    assert_eq!(table.next_report("gw/1").map(|report| report.candidate_id), Some(id("a")));
    table.report_answered(BatchAnswer::Acknowledged);
    let now = table.next_report("gw/1").expect("a report");
    assert_eq!((now.candidate_id, now.since_ms, now.compared), (id("b"), 6, 1));
    for number in 0..100 {
        table.count(pair(&number.to_string()), None, "gw/1", 7);
    }
    assert!(table.closed.len() <= CLOSED_MAX);
}

#[test]
fn names_that_a_caller_makes_up_do_not_fill_the_table() {
    let mut table = CandidateTable::default();
    for number in 0..10_000 {
        let tool = number.to_string();
        table.count(pair("a"), Some(differs(Some(&tool), "reads", number)), "gw/1", number);
    }
    let report = table.next_report("gw/1").expect("a report");
    assert_eq!(report.differences.len(), DIFFERENCES_MAX + 1);
    let nameless = report.differences.iter().find(|one| one.tool.is_none()).expect("the rest");
    assert_eq!(nameless.calls, 10_000 - 256);
    for number in 0..1_000 {
        table.count(pair("a"), Some(differs(None, &number.to_string(), 1)), "gw/1", 1);
    }
    let report = table.next_report("gw/1").expect("a report");
    assert_eq!(report.differences.len(), DIFFERENCES_MAX + NAMELESS_MAX);
    let listed: u64 = report.differences.iter().map(|one| one.calls).sum();
    assert_eq!(listed + report.unlisted, 11_000);
    assert!(serde_json::to_vec(&report).expect("JSON").len() < 1_000_000);
}
