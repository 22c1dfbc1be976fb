//! Step 6: predicates over the arguments. What a server might understand otherwise than we do is unknown.

use std::cmp::Ordering;

use super::Mode;
use crate::json::{Kind, Value};
use crate::policy::document::{Scalar, ValueTest};
use crate::policy::member::{self, Member};
use crate::policy::number::Number;
use crate::policy::pointer::{Pointer, Segment};
use crate::policy::truth::Truth;

/// What a pointer leads to.
#[derive(Clone, Copy)]
enum Leaf<'d> {
    Absent,
    /// The way leads through a value of another kind, or past a near-name.
    Unknown,
    Value(Value<'d>),
}

/// Whether any value that `pointer` leads to passes `test`, or with `every` all of them.
pub(super) fn holds(pointer: &Pointer, test: &ValueTest, arguments: Option<Value<'_>>, mode: Mode) -> Truth {
    let mut leaves = Vec::new();
    match arguments {
        Some(arguments) => collect(arguments, pointer.segments(), &mut leaves),
        None => leaves.push(Leaf::Absent),
    }
    if test.every {
        if leaves.is_empty() {
            // All of nothing pass; a rule that grants must not rest on that.
            return if mode.loosens { Truth::Unknown } else { Truth::True };
        }
        return Truth::all(leaves.into_iter().map(|leaf| passes(test, leaf, mode.inside())));
    }
    if leaves.is_empty() {
        leaves.push(Leaf::Absent);
    }
    Truth::any(leaves.into_iter().map(|leaf| passes(test, leaf, mode)))
}

/// Recurses at most once per segment.
fn collect<'d>(value: Value<'d>, segments: &[Segment], leaves: &mut Vec<Leaf<'d>>) {
    let Some((segment, rest)) = segments.split_first() else {
        leaves.push(Leaf::Value(value));
        return;
    };
    match (segment, value.kind()) {
        (_, Kind::Null) => leaves.push(Leaf::Absent),
        (_, Kind::Bool | Kind::Number | Kind::String) => leaves.push(Leaf::Unknown),
        (Segment::Any, Kind::Array) => value.elements().for_each(|element| collect(element, rest, leaves)),
        (Segment::Any, Kind::Object) => value.members().for_each(|(_, member)| collect(member, rest, leaves)),
        (Segment::Key(name), Kind::Array) => match name.parse::<usize>() {
            Ok(index) => match value.at(index) {
                Some(element) => collect(element, rest, leaves),
                None => leaves.push(Leaf::Absent),
            },
            Err(_) => leaves.push(Leaf::Unknown),
        },
        (Segment::Key(name), Kind::Object) => match member::find(value, name) {
            Member::Found(member) => collect(member, rest, leaves),
            Member::Absent => leaves.push(Leaf::Absent),
            Member::Ambiguous => leaves.push(Leaf::Unknown),
        },
    }
}

fn passes(test: &ValueTest, leaf: Leaf<'_>, mode: Mode) -> Truth {
    let value = match leaf {
        Leaf::Value(value) => Some(value),
        Leaf::Absent => None,
        Leaf::Unknown => return Truth::Unknown,
    };
    let judge = |there: bool, judged: &dyn Fn(Value<'_>) -> Truth| match value {
        _ if !there => Truth::True,
        Some(value) => judged(value),
        None => mode.absent(),
    };
    let number = |bound: &Option<Number>, holds: fn(Ordering) -> bool| {
        judge(bound.is_some(), &|value| match (bound, value.number_text()) {
            (Some(bound), Some(text)) => bound.compare(text, holds),
            (None, _) | (_, None) => Truth::Unknown,
        })
    };
    let text = |there: bool, holds: &dyn Fn(&str) -> bool| {
        judge(there, &|value| value.as_str().map_or(Truth::Unknown, |text| holds(&text).into()))
    };
    Truth::all([
        judge(test.equals.is_some(), &|value| test.equals.as_ref().map_or(Truth::True, |wanted| equals(wanted, value))),
        judge(!test.one_of.is_empty(), &|value| Truth::any(test.one_of.iter().map(|wanted| equals(wanted, value)))),
        text(test.glob.is_some(), &|text| test.glob.as_ref().is_none_or(|glob| glob.matches(text))),
        text(test.prefix.is_some(), &|text| test.prefix.as_ref().is_none_or(|prefix| text.starts_with(prefix))),
        number(&test.lt, Ordering::is_lt),
        number(&test.lte, Ordering::is_le),
        number(&test.gt, Ordering::is_gt),
        number(&test.gte, Ordering::is_ge),
        judge(test.length_lte.is_some(), &|value| test.length_lte.map_or(Truth::True, |most| length_lte(value, most))),
        exists(test.exists, value),
        match &test.not {
            Some(not) => passes(not, leaf, mode.inside()).inverted(),
            None => Truth::True,
        },
    ])
}

/// Existence is what this test asks, so absence is an answer here. Whether null is there, servers disagree.
fn exists(wanted: Option<bool>, value: Option<Value<'_>>) -> Truth {
    match (wanted, value) {
        (None, _) => Truth::True,
        (Some(_), Some(value)) if value.is_null() => Truth::Unknown,
        (Some(wanted), value) => (wanted == value.is_some()).into(),
    }
}

/// A value of another kind may become the wanted one in the server's hands (`"5"` for 5), so it is unknown.
fn equals(wanted: &Scalar, value: Value<'_>) -> Truth {
    match (wanted, value.kind()) {
        (Scalar::Null, Kind::Null) => Truth::True,
        (Scalar::Bool(wanted), Kind::Bool) => (value.as_bool() == Some(*wanted)).into(),
        (Scalar::Number(wanted), Kind::Number) => wanted.compare(value.raw(), Ordering::is_eq),
        (Scalar::String(wanted), Kind::String) => value.is_str(wanted).into(),
        (Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::String(_), _) => Truth::Unknown,
    }
}

fn length_lte(value: Value<'_>, most: u64) -> Truth {
    let length = match value.kind() {
        Kind::String => value.as_str().unwrap_or_default().chars().count(),
        Kind::Array | Kind::Object => value.len(),
        Kind::Null | Kind::Bool | Kind::Number => return Truth::Unknown,
    };
    (u64::try_from(length).unwrap_or(u64::MAX) <= most).into()
}
