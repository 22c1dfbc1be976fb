//! Reads `arguments:`: JSON pointers and the tests on what they lead to.

use std::collections::{BTreeMap, BTreeSet};

use super::read::glob;
use super::{Scalar, ValueTest};
use crate::order;
use crate::policy::number::Number;
use crate::policy::pointer::Pointer;
use crate::yaml::{Cursor, Fields, Kind, Problems};

const TESTS: [&str; 12] =
    ["equals", "one_of", "glob", "prefix", "lt", "lte", "gt", "gte", "exists", "length_lte", "every", "not"];
const LENGTH_MAX: u64 = u32::MAX as u64;

pub(super) fn read(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<Pointer, ValueTest> {
    let mut arguments = BTreeMap::new();
    for (text, cursor) in cursor.entries(problems).unwrap_or_default() {
        let pointer = Pointer::parse(text).map_err(|message| cursor.problem(message, problems)).ok();
        let Some(test) = test(&cursor, problems) else { continue };
        let Some(pointer) = pointer else { continue };
        if test.every && !pointer.has_any() {
            cursor.problem("`every` needs a `*` segment in the pointer", problems);
        }
        arguments.insert(pointer, test);
    }
    if arguments.is_empty() && matches!(&cursor.node().kind, Kind::Map(entries) if entries.is_empty()) {
        cursor.problem("expected at least one pointer; leave the field out to match any", problems);
    }
    arguments
}

fn test(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<ValueTest> {
    test_beside(cursor, &[], problems)
}

/// Reads a test that stands in one map with `others`, which somebody else reads.
pub(super) fn test_beside(cursor: &Cursor<'_>, others: &[&str], problems: &mut Problems) -> Option<ValueTest> {
    let known: Vec<&str> = TESTS.iter().chain(others).copied().collect();
    let fields = cursor.fields(&known, problems)?;
    let tests = TESTS.iter().filter(|name| **name != "every");
    if tests.clone().all(|name| fields.get(name).is_none()) {
        let known: Vec<&str> = tests.copied().collect();
        cursor.problem(format!("expected at least one of {}", known.join(", ")), problems);
    }
    let not = fields.get("not").and_then(|nested| {
        let inner = test(&nested, problems)?;
        if inner.every {
            nested.problem("`every` stands beside `not`, not inside it", problems);
        }
        Some(Box::new(inner))
    });
    let one_of = fields.get("one_of").map_or_else(BTreeSet::new, |field| {
        let items = field.one_or_more(problems).unwrap_or_default();
        order::set(items.iter().filter_map(|item| scalar(item, problems)))
    });
    let prefix = fields.get("prefix").and_then(|field| field.string(problems));
    Some(ValueTest {
        equals: fields.get("equals").and_then(|field| scalar(&field, problems)),
        one_of,
        glob: fields.get("glob").and_then(|field| glob(&field, problems)),
        prefix: prefix.map(str::to_owned),
        lt: bound(&fields, "lt", problems),
        lte: bound(&fields, "lte", problems),
        gt: bound(&fields, "gt", problems),
        gte: bound(&fields, "gte", problems),
        exists: fields.get("exists").and_then(|field| field.boolean(problems)),
        length_lte: fields.get("length_lte").and_then(|field| field.whole_number(0..=LENGTH_MAX, problems)),
        every: fields.get("every").and_then(|field| field.boolean(problems)).unwrap_or(false),
        not,
    })
}

fn bound(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<Number> {
    let field = fields.get(name)?;
    match &field.node().kind {
        Kind::Int(text) | Kind::Float(text) => number(&field, text, problems),
        Kind::Null | Kind::Bool(_) | Kind::Str(_) | Kind::Seq(_) | Kind::Map(_) => {
            field.expected("a number", problems);
            None
        }
    }
}

fn number(cursor: &Cursor<'_>, text: &str, problems: &mut Problems) -> Option<Number> {
    let number = Number::parse(text);
    if number.is_none() {
        cursor.problem(format!("`{text}` is not a number as JSON writes it, such as `12`, `0.5` or `1e3`"), problems);
    }
    number
}

fn scalar(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Scalar> {
    match &cursor.node().kind {
        Kind::Null => Some(Scalar::Null),
        Kind::Bool(value) => Some(Scalar::Bool(*value)),
        Kind::Int(text) | Kind::Float(text) => number(cursor, text, problems).map(Scalar::Number),
        Kind::Str(text) => Some(Scalar::String(text.clone())),
        Kind::Seq(_) | Kind::Map(_) => {
            cursor.expected("a string, a number, `true`, `false` or `null`", problems);
            None
        }
    }
}
