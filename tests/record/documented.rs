//! What is written down about the record and its figures is what the code has: the schema of entries, the dashboard.

use std::collections::BTreeSet;

use holdpoint_core::audit::EntryKind;
use holdpoint_tests::repository;
use serde_json::Value;

/// What stands between `from` and the next `to`.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("`{from}`"));
    rest.split_once(to).map_or(rest, |(part, _)| part)
}

/// Every word that stands right behind `mark`, up to a character that no name has.
fn behind(text: &str, mark: &str) -> BTreeSet<String> {
    let word =
        |part: &str| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("").to_owned();
    text.split(mark).skip(1).map(word).filter(|word| !word.is_empty()).collect()
}

#[test]
fn the_page_of_the_record_names_every_field_and_kind_and_no_other() -> anyhow::Result<()> {
    let page = repository::text("approval-svc/RECORD.md")?;
    let code = repository::text("filter/core/src/audit.rs")?;
    let mut fields = behind(between(&code, "pub struct AuditEntry {", "\n}\n"), "    pub ");
    // It goes with the entry and stands beside it: no part of the text that is hashed.
    fields.remove("payload");
    let kinds = behind(between(between(&code, "impl EntryKind {", "\n}\n"), "match self {", "\n        }"), "=> \"");
    assert!(fields.len() > 20 && kinds.len() > 15, "{fields:?} {kinds:?}");
    let rows = |part: &str| behind(part, "\n| `");
    assert_eq!(rows(between(&page, "## Fields", "## Kinds")), fields, "approval-svc/RECORD.md, fields");
    let documented: BTreeSet<String> =
        rows(between(&page, "## Kinds", "\n\nA `gap`")).into_iter().filter(|kind| kind != "kind").collect();
    assert_eq!(documented, kinds, "approval-svc/RECORD.md, kinds");
    let all: BTreeSet<String> = EntryKind::ALL.iter().map(|kind| kind.as_str().to_owned()).collect();
    assert_eq!(all, kinds, "EntryKind::ALL");
    Ok(())
}

#[test]
fn every_query_of_the_dashboard_asks_for_metrics_that_filter_or_service_have() -> anyhow::Result<()> {
    let filter = behind(&repository::text("filter/src/metrics.rs")?, "\"holdpoint.");
    let service = repository::text("approval-svc/src/metrics.rs")?;
    let service = behind(
        &service.replace("register(\n", "register(").replace("register(            \"", "register(\""),
        "register(\"",
    );
    let mut known: BTreeSet<String> = filter.iter().map(|name| format!("holdpoint_{name}")).collect();
    for name in &service {
        // OpenMetrics: a counter ends in `_total`, a histogram has buckets.
        known.extend(["", "_total", "_bucket"].map(|end| format!("holdpoint_{name}{end}")));
    }
    let dashboard: Value = serde_json::from_str(&repository::text("envoy/grafana.json")?)?;
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut asked = BTreeSet::new();
    for panel in panels {
        assert!(
            panel["description"].as_str().is_some_and(|why| !why.is_empty()),
            "{}: what is it for?",
            panel["title"]
        );
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            asked.extend(behind(query, "holdpoint_").into_iter().map(|name| format!("holdpoint_{name}")));
        }
    }
    assert!(asked.len() > 12, "{asked:?}");
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "nobody counts {unknown:?}");
    Ok(())
}
