//! Step 8: the words by which approvals of the past are found. Pure: how a text falls into words, and which words a search
//! for a text can only be found by.
//!
//! Words narrow the search, the texts themselves decide: what has more words than are kept is looked at itself.

use std::collections::BTreeSet;

use crate::store::row::Approval;

/// Most words that are kept of one text; one that has more is marked instead.
const WORDS_MAX: usize = 200;
/// Longest word; what is longer is cut.
const WORD_CHARS_MAX: usize = 32;
/// Stands in the place of words that are not kept.
pub const ANY: &str = "";

/// Where a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// In the call itself, which not everybody may read.
    Asked,
    /// In its target, or the reason of the decision.
    Named,
    /// In the names of who asked and who decided.
    Who,
}

impl Field {
    /// The word used in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Named => "named",
            Self::Who => "who",
        }
    }
}

/// The words of a text that are kept, or [`ANY`] alone.
pub fn kept(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for word in split(text) {
        words.insert(cut(word));
        if words.len() > WORDS_MAX {
            return BTreeSet::from([ANY.to_owned()]);
        }
    }
    words
}

/// What a text that holds `text` must have: each a range of words from the first on, up to and without the second. The last
/// word may go on; nothing is known of a text without letters and digits.
pub fn wanted(text: &str) -> Vec<(String, String)> {
    let may_go_on = text.chars().next_back().is_some_and(char::is_alphanumeric);
    let words: Vec<String> = split(text).map(cut).collect();
    let last = words.len().saturating_sub(1);
    let range = |(at, word): (usize, String)| {
        // No text of PostgreSQL holds a NUL; a word's next one in order is that word and the least of all signs behind it.
        let end = if at == last && may_go_on { char::MAX } else { '\u{1}' };
        (word.clone(), format!("{word}{end}"))
    };
    words.into_iter().enumerate().map(range).collect()
}

/// Whether `text` stands in `whole`, whatever the case.
pub fn holds(whole: &str, text: &str) -> bool {
    whole.to_lowercase().contains(&text.to_lowercase())
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn cut(word: &str) -> String {
    word.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect()
}

/// What is looked through for [`Field::Named`].
pub fn named(approval: &Approval) -> String {
    [&approval.asked.target, &approval.reason].into_iter().flatten().cloned().collect::<Vec<_>>().join("\n")
}

/// What is looked through for [`Field::Who`].
pub fn who(approval: &Approval) -> String {
    let principal = &approval.asked.principal;
    let names = [Some(&principal.subject), principal.agent_id.as_ref(), approval.decided_by.as_ref()];
    names.into_iter().flatten().cloned().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
