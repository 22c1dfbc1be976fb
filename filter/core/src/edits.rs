//! Step 11: changes to a JSON text by span: everything between them stays byte for byte.

use std::ops::Range;

use crate::json::canonical;
use crate::order;

/// Spans of one text and what is to stand in their place. They must not overlap; one that does is left out, and
/// [`Edits::apply`] says so.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl Edits {
    /// Whether the text stays as it is.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.edits.len()
    }

    /// The same changes to the same bytes where they begin at `to` instead of at `from`. `None` when one lies before them.
    pub fn moved(&self, from: usize, to: usize) -> Option<Self> {
        let at = |place: usize| place.checked_sub(from)?.checked_add(to);
        let moved = self.edits.iter().map(|(span, text)| Some((at(span.start)?..at(span.end)?, text.clone())));
        Some(Self { edits: moved.collect::<Option<_>>()? })
    }

    /// Takes a span out.
    pub fn remove(&mut self, span: Range<usize>) {
        self.edits.push((span, Vec::new()));
    }

    /// Puts JSON text in the place of a span.
    pub fn replace(&mut self, span: Range<usize>, text: impl Into<Vec<u8>>) {
        self.edits.push((span, text.into()));
    }

    /// Puts a string literal in the place of a span.
    pub fn replace_string(&mut self, span: Range<usize>, text: &str) {
        let mut literal = String::new();
        canonical::string(text, &mut literal);
        self.replace(span, literal);
    }

    /// The text with every change in it. `None` when two changes overlap or reach beyond it: then nothing may pass.
    pub fn apply(self, text: &[u8]) -> Option<Vec<u8>> {
        let edits = order::sorted(self.edits, |(one, _), (two, _)| one.start.cmp(&two.start));
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        for (span, replacement) in &edits {
            out.extend_from_slice(text.get(at..span.start)?);
            out.extend_from_slice(replacement);
            text.get(span.clone())?;
            at = span.end;
        }
        out.extend_from_slice(text.get(at..)?);
        Some(out)
    }
}
