//! A report adds up what its period holds, shows hidden characters as what they are, and stays short.

use super::*;

fn report(entries: impl IntoIterator<Item = AuditEntry>) -> Report {
    let mut report = Report::new(Period::default());
    for (seq, entry) in (0..).zip(entries) {
        report.take(seq, &entry);
    }
    report
}

fn denied(rule: &str) -> AuditEntry {
    AuditEntry {
        verdict: Some(Verdict::Deny),
        rule_ids: vec![rule.to_owned()],
        ..AuditEntry::new(EntryKind::Decision, 1)
    }
}

fn review(by: &str, reason: &str) -> AuditEntry {
    AuditEntry {
        by: Some(by.to_owned()),
        status: Some("approve".to_owned()),
        detail: Some(reason.to_owned()),
        target: Some("create_issue".to_owned()),
        server: Some("tracker".to_owned()),
        approval_id: Some("a1".to_owned()),
        ..AuditEntry::new(EntryKind::Review, 1)
    }
}

#[test]
fn who_approved_what_and_what_was_denied_stands_in_it() {
    let limited = AuditEntry {
        verdict: Some(Verdict::Allow),
        detail: Some("calls at once".to_owned()),
        ..AuditEntry::new(EntryKind::Decision, 1)
    };
    let gap = AuditEntry { detail: Some("3 entries are missing".to_owned()), ..AuditEntry::new(EntryKind::Gap, 1) };
    let closed = AuditEntry { status: Some("expired".to_owned()), ..AuditEntry::new(EntryKind::ApprovalClosed, 1) };
    let said =
        report([denied("no-deletes"), denied("no-deletes"), review("local alice", "fine"), limited, gap, closed]);
    assert_eq!((said.entries, said.decisions["deny"], said.denials["no-deletes"]), (6, 2, 2));
    assert_eq!((said.limits["calls at once"], said.closed["expired"]), (1, 1));
    let text = said.text();
    for part in [
        "local alice  approve  create_issue on tracker",
        "(a1, entry 2): fine",
        "MISSING ENTRIES",
        "3 entries are missing",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn entries_from_before_and_after_are_left_out() {
    let at = |at_ms| Some(crate::cli::audit::filter::When { at_ms });
    let mut said = Report::new(Period { since: at(10), until: at(20) });
    for at_ms in [9, 10, 19, 20] {
        said.take(0, &AuditEntry::new(EntryKind::Gap, at_ms));
    }
    assert_eq!((said.entries, said.gaps.len()), (2, 2));
}

#[test]
fn words_of_others_neither_hide_nor_write_html() {
    let said = report([review("local mallory\u{202e}", "<script>alert(1)</script>"), denied("a\u{1b}[2J")]);
    let (text, page) = (said.text(), said.render().unwrap());
    for shown in [&text, &page, &serde_json::to_string(&said).unwrap()] {
        assert!(!shown.contains('\u{202e}') && !shown.contains('\u{1b}'), "{shown}");
    }
    assert!(page.contains("alert(1)") && !page.contains("<script>alert"), "{page}");
}

#[test]
fn of_many_rows_the_rest_is_counted() {
    let many = |of: &dyn Fn(usize) -> AuditEntry| report((0..502).map(of));
    let said = many(&|_| review("local alice", ""));
    assert_eq!((said.reviews.len(), said.reviews_left_out), (500, 2));
    assert!(said.text().contains("… and 2 more"));
    let said = many(&|_| AuditEntry::new(EntryKind::Gap, 1));
    assert_eq!((said.gaps.len(), said.gaps_left_out), (500, 2));
    assert!(said.text().contains("… and 2 more") && said.render().unwrap().contains("… and 2 more"));
    let said = many(&|_| AuditEntry::new(EntryKind::TokenChanged, 1));
    assert_eq!((said.changes.len(), said.changes_left_out), (500, 2));
    let said = many(&|at| denied(&format!("rule-{at:03}")));
    assert_eq!((said.denials.len(), said.denials[OTHERS], said.denials["rule-499"]), (501, 2, 1));
}
