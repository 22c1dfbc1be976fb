//! What is learned of tools, by several workers of one Envoy.

use holdpoint_core::definition::{DefinitionKind, digest};

use super::*;
use crate::usage::in_memory::Shared;

fn shared() -> Shared {
    let mut shared = Shared::default();
    prepare(&mut shared);
    shared
}

fn tool(name: &str, text: &str, annotations: Annotations) -> Definition {
    let digest = digest(DefinitionKind::Tool, text);
    Definition { kind: DefinitionKind::Tool, name: name.to_owned(), digest, text: text.to_owned(), annotations }
}

#[test]
fn the_latest_word_of_a_server_counts_and_hints_come_back_as_said() {
    let mut shared = shared();
    assert_eq!(of(&mut shared, "s", "a"), None);
    for read_only in [None, Some(false), Some(true)] {
        for open_world in [None, Some(false), Some(true)] {
            let annotations = Annotations { read_only, destructive: Some(true), open_world };
            let said = tool("a", "{}", annotations);
            learn(&mut shared, "s", std::slice::from_ref(&said), 1);
            let learned = Learned { definition: said.digest, annotations };
            assert_eq!(of(&mut shared, "s", "a"), Some(learned));
        }
    }
    assert_eq!(of(&mut shared, "other", "a"), None);
    assert_eq!(of(&mut shared, "s", "b"), None);
}

#[test]
fn the_version_moves_with_every_change_and_with_nothing_else() {
    let mut shared = shared();
    let said = |text: &str| [tool("a", text, Annotations::default())];
    let first = learn(&mut shared, "s", &said("1"), 1);
    assert_eq!(learn(&mut shared, "s", &said("1"), 2), first);
    assert_eq!(first, Some(version(&mut shared, "s")));
    let second = learn(&mut shared, "s", &said("2"), 3);
    assert!(second > first);
    assert!(learn(&mut shared, "s", &said("1"), 4) > second, "back again is a change too");
}

#[test]
fn a_server_with_very_many_tools_forgets_its_own_first() {
    let mut shared = shared();
    let kept = tool("kept", "{}", Annotations::default());
    learn(&mut shared, "small", std::slice::from_ref(&kept), 1);
    let many: Vec<Definition> = (0..12_000).map(|n| tool(&format!("t{n}"), "{}", Annotations::default())).collect();
    learn(&mut shared, "large", &many, 2);
    assert_eq!(of(&mut shared, "small", "kept").map(|learned| learned.definition), Some(kept.digest));
    let known = many.iter().filter(|tool| of(&mut shared, "large", &tool.name).is_some()).count();
    let places = usize::from(PARTS) * PART_ROWS_MAX;
    assert!(known < places && known > places / 2, "{known}");
}

#[test]
fn without_prepared_keys_nothing_is_learned() {
    let mut shared = Shared::default();
    assert_eq!(learn(&mut shared, "s", &[tool("a", "{}", Annotations::default())], 1), None);
    assert_eq!(of(&mut shared, "s", "a"), None);
}

#[test]
fn keys_that_are_remembered_are_few_and_short() {
    let mut keys = Keys::default();
    for number in 0..=KEYS_MAX {
        let tool = format!("tool-{number}");
        assert_eq!(keys.of("tracker", &tool), key_of("tracker", &tool));
        assert_eq!(keys.of("tracker", &tool), key_of("tracker", &tool), "and from memory");
    }
    assert_eq!(keys.count, 1, "one too many, and all before it are forgotten");
    let long = "t".repeat(KEPT_NAME_BYTES_MAX + 1);
    assert_eq!(keys.of("tracker", &long), key_of("tracker", &long));
    assert_eq!(keys.count, 1);
    assert_ne!(keys.of("wiki", "tool-1"), key_of("tracker", "tool-1"));
}
