//! Patterns against literal names; linear time whatever the pattern.

use proptest::prelude::*;

use super::Glob;

fn check(pattern: &str, text: &str) -> bool {
    Glob::parse(pattern).unwrap().matches(text)
}

#[test]
fn a_star_never_crosses_a_slash_and_two_do() {
    for (pattern, text, expected) in [
        ("list_issues", "list_issues", true),
        ("list_issues", "list_issues2", false),
        ("list_*", "list_issues", true),
        ("list_*", "list_", true),
        ("list_*", "List_issues", false),
        ("*", "anything", true),
        ("*", "a/b", false),
        ("**", "a/b", true),
        ("repo:acme/*", "repo:acme/site", true),
        ("repo:acme/*", "repo:acme/site/x", false),
        ("repo:*/site", "repo:acme/site", true),
        ("repo:*/site", "repo:a/b/site", false),
        ("repo://**", "repo://a/b/c", true),
        ("repo://**/secrets", "repo://a/b/secrets", true),
        ("repo://**/secrets", "repo://a/b/secrets/x", false),
        ("a*b*c", "aXbYbZc", true),
        ("a*b*c", "aXbY/bZc", false),
        ("a**b*c", "aX/YbZc", true),
        ("a***c", "a/c", true),
        ("*é", "xé", true),
        ("a?c", "abc", false),
    ] {
        assert_eq!(check(pattern, text), expected, "{pattern} on {text}");
    }
}

#[test]
fn a_pattern_covers_another_that_takes_no_more() {
    for (one, two, expected) in [
        ("**", "a*/b", true),
        ("*", "a*", true),
        ("*", "a/*", false),
        ("a*", "a*b*", true),
        ("a*b", "ab", true),
        ("a*b", "a**b", false),
        ("repo:*/*", "repo:acme/*", true),
        ("repo:acme/*", "repo:*/*", false),
        ("a", "a", true),
        ("*a", "*", false),
    ] {
        let glob = |text| Glob::parse(text).unwrap();
        assert_eq!(glob(one).covers(&glob(two)), expected, "{one} over {two}");
    }
}

#[test]
fn a_hostile_pattern_costs_no_more_than_pattern_times_text() {
    let pattern = "a*".repeat(200) + "b";
    assert!(!check(&pattern, &"a".repeat(5_000)));
}

/// The definition, written as plainly as it can be.
fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|taken| by_definition(rest, &text[taken..])),
        [b'*', rest @ ..] => (0..=text.len())
            .take_while(|taken| !text[..*taken].contains(&b'/'))
            .any(|taken| by_definition(rest, &text[taken..])),
        [first, rest @ ..] => text.first() == Some(first) && by_definition(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn matching_is_what_the_definition_says(pattern in "[ab/*]{1,8}", text in "[ab/]{0,10}") {
        prop_assert_eq!(check(&pattern, &text), by_definition(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn what_matches_both_is_an_overlap_and_what_is_covered_matches(
        one in "[ab/*]{1,6}",
        two in "[ab/*]{1,6}",
        texts in proptest::collection::vec("[ab/]{0,6}", 40),
    ) {
        let (one, two) = (Glob::parse(&one).unwrap(), Glob::parse(&two).unwrap());
        for text in texts {
            if one.matches(&text) && two.matches(&text) {
                prop_assert!(one.overlaps(&two), "{one:?} {two:?} {text}");
            }
            if one.covers(&two) && two.matches(&text) {
                prop_assert!(one.matches(&text), "{one:?} {two:?} {text}");
            }
        }
    }
}
