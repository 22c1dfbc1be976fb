//! Step 6's input wherever it is kept: a policy, a filter document, or the block inside an Envoy or Kubernetes file, with places of the file it stands in.

use std::path::{Path, PathBuf};

use anyhow::Context;
use holdpoint_core::yaml::{self, Kind, Node, Place};

use super::finding::{Finding, Severity};
use super::plugin;

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A policy document of its own.
    Policy,
    /// The filter's whole document, with the policy as one section.
    FilterDocument,
}

/// One document found in a file.
#[derive(Clone, Debug)]
pub struct PolicyText {
    pub form: Form,
    pub text: String,
    pub lines: LineMap,
}

/// Where the lines of a document stand in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineMap {
    /// The document is the file, or begins after so many of its lines.
    Shifted { lines: u32, columns: u32 },
    /// It is written in a way that keeps no lines, such as a quoted string that begins here.
    Quoted { at: Place },
}

impl LineMap {
    /// The place in the file, and the place inside the document where the two have nothing to do with one another.
    pub fn place(&self, inside: Place) -> (Place, Option<Place>) {
        match self {
            Self::Shifted { lines, columns } => {
                let (line, column) = (inside.line.saturating_add(*lines), inside.column.saturating_add(*columns));
                (Place { line, column }, None)
            }
            Self::Quoted { at } => (*at, Some(inside)),
        }
    }
}

/// Everything that one file holds.
#[derive(Debug)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
    pub documents: Vec<PolicyText>,
    /// What is wrong with the file around the documents.
    pub findings: Vec<Finding>,
    /// The filter is there, and its document is in a discovery file.
    pub is_discovered: bool,
}

/// Reads a file; `-` is standard input. The error is for a file that cannot be read at all.
pub fn read(path: &Path) -> anyhow::Result<SourceFile> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?
    };
    Ok(scan(path, text))
}

/// The same for a text that is there already.
pub fn scan(path: &Path, text: String) -> SourceFile {
    let mut file =
        SourceFile { path: path.to_owned(), text, documents: Vec::new(), findings: Vec::new(), is_discovered: false };
    let text = file.text.clone();
    for part in parts(&text) {
        file.scan_part(&part);
    }
    if file.documents.is_empty()
        && !file.is_discovered
        && !file.findings.iter().any(|finding| finding.severity == Severity::Error)
    {
        let message = "no policy found: expected `version` and `rules`, a filter document with `policy`, or an Envoy or \
                       Kubernetes file with a wasm filter named `holdpoint`";
        file.findings.push(Finding::error("no-policy", Place::START, message));
    }
    file
}

/// The one policy of a file, as text, for commands that take exactly one.
pub fn only_document(path: &Path) -> anyhow::Result<(String, Form)> {
    let mut file = read(path)?;
    if let Some(finding) = file.findings.iter().find(|finding| finding.severity == Severity::Error) {
        anyhow::bail!("{}:{}: {}", path.display(), finding.at, finding.message);
    }
    anyhow::ensure!(
        file.documents.len() == 1,
        "`{}` holds {} policies; this command takes one: name a file that holds one",
        path.display(),
        file.documents.len()
    );
    let document = file.documents.remove(0);
    Ok((document.text, document.form))
}

/// One of the documents that a file strings together with `---`.
struct Part<'t> {
    text: &'t str,
    /// How many lines of the file come before it.
    lines_before: u32,
}

/// `---` at the start of a line never stands inside a value of YAML's, so that lines can be told apart without reading.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut at, mut lines_before, mut line) = (0, 0, 0, 0);
    for row in text.split_inclusive('\n') {
        let is_mark = row.trim_end() == "---" || row.starts_with("--- ");
        if is_mark && !text[start..at].trim().is_empty() {
            parts.push(Part { text: &text[start..at], lines_before });
        }
        at += row.len();
        line += 1;
        if is_mark {
            (start, lines_before) = (at, line);
        }
    }
    if parts.is_empty() || !text[start..].trim().is_empty() {
        parts.push(Part { text: &text[start..], lines_before });
    }
    parts
}

impl SourceFile {
    fn scan_part(&mut self, part: &Part<'_>) {
        let lines = LineMap::Shifted { lines: part.lines_before, columns: 0 };
        let root = match yaml::read(part.text, &yaml::Limits::default()) {
            Ok(root) => root,
            Err(located) => {
                let wrong =
                    located.into_iter().map(|one| Finding::error("syntax", lines.place(one.at).0, &one.message));
                self.findings.extend(wrong);
                return;
            }
        };
        match form_of(&root) {
            Some(form) => self.documents.push(PolicyText { form, text: part.text.to_owned(), lines }),
            None => {
                let found = plugin::find(&root);
                self.is_discovered |= found.is_discovered;
                for mut finding in found.findings {
                    finding.at = lines.place(finding.at).0;
                    self.findings.push(finding);
                }
                for value in found.values {
                    let lines = block_lines(part, value.at, &value.text);
                    self.documents.push(PolicyText { form: Form::FilterDocument, text: value.text, lines });
                }
            }
        }
    }
}

fn form_of(root: &Node) -> Option<Form> {
    let has = |name: &str| root.get(name).is_some();
    let is_other = ["static_resources", "dynamic_resources", "resources", "apiVersion", "kind", "typed_config"];
    if is_other.into_iter().any(has) {
        return None;
    }
    match () {
        () if has("policy") && !has("rules") => Some(Form::FilterDocument),
        // A misspelt policy must be told what is wrong with it, not that it is none.
        () if has("rules") || has("version") || has("servers") || has("default_decision") => Some(Form::Policy),
        () if has("approval") || has("identity") => Some(Form::FilterDocument),
        () => None,
    }
}

/// Finds the lines of a block scalar in its file: the value must stand there line by line, all indented alike.
fn block_lines(part: &Part<'_>, at: Place, value: &str) -> LineMap {
    let rows: Vec<&str> = part.text.lines().collect();
    let quoted = LineMap::Quoted { at: Place { line: at.line.saturating_add(part.lines_before), column: at.column } };
    // The parser names the line of the `|` or the first line below it.
    for first in [at.line, at.line.saturating_sub(1)] {
        let Some(indent) = indent_of_block(rows.get(first as usize..).unwrap_or_default(), value) else { continue };
        return LineMap::Shifted { lines: part.lines_before.saturating_add(first), columns: indent };
    }
    quoted
}

fn indent_of_block(rows: &[&str], value: &str) -> Option<u32> {
    let first_text = value.lines().position(|line| !line.trim().is_empty())?;
    let (row, line) = (rows.get(first_text)?, value.lines().nth(first_text)?);
    let indent = row.strip_suffix(line)?;
    if !indent.chars().all(|character| character == ' ') {
        return None;
    }
    let mut rows = rows.iter();
    for line in value.lines() {
        let row = rows.next()?;
        let stands_there = row.strip_prefix(indent).unwrap_or(row.trim()) == line;
        if !stands_there {
            return None;
        }
    }
    u32::try_from(indent.len()).ok()
}

/// The text of a string value and where it begins.
#[derive(Debug)]
pub struct Value {
    pub at: Place,
    pub text: String,
}

impl Value {
    /// Of a node that is a string.
    pub fn of(node: &Node) -> Option<Self> {
        match &node.kind {
            Kind::Str(text) => Some(Self { at: node.at, text: text.clone() }),
            Kind::Null | Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }
}
