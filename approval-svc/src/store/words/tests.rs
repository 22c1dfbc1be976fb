//! Words of texts, and that a text is always among those with the words that it is looked for by.

use proptest::prelude::*;

use super::*;

fn has(words: &BTreeSet<String>, text: &str) -> bool {
    wanted(text).iter().all(|(from, to)| words.iter().any(|word| word == ANY || (word >= from && word < to)))
}

#[test]
fn text_falls_into_its_words_in_small_letters() {
    let words = kept("{\"title\":\"Pay_Bill 4711\",\"to\":\"Zoë\"}");
    assert_eq!(words.into_iter().collect::<Vec<_>>(), ["4711", "bill", "pay", "title", "to", "zoë"]);
    assert_eq!(kept("--- {}").len(), 0);
}

#[test]
fn text_of_too_many_words_is_looked_at_itself() {
    let many: Vec<String> = (0..=WORDS_MAX).map(|n| format!("w{n}")).collect();
    assert_eq!(kept(&many.join(" ")), BTreeSet::from([ANY.to_owned()]));
    assert_eq!(kept(&many[1..].join(" ")).len(), WORDS_MAX);
}

#[test]
fn last_word_of_a_search_may_go_on_and_no_other() {
    let words = kept("create issue in site");
    assert!(has(&words, "create iss") && has(&words, "ISSUE"));
    assert!(!has(&words, "cre issue") && !has(&words, "iss."), "a sign ends a word");
    assert!(wanted("%_").is_empty());
}

proptest! {
    #[test]
    fn whatever_holds_a_text_from_the_beginning_of_a_word_on_has_its_words(
        words in prop::collection::vec("[a-zA-Z0-9äÖ漢]{1,40}", 1..6), from in 0_usize..5, length in 1_usize..60,
    ) {
        let whole = words.join("-");
        let start: usize = words.iter().take(from.min(words.len() - 1)).map(|word| word.len() + 1).sum();
        let text: String = whole[start..].chars().take(length).collect();
        prop_assert!(holds(&whole, &text));
        prop_assert!(has(&kept(&whole), &text), "{whole}: {text}");
    }
}
