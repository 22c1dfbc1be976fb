//! What a check of a policy found, each with its place in the file. Before step 6.

use holdpoint_core::policy;
use holdpoint_core::yaml::{Place, Problem};
use serde_json::{Value, json};

use super::source::LineMap;

/// Whether the filter would refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

impl Severity {
    /// The word for people, and for GitHub and SARIF.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// A stable short name, such as `unbounded-allow`.
    pub code: String,
    /// In the file.
    pub at: Place,
    /// In the document, where the file shows it on no lines of its own.
    pub inside: Option<Place>,
    pub message: String,
}

impl Finding {
    pub fn error(code: &str, at: Place, message: &str) -> Self {
        Self { severity: Severity::Error, code: code.to_owned(), at, inside: None, message: message.to_owned() }
    }

    pub fn warning(code: &str, at: Place, message: &str) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, at, message) }
    }

    /// A problem that makes the filter refuse the document.
    pub fn of_problem(problem: &Problem, lines: &LineMap) -> Self {
        let (at, inside) = lines.place(problem.at);
        let message = match problem.path.as_str() {
            "" => problem.message.clone(),
            path => format!("{path}: {}", problem.message),
        };
        Self { severity: Severity::Error, code: "refused".to_owned(), at, inside, message }
    }

    /// A warning about a document that the filter would take.
    pub fn of_lint(lint: &policy::Finding, lines: &LineMap) -> Self {
        let (at, inside) = lines.place(lint.at);
        let message = format!("{}: {}", lint.subject, lint.message);
        Self { severity: Severity::Warning, code: lint.lint.to_owned(), at, inside, message }
    }

    /// With the place inside the document, where that is another one.
    pub fn full_message(&self) -> String {
        match self.inside {
            Some(inside) => format!("at {inside} of the filter's document: {}", self.message),
            None => self.message.clone(),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "severity": self.severity.as_str(), "code": self.code, "line": self.at.line, "column": self.at.column,
            "message": self.full_message(),
        })
    }
}
