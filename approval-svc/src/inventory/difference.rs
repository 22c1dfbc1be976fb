//! Two definitions, line by line: what a person compares before pinning or approving.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most lines of one side that are compared with each other; of longer texts all is replaced.
const LINES_MAX: usize = 1_500;

/// One line of the comparison.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DifferenceLine {
    pub mark: Mark,
    pub text: String,
}

/// On which side a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    Both,
    Before,
    After,
}

impl Mark {
    /// As in a diff.
    pub fn sign(self) -> char {
        match self {
            Self::Both => ' ',
            Self::Before => '-',
            Self::After => '+',
        }
    }
}

/// Compares two canonical JSON texts, laid out.
pub fn lines(before: &str, after: &str) -> Vec<DifferenceLine> {
    let (before, after) = (laid_out(before), laid_out(after));
    let line = |mark: Mark| move |text: &String| DifferenceLine { mark, text: text.clone() };
    if before.len() > LINES_MAX || after.len() > LINES_MAX {
        return before.iter().map(line(Mark::Before)).chain(after.iter().map(line(Mark::After))).collect();
    }
    // longest[i][j]: most lines that before[i..] and after[j..] have in common, in order.
    let mut longest = vec![vec![0_u32; after.len() + 1]; before.len() + 1];
    for (i, one) in before.iter().enumerate().rev() {
        for (j, two) in after.iter().enumerate().rev() {
            longest[i][j] =
                if one == two { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            out.push(line(Mark::Both)(&before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            out.push(line(Mark::Before)(&before[i]));
            i += 1;
        } else {
            out.push(line(Mark::After)(&after[j]));
            j += 1;
        }
    }
    out
}

/// Canonical JSON over several lines; what is none stays as it is. A comma at a line's end is no part of what it says.
fn laid_out(text: &str) -> Vec<String> {
    let laid_out = match serde_json::from_str::<Value>(text) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_else(|_| text.to_owned()),
        Err(_) => text.to_owned(),
    };
    laid_out.lines().map(|line| line.strip_suffix(',').unwrap_or(line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs(before: &str, after: &str) -> Vec<String> {
        lines(before, after).iter().map(|line| format!("{}{}", line.mark.sign(), line.text.trim())).collect()
    }

    #[test]
    fn what_changed_stands_beside_what_was() {
        assert_eq!(
            signs(r#"{"a":1,"b":"x","c":2}"#, r#"{"a":1,"b":"y","c":2,"d":3}"#),
            [" {", r#" "a": 1"#, r#"-"b": "x""#, r#"+"b": "y""#, r#" "c": 2"#, r#"+"d": 3"#, " }"]
        );
        assert_eq!(signs("{}", "{}"), [" {}"]);
        assert_eq!(signs("no json", "{}"), ["-no json", "+{}"]);
    }

    #[test]
    fn very_long_texts_are_replaced_as_a_whole() {
        let long = serde_json::to_string(&(0..2_000).collect::<Vec<u32>>()).unwrap();
        assert_eq!(lines(&long, "{}").len(), 2_003);
    }
}
