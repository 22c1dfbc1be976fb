//! A report adds up what its period holds, shows hidden characters as what they are, and stays short.

use super::*;

fn report(entries: impl IntoIterator<Item = AuditEntry>) -> Report {
    let mut report = Report::new(Period::default());
    for (seq, entry) in (0..).zip(entries) {
        report.take(seq, &entry);
    }
    report.add_up();
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
    let closed = of_approval(EntryKind::ApprovalClosed, "a1", "expired");
    let said =
        report([denied("no-deletes"), denied("no-deletes"), review("local alice", "fine"), limited, gap, closed]);
    assert_eq!((said.entries, said.decisions["deny"], said.denials["no-deletes"]), (6, 2, 2));
    assert_eq!((said.limits["calls at once"], said.approvals["expired"]), (1, 1));
    let text = said.text();
    for part in [
        "local alice  approved  create_issue on tracker",
        "(a1, entry 2): fine",
        "MISSING ENTRIES",
        "3 entries are missing",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

fn of_approval(kind: EntryKind, id: &str, status: &str) -> AuditEntry {
    let (approval_id, status) = (Some(id.to_owned()), Some(status.to_owned()));
    AuditEntry { approval_id, status, ..AuditEntry::new(kind, 1) }
}

#[test]
fn approval_counts_once_by_where_it_stands_last() {
    let said = report([
        of_approval(EntryKind::ApprovalOpened, "a1", "pending"),
        of_approval(EntryKind::ApprovalClosed, "a1", "approved"),
        of_approval(EntryKind::Claim, "a1", "consumed"),
        of_approval(EntryKind::ApprovalOpened, "a2", "pending"),
        of_approval(EntryKind::ApprovalClosed, "a3", "lapsed"),
    ]);
    assert_eq!(said.approvals, BTreeMap::from([("consumed", 1), ("lapsed", 1), ("pending", 1)]));
    let text = said.text();
    for row in ["1  Approved, used", "1  Approved, unused", "1  Waiting"] {
        assert!(text.contains(row), "{row}: {text}");
    }
}

#[test]
fn what_changed_stands_under_what_it_is_about_in_the_words_of_the_pages() {
    let entry = |kind, status: &str, detail: &str| AuditEntry {
        status: (!status.is_empty()).then(|| status.to_owned()),
        detail: (!detail.is_empty()).then(|| detail.to_owned()),
        by: Some("local root".to_owned()),
        ..AuditEntry::new(kind, 1)
    };
    let id = holdpoint_core::digest::Digest::of(b"policy");
    let registered = AuditEntry { snapshot_id: Some(id), by: None, ..entry(EntryKind::PolicyRegistered, "", "") };
    let began = AuditEntry { source: Some("edge/b1".to_owned()), ..AuditEntry::new(EntryKind::SourceBegan, 1) };
    let listed = AuditEntry { server: Some("tracker".to_owned()), ..entry(EntryKind::DefinitionChanged, "new", "") };
    let ran = AuditEntry { outcome: Some(Outcome::Committed), ..AuditEntry::new(EntryKind::Outcome, 1) };
    let held = AuditEntry { verdict: Some(Verdict::RequireApproval), ..AuditEntry::new(EntryKind::Decision, 1) };
    let said = report([
        entry(EntryKind::TokenChanged, "created", "token 1"),
        entry(EntryKind::TokenChanged, "signed_in", "browser session"),
        entry(EntryKind::TokenChanged, "signed_out", "browser session"),
        registered,
        began,
        listed,
        ran,
        held,
    ]);
    let rows = |area| said.changes[&area].rows.iter().map(|row| row.what.as_str()).collect::<Vec<_>>();
    assert_eq!(rows(Area::Access), ["A token or a sign-in link changed  created  by local root  token 1"]);
    assert_eq!(rows(Area::Policies), [format!("A policy was registered  {id}")]);
    assert_eq!(rows(Area::Gateways), ["A gateway's worker began to report  edge/b1"]);
    assert_eq!(rows(Area::Servers), ["A server offers something new  on tracker  by local root"]);
    assert_eq!(said.sign_ins, BTreeMap::from([("local root".to_owned(), 1)]));
    for shown in [said.text(), said.render().unwrap()] {
        for part in ["Who signed in", "Policies", "The server answered with a result", "Put before people"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        for raw in ["policy_registered", "source_began", "committed", "require_approval", "signed_in"] {
            assert!(!shown.contains(raw), "{raw}: {shown}");
        }
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
    let section = &said.changes[&Area::Access];
    assert_eq!((section.rows.len(), section.left_out), (500, 2));
    assert!(said.text().contains("… and 2 more") && said.render().unwrap().contains("… and 2 more"));
    let said = many(&|at| denied(&format!("rule-{at:03}")));
    assert_eq!((said.denials.len(), said.denials[OTHERS], said.denials["rule-499"]), (501, 2, 1));
}
