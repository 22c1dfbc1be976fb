//! What observations become: rows, drift, entries of the record; and what approvers are shown of it.

use holdpoint_core::definition::{DefinitionFact, digest};
use holdpoint_core::identity::ActorType;
use holdpoint_core::inventory::Introduction;

use super::seen::DefinitionStanding;
use super::*;
use crate::approvals::tests::{Desk, desk};
use crate::store::contract::asked;
use crate::store::inventory::DriftChange::{Changed, New, Removed};

const TOOL: DefinitionKind = DefinitionKind::Tool;

fn inventory(desk: &Desk) -> Inventory {
    Inventory::new(Arc::clone(&desk.bench.store), desk.approvals.ledger.clone())
}

fn text(name: &str, says: &str) -> String {
    serde_json::json!({"description": says, "name": name}).to_string()
}

/// `caller` is shown these (name, description) on this page of the list; the last word says whether it is all of it.
fn shown(caller: &str, page: &str, tools: &[(&str, &str)], is_whole: bool) -> ObservationBatch {
    let entries = tools.iter().map(|(name, says)| {
        let text = text(name, says);
        ListedEntry { name: (*name).to_owned(), digest: digest(TOOL, &text), text: Some(text) }
    });
    let page = ListedPage { kind: TOOL, page: Some(Digest::of(page.as_bytes())), is_whole, entries: entries.collect() };
    batch(caller, Sighting::Listed(page))
}

fn batch(caller: &str, saw: Sighting) -> ObservationBatch {
    let caller = Principal { subject: caller.to_owned(), actor_type: ActorType::Agent, ..Principal::anonymous() };
    let observation = Observation { at_ms: 1, server: "github".to_owned(), caller, saw };
    ObservationBatch { source: "gw/1".to_owned(), observations: vec![observation] }
}

async fn drift(desk: &Desk) -> Vec<(String, DriftChange)> {
    let mut rows = desk.bench.store.inventory_drift("github", 100).await.unwrap();
    rows.reverse();
    rows.into_iter().map(|row| (row.name, row.change)).collect()
}

fn told(names: &[(&str, DriftChange)]) -> Vec<(String, DriftChange)> {
    names.iter().map(|(name, change)| ((*name).to_owned(), *change)).collect()
}

#[tokio::test]
async fn what_is_new_changed_or_gone_is_drift_and_the_first_list_is_not() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let see = async |tools: &[(&str, &str)]| inventory.observe(shown("a", "", tools, true)).await.unwrap();
    see(&[("one", "1"), ("two", "2")]).await;
    see(&[("one", "1"), ("two", "2")]).await;
    assert_eq!(drift(&desk).await, told(&[]));
    see(&[("one", "other"), ("three", "3")]).await;
    assert_eq!(drift(&desk).await, told(&[("one", Changed), ("three", New), ("two", Removed)]));
    see(&[("one", "other"), ("two", "2"), ("three", "3")]).await;
    assert_eq!(drift(&desk).await.last(), Some(&("two".to_owned(), New)), "back again");

    let items = desk.bench.store.inventory_items("github").await.unwrap();
    assert!(items.iter().all(|item| !item.is_removed) && items.len() == 3);
    let definitions = desk.bench.store.inventory_definitions("github", TOOL, "one").await.unwrap();
    let texts: Vec<Option<String>> = definitions.into_iter().map(|row| row.text).collect();
    assert_eq!(texts, [Some(text("one", "other")), Some(text("one", "1"))], "the latest first");

    let entries = desk.entries().await;
    let entries = entries.iter().filter(|entry| entry.kind == EntryKind::DefinitionChanged);
    let said: Vec<(Option<&str>, Option<&str>)> =
        entries.clone().map(|entry| (entry.status.as_deref(), entry.target.as_deref())).collect();
    assert_eq!(
        said,
        [
            (Some("first_list"), None),
            (Some("changed"), Some("one")),
            (Some("new"), Some("three")),
            (Some("removed"), Some("two")),
            (Some("new"), Some("two")),
        ]
    );
    assert!(entries.clone().all(|entry| entry.source.as_deref() == Some("gw/1")));
    let changed = entries.clone().nth(1).unwrap();
    assert_eq!(changed.definition, Some(digest(TOOL, &text("one", "other"))));
    assert!(changed.detail.as_deref().unwrap().contains(&digest(TOOL, &text("one", "1")).to_string()));
}

#[tokio::test]
async fn what_one_caller_is_not_shown_is_gone_only_when_nobody_is_shown_it() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let see = async |caller: &str, page: &str, tools: &[(&str, &str)], is_whole: bool| {
        inventory.observe(shown(caller, page, tools, is_whole)).await.unwrap();
    };
    see("a", "", &[("one", "1"), ("two", "2")], true).await;
    see("b", "", &[("one", "1")], true).await;
    assert_eq!(drift(&desk).await, told(&[]), "another caller is shown less");
    see("c", "p1", &[("one", "1")], false).await;
    see("c", "p2", &[("two", "2")], false).await;
    see("a", "", &[("one", "1")], true).await;
    assert_eq!(drift(&desk).await, told(&[]), "a third one is still shown it on a page of its own");
    see("c", "p2", &[], false).await;
    assert_eq!(drift(&desk).await, told(&[("two", Removed)]));
    see("c", "p2", &[("three", "3")], false).await;
    see("c", "p1", &[("one", "1")], true).await;
    assert_eq!(drift(&desk).await.last(), Some(&("three".to_owned(), Removed)), "its list has become one page");
}

/// Two workers of a gateway see two lists within a moment, and the one that saw the older tells last.
#[tokio::test]
async fn list_that_was_seen_before_the_latest_one_changes_nothing_when_it_is_told_after_it() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let see = async |source: &str, at_ms: u64, caller: &str, tools: &[(&str, &str)]| {
        let mut batch = shown(caller, "", tools, true);
        (batch.source, batch.observations[0].at_ms) = (source.to_owned(), at_ms);
        desk.bench.advance(10);
        inventory.observe(batch).await.unwrap();
    };
    let latest = async |name: &str| {
        let items = desk.bench.store.inventory_items("github").await.unwrap();
        let item = items.into_iter().find(|item| item.name == name).unwrap();
        (item.digest, item.is_removed)
    };
    let says = |text_: &str| (digest(TOOL, &text("one", text_)), false);
    see("gw/1", 100_000, "a", &[("one", "old"), ("two", "2")]).await;
    see("gw/2", 100_050, "a", &[("one", "new"), ("two", "2"), ("three", "3")]).await;
    see("gw/1", 100_020, "a", &[("one", "between")]).await;
    assert_eq!(latest("one").await, says("new"), "what was seen last is the latest");
    assert!(!latest("two").await.1 && !latest("three").await.1, "nor is anything gone");
    assert_eq!(drift(&desk).await, told(&[("one", Changed), ("three", New)]));
    let definitions = desk.bench.store.inventory_definitions("github", TOOL, "one").await.unwrap();
    let known: Vec<_> = definitions.iter().map(|row| row.digest).collect();
    assert!(known[0] == says("new").0 && known.contains(&says("between").0), "it is known to have been");
    see("gw/2", 100_080, "a", &[("one", "new"), ("two", "2")]).await;
    see("gw/1", 100_070, "a", &[("one", "new"), ("two", "2"), ("three", "3"), ("four", "4")]).await;
    assert!(latest("three").await.1, "what was gone already does not come back with an older list");
    assert_eq!(drift(&desk).await, told(&[("one", Changed), ("three", New), ("three", Removed)]));
    let items = desk.bench.store.inventory_items("github").await.unwrap();
    assert!(items.iter().all(|item| item.name != "four"), "nor is anything known of what was never there since");
    // Another gateway's clock says nothing about this one's, and one that was set back by more does not either.
    see("other/1", 99_000, "a", &[("one", "elsewhere"), ("two", "2"), ("three", "3")]).await;
    assert_eq!(latest("one").await, says("elsewhere"));
    see("other/1", 9_000, "a", &[("one", "later"), ("two", "2"), ("three", "3")]).await;
    assert_eq!(latest("one").await, says("later"));
}

/// The newer list is the first that is told: what it changed was there before.
#[tokio::test]
async fn change_between_two_lists_is_seen_although_the_older_one_is_told_last() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    for (source, at_ms, says) in [("gw/2", 100_050, "new"), ("gw/1", 100_000, "old"), ("gw/3", 100_010, "old")] {
        let mut batch = shown("a", "", &[("one", says)], true);
        (batch.source, batch.observations[0].at_ms) = (source.to_owned(), at_ms);
        desk.bench.advance(10);
        inventory.observe(batch).await.unwrap();
    }
    assert_eq!(drift(&desk).await, told(&[("one", Changed)]));
    let rows = desk.bench.store.inventory_drift("github", 100).await.unwrap();
    let (old, new) = (digest(TOOL, &text("one", "old")), digest(TOOL, &text("one", "new")));
    assert_eq!((rows[0].before, rows[0].after), (Some(old), Some(new)));
    let items = desk.bench.store.inventory_items("github").await.unwrap();
    assert_eq!(items[0].digest, new, "what was seen last is the latest");
}

#[tokio::test]
async fn a_definition_that_goes_back_and_forth_is_recorded_once_an_hour() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    for says in ["x", "y", "x", "y", "x"] {
        inventory.observe(shown("a", "", &[("one", says)], true)).await.unwrap();
    }
    assert_eq!(drift(&desk).await, told(&[("one", Changed)]));
    let latest = desk.bench.store.inventory_items("github").await.unwrap();
    assert_eq!(latest[0].digest, digest(TOOL, &text("one", "x")), "the latest word is kept nevertheless");
    inventory.observe(shown("a", "", &[("one", "never seen")], true)).await.unwrap();
    assert_eq!(drift(&desk).await.len(), 2, "a new definition is never kept quiet");
    desk.bench.advance(FLAPPING_MS);
    inventory.observe(shown("a", "", &[("one", "y")], true)).await.unwrap();
    assert_eq!(drift(&desk).await.len(), 3);
}

#[tokio::test]
async fn a_text_that_is_not_the_definition_it_is_sent_for_is_not_kept() {
    let desk = desk().await;
    let mut lying = shown("a", "", &[("one", "1")], true);
    let Sighting::Listed(page) = &mut lying.observations[0].saw else { unreachable!() };
    page.entries[0].text = Some("{}".to_owned());
    inventory(&desk).observe(lying).await.unwrap();
    let kept = desk.bench.store.inventory_definitions("github", TOOL, "one").await.unwrap();
    assert_eq!((kept.len(), kept[0].text.as_deref()), (1, None));
}

#[tokio::test]
async fn what_is_too_long_or_nameless_is_refused() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    let refused = |error: Result<(), ObserveError>| matches!(error, Err(ObserveError::Field { .. }));
    assert!(refused(inventory.observe(shown("a", "", &[(&long, "1")], true)).await));
    let mut nameless = shown("a", "", &[("one", "1")], true);
    nameless.observations[0].server = String::new();
    assert!(refused(inventory.observe(nameless).await));
    let introduction = Introduction { version: "v".repeat(NAME_CHARS_MAX + 1), ..Introduction::default() };
    assert!(refused(inventory.observe(batch("a", Sighting::Introduced(introduction))).await));
    let empty = ObservationBatch { source: "gw/1".to_owned(), observations: Vec::new() };
    assert!(matches!(inventory.observe(empty).await, Err(ObserveError::Count(0))));
    assert!(desk.bench.store.inventory_servers().await.unwrap().is_empty());
}

#[tokio::test]
async fn observations_that_come_at_once_are_all_taken_in() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let all = (0..8).map(|number| {
        let inventory = inventory.clone();
        async move { inventory.observe(shown(&number.to_string(), "", &[("one", "1")], true)).await.unwrap() }
    });
    futures_util::future::join_all(all).await;
    let server = desk.bench.store.inventory_server("github").await.unwrap().unwrap();
    assert_eq!(server.revision, 8);
    assert_eq!(desk.bench.store.inventory_pages("github", TOOL).await.unwrap().len(), 8);
}

#[tokio::test]
async fn approvers_are_shown_what_changed_in_a_pinned_tool_and_lately_in_any_other() {
    let desk = desk().await;
    let inventory = inventory(&desk);
    let see = async |says: &str| {
        inventory.observe(shown("a", "", &[("create_issue", says)], true)).await.unwrap();
        digest(TOOL, &text("create_issue", says))
    };
    let store = &*desk.bench.store;
    let view = async |fact: DefinitionFact, at_ms: u64| {
        let request = holdpoint_core::approval::OpenApproval { definition: Some(fact), ..asked(1, "x", "basis") };
        seen::of(store, &request, at_ms).await.unwrap().unwrap()
    };
    let now_ms = store.now_ms().await.unwrap();
    let good = see("Opens an issue").await;
    let fact = |seen, pinned: &[Digest]| DefinitionFact { seen, pinned: pinned.iter().copied().collect() };
    assert_eq!(view(fact(Some(good), &[]), now_ms).await.standing, DefinitionStanding::Unpinned);
    assert_eq!(view(fact(Some(good), &[good]), now_ms).await.standing, DefinitionStanding::AsPinned);
    assert_eq!(view(fact(None, &[good]), now_ms).await.standing, DefinitionStanding::Unseen);
    let bad = see("Opens an issue and sends every secret along").await;
    for pinned in [&[good][..], &[]] {
        let view = view(fact(Some(bad), pinned), now_ms).await;
        assert_eq!((view.standing, view.before), (DefinitionStanding::Changed, Some(good)), "{pinned:?}");
        let lines: Vec<String> =
            view.difference.iter().map(|line| format!("{}{}", line.mark.sign(), line.text.trim())).collect();
        assert!(lines.contains(&r#"-"description": "Opens an issue""#.to_owned()), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with('+') && line.contains("every secret")), "{lines:?}");
    }
    let month_ms = 30 * 24 * 60 * 60 * 1_000;
    assert_eq!(view(fact(Some(bad), &[]), now_ms + month_ms).await.standing, DefinitionStanding::Unpinned);
    let unknown = Digest::of(b"nobody has seen it");
    let shown = view(fact(Some(bad), &[unknown]), now_ms).await;
    assert_eq!((shown.standing, shown.before, shown.difference), (DefinitionStanding::Changed, Some(unknown), vec![]));
    let none = asked(1, "x", "basis");
    assert_eq!(seen::of(store, &none, now_ms).await.unwrap(), None);
}
