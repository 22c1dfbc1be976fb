//! Text in columns: pieces with a style, wrapped or cut to what a terminal is wide. Nothing in them can move a cursor.

use unicode_width::UnicodeWidthChar;

use crate::text::{Piece, pieces};

/// How a stretch of text looks. Meaning is never in the colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Strong,
    Soft,
    Wait,
    Yes,
    No,
    /// A hidden character, written out.
    Hidden,
    /// The row that keys act on.
    Chosen,
}

/// A stretch of text of one style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) style: Style,
}

/// One line of the screen, or of what is to be wrapped into lines.
pub(super) type Line = Vec<Span>;

/// Text of somebody else: its hidden characters are written out and marked.
pub(super) fn said(text: &str, style: Style) -> Line {
    let spans = pieces(text).into_iter().map(|piece| match piece {
        Piece::Plain(text) => Span { text, style },
        Piece::Hidden(text) => Span { text, style: Style::Hidden },
    });
    spans.collect()
}

/// Our own text.
pub(super) fn ours(text: impl Into<String>, style: Style) -> Line {
    vec![Span { text: text.into(), style }]
}

/// Lines of at most `columns`, everything kept, continued at `indent` columns.
pub(super) fn wrapped(line: Line, columns: usize, indent: usize) -> Vec<Line> {
    let columns = columns.max(8);
    let indent = if indent + 8 > columns { 0 } else { indent };
    let (mut lines, mut now, mut used) = (Vec::new(), Line::new(), 0);
    for span in line {
        let mut text = String::new();
        for character in span.text.chars() {
            let width = character.width().unwrap_or(0);
            if used + width > columns {
                now.push(Span { text: std::mem::take(&mut text), style: span.style });
                lines.push(std::mem::take(&mut now));
                now.push(Span { text: " ".repeat(indent), style: Style::Plain });
                used = indent;
            }
            text.push(character);
            used += width;
        }
        now.push(Span { text, style: span.style });
    }
    lines.push(now);
    lines
}

/// The line in exactly `columns`: cut with an ellipsis, or filled up with blanks of the last style.
pub(super) fn fitted(line: Line, columns: usize) -> Line {
    let whole: usize = line.iter().flat_map(|span| span.text.chars()).map(|c| c.width().unwrap_or(0)).sum();
    let room = if whole > columns { columns.saturating_sub(1) } else { columns };
    let (mut fit, mut used) = (Line::new(), 0);
    'spans: for span in line {
        let mut text = String::new();
        for character in span.text.chars() {
            let width = character.width().unwrap_or(0);
            if used + width > room {
                fit.push(Span { text, style: span.style });
                break 'spans;
            }
            text.push(character);
            used += width;
        }
        fit.push(Span { text, style: span.style });
    }
    let style = fit.last().map_or(Style::Plain, |span| span.style);
    let end = if whole > columns && columns > 0 { "…" } else { "" };
    let blanks = columns.saturating_sub(used + end.chars().count());
    fit.push(Span { text: format!("{end}{}", " ".repeat(blanks)), style });
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> String {
        line.iter().map(|span| span.text.as_str()).collect()
    }

    #[test]
    fn wrapping_keeps_everything_within_the_columns() {
        let lines = wrapped(said("日本語 and a long tail\u{202e}", Style::Plain), 10, 2);
        assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), ["日本語 and", "   a long ", "  tail\\u{2", "  02e}"]);
    }

    #[test]
    fn line_is_cut_or_filled_to_the_column() {
        assert_eq!(text(&fitted(said("approve", Style::Plain), 5)), "appr…");
        assert_eq!(text(&fitted(said("日本語", Style::Plain), 4)), "日… ");
        assert_eq!(text(&fitted(said("ok", Style::Plain), 4)), "ok  ");
        assert_eq!(text(&fitted(said("ok", Style::Plain), 0)), "");
    }
}
