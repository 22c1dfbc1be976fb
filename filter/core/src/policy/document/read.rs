//! Reads a policy document from located nodes; the grammar's top level.

use std::collections::{BTreeMap, BTreeSet};

use super::{Glob, PolicyDocument, VERSIONS, catalogue, rules};
use crate::decision::Verdict;
use crate::order;
use crate::yaml::{self, Cursor, Problems};

const FIELDS: [&str; 4] = ["version", "default_decision", "servers", "rules"];

/// Reads the `policy:` section of a larger document, or a policy document of its own. Every problem is reported; the
/// document is whole when none was.
pub fn read_document(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<PolicyDocument> {
    let fields = cursor.fields(&FIELDS, problems)?;
    let version = fields.require("version", problems).and_then(|version| {
        let known: Vec<(&str, &str)> = VERSIONS.into_iter().map(|version| (version, version)).collect();
        version.one_of("grammar version", &known, problems)
    });
    let default_decision = fields.get("default_decision").and_then(|decision| {
        let words = [("deny", Verdict::Deny), ("allow", Verdict::Allow)];
        decision.one_of("default decision", &words, problems)
    });
    let servers = fields.get("servers").map_or_else(BTreeMap::new, |servers| catalogue::read(&servers, problems));
    let rules = fields.require("rules", problems).map(|rules| rules::read(&rules, problems));
    Some(PolicyDocument {
        version: version?.to_owned(),
        default_decision: default_decision.unwrap_or(Verdict::Deny),
        servers,
        rules: rules?,
    })
}

/// Reads the text of a file: a policy document, or a filter configuration with a `policy:` section, whose other
/// sections are not looked at.
pub fn read_file(text: &str) -> Result<PolicyDocument, Problems> {
    let root = yaml::read(text, &yaml::Limits::default()).map_err(Problems::from)?;
    let mut problems = Problems::new();
    let cursor = Cursor::root(&root);
    let document = match root.get("policy") {
        Some(section) => read_document(&cursor.field("policy", section), &mut problems),
        None => read_document(&cursor, &mut problems),
    };
    problems.or(document)
}

/// Reads the `candidate:` section of a filter configuration; `None` where there is none.
pub fn read_candidate(text: &str) -> Result<Option<PolicyDocument>, Problems> {
    let root = yaml::read(text, &yaml::Limits::default()).map_err(Problems::from)?;
    let Some(section) = root.get("candidate") else { return Ok(None) };
    let mut problems = Problems::new();
    let document = read_document(&Cursor::root(&root).field("candidate", section), &mut problems);
    problems.or(document).map(Some)
}

/// Reads patterns: one, or a list of them.
pub(super) fn globs(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeSet<Glob> {
    let items = cursor.one_or_more(problems).unwrap_or_default();
    order::set(items.iter().filter_map(|item| glob(item, problems)))
}

/// Reads one pattern.
pub(super) fn glob(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Glob> {
    let text = cursor.string(problems)?;
    Glob::parse(text).map_err(|message| cursor.problem(message, problems)).ok()
}

/// Reads strings that mean a set: one, or a list of them.
pub(super) fn set(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeSet<String> {
    order::set(cursor.strings(problems).into_iter().map(str::to_owned))
}

/// Reads strings that mean a set and may be none.
pub(super) fn set_or_none(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeSet<String> {
    match &cursor.node().kind {
        yaml::Kind::Seq(items) if items.is_empty() => BTreeSet::new(),
        _ => set(cursor, problems),
    }
}
