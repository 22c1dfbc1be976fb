//! Step 6: predicates over the arguments. What a server might understand otherwise than we do is unknown.

use std::cmp::Ordering;

use super::{Arguments, Mode, attain};
use crate::json::{Kind, Value};
use crate::policy::document::{Scalar, ValueTest};
use crate::policy::member::{self, Member};
use crate::policy::number::Number;
use crate::policy::pointer::{Pointer, Segment};
use crate::policy::trace::{Described, Tracer, Untraced};
use crate::policy::truth::Truth;

/// What a pointer leads to.
#[derive(Clone, Copy)]
pub(super) enum Leaf<'d> {
    Absent,
    /// The way leads past a near-name of the member it looks for.
    NearName,
    /// The way leads through a value that has no members, or none of that kind.
    OtherKind(Kind),
    Value(Value<'d>),
}

/// Whether any value that `pointer` leads to passes `test`, or with `every` all of them.
pub(super) fn holds<T: Tracer>(
    pointer: &Pointer,
    test: &ValueTest,
    arguments: Arguments<'_>,
    mode: Mode,
    tracer: &mut T,
) -> Truth {
    let mut leaves = Vec::new();
    match arguments {
        Arguments::Sent(Some(arguments)) => collect(arguments, pointer.segments(), &mut leaves),
        Arguments::Sent(None) => leaves.push(Leaf::Absent),
        Arguments::Any(kinds) => return attain::extreme(pointer, test, kinds, mode),
    }
    tracer.open();
    let truth = match (test.every, leaves.is_empty()) {
        (true, true) => of_no_values(mode),
        (true, false) => Truth::all(leaves.iter().map(|leaf| passes(test, *leaf, mode.under_every(), tracer))),
        (false, true) => passes(test, Leaf::Absent, mode, tracer),
        (false, false) => Truth::any(leaves.iter().map(|leaf| passes(test, *leaf, mode, tracer))),
    };
    tracer.close(truth, || Described {
        field: format!("arguments[{:?}]", pointer.as_str()),
        test: if test.every { "every value passes" } else { "any value passes" },
        wanted: Vec::new(),
        found: leaves.iter().filter_map(shown).collect(),
        why: match (test.every, leaves.is_empty()) {
            (true, true) => Some("there is no value".to_owned()),
            (_, _) => None,
        },
    });
    truth
}

/// All of nothing pass; a rule that grants must not rest on that.
pub(super) fn of_no_values(mode: Mode) -> Truth {
    if mode.loosens { Truth::Unknown } else { Truth::True }
}

/// Whether every value that `pointer` leads to passes `test` for certain. Of values that are not there only `optional`
/// ones pass.
pub(super) fn is_certain(pointer: &Pointer, test: &ValueTest, optional: bool, arguments: Option<Value<'_>>) -> bool {
    let mut leaves = Vec::new();
    match arguments {
        Some(arguments) => collect(arguments, pointer.segments(), &mut leaves),
        None => leaves.push(Leaf::Absent),
    }
    let mode = Mode::of_rule(true).under_every();
    leaves.into_iter().all(|leaf| match leaf {
        Leaf::Absent if optional => true,
        leaf => passes(test, leaf, mode, &mut Untraced) == Truth::True,
    })
}

/// Recurses at most once per segment.
fn collect<'d>(value: Value<'d>, segments: &[Segment], leaves: &mut Vec<Leaf<'d>>) {
    let Some((segment, rest)) = segments.split_first() else {
        leaves.push(Leaf::Value(value));
        return;
    };
    match (segment, value.kind()) {
        (_, Kind::Null) => leaves.push(Leaf::Absent),
        (_, kind @ (Kind::Bool | Kind::Number | Kind::String)) => leaves.push(Leaf::OtherKind(kind)),
        (Segment::Any, Kind::Array) => value.elements().for_each(|element| collect(element, rest, leaves)),
        (Segment::Any, Kind::Object) => value.members().for_each(|(_, member)| collect(member, rest, leaves)),
        (Segment::Key(name), Kind::Array) => match name.parse::<usize>() {
            Ok(index) => match value.at(index) {
                Some(element) => collect(element, rest, leaves),
                None => leaves.push(Leaf::Absent),
            },
            Err(_) => leaves.push(Leaf::OtherKind(Kind::Array)),
        },
        (Segment::Key(name), Kind::Object) => match member::find(value, name) {
            Member::Found(member) => collect(member, rest, leaves),
            Member::Absent => leaves.push(Leaf::Absent),
            Member::Ambiguous => leaves.push(Leaf::NearName),
        },
    }
}

/// Whether one value passes every predicate of `test` that is written.
pub(super) fn passes<T: Tracer>(test: &ValueTest, leaf: Leaf<'_>, mode: Mode, tracer: &mut T) -> Truth {
    let value = match leaf {
        Leaf::Value(value) => Some(value),
        Leaf::Absent => None,
        Leaf::NearName | Leaf::OtherKind(_) => {
            tracer.condition(Truth::Unknown, || Described {
                field: "value".to_owned(),
                test: "can be found",
                wanted: Vec::new(),
                found: Vec::new(),
                why: why_unknown(leaf),
            });
            return Truth::Unknown;
        }
    };
    let mut all = Truth::True;
    let mut judge = |test: &'static str, wanted: &dyn Fn() -> String, judged: &dyn Fn(Value<'_>) -> Truth| {
        let truth = value.map_or_else(|| mode.absent(), judged);
        all = all.min(truth);
        tracer.condition(truth, || told(test, wanted(), leaf, truth, mode));
    };
    if let Some(wanted) = &test.equals {
        judge("equals", &|| scalar_text(wanted), &|value| equals(wanted, value));
    }
    if !test.one_of.is_empty() {
        let wanted = || test.one_of.iter().map(scalar_text).collect::<Vec<_>>().join(", ");
        judge("one_of", &wanted, &|value| Truth::any(test.one_of.iter().map(|wanted| equals(wanted, value))));
    }
    if let Some(glob) = &test.glob {
        judge("glob", &|| glob.as_str().to_owned(), &|value| of_text(value, |text| glob.matches(text)));
    }
    if let Some(prefix) = &test.prefix {
        judge("prefix", &|| prefix.clone(), &|value| of_text(value, |text| text.starts_with(prefix)));
    }
    for (name, bound, within) in bounds(test) {
        judge(name, &|| bound.as_str().to_owned(), &|value| match value.number_text() {
            Some(text) => bound.compare(text, within),
            None => Truth::Unknown,
        });
    }
    if let Some(most) = test.length_lte {
        judge("length_lte", &|| most.to_string(), &|value| length_lte(value, most));
    }
    if let Some(wanted) = test.exists {
        let truth = exists(wanted, value);
        all = all.min(truth);
        tracer.condition(truth, || told("exists", wanted.to_string(), leaf, truth, mode));
    }
    if let Some(not) = &test.not {
        tracer.open();
        let truth = passes(not, leaf, mode.under_not(), tracer).inverted();
        all = all.min(truth);
        tracer.close(truth, || Described {
            field: "not".to_owned(),
            test: "must not pass",
            wanted: Vec::new(),
            found: Vec::new(),
            why: None,
        });
    }
    all
}

/// What a number must be to a bound.
type Within = fn(Ordering) -> bool;

/// The numeric bounds that are written, by name.
pub(super) fn bounds(test: &ValueTest) -> impl Iterator<Item = (&'static str, &Number, Within)> {
    let all: [(&'static str, &Option<Number>, Within); 4] = [
        ("lt", &test.lt, Ordering::is_lt),
        ("lte", &test.lte, Ordering::is_le),
        ("gt", &test.gt, Ordering::is_gt),
        ("gte", &test.gte, Ordering::is_ge),
    ];
    all.into_iter().filter_map(|(name, bound, within)| bound.as_ref().map(|bound| (name, bound, within)))
}

fn of_text(value: Value<'_>, holds: impl FnOnce(&str) -> bool) -> Truth {
    value.as_str().map_or(Truth::Unknown, |text| holds(&text).into())
}

/// Existence is what this test asks, so absence is an answer here. Whether null is there, servers disagree.
fn exists(wanted: bool, value: Option<Value<'_>>) -> Truth {
    match value {
        Some(value) if value.is_null() => Truth::Unknown,
        value => (wanted == value.is_some()).into(),
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

/// The value as its JSON text, for the trace.
fn shown(leaf: &Leaf<'_>) -> Option<String> {
    match leaf {
        Leaf::Value(value) => Some(value.raw().to_owned()),
        Leaf::Absent | Leaf::NearName | Leaf::OtherKind(_) => None,
    }
}

fn told(test: &'static str, wanted: String, leaf: Leaf<'_>, truth: Truth, mode: Mode) -> Described {
    let why = match (truth, leaf) {
        (Truth::Unknown, Leaf::Value(_) | Leaf::NearName | Leaf::OtherKind(_)) => why_unknown(leaf),
        (_, Leaf::Absent) => Some(mode.why_absent()),
        (_, Leaf::Value(_) | Leaf::NearName | Leaf::OtherKind(_)) => None,
    };
    Described { field: test.to_owned(), test, wanted: vec![wanted], found: shown(&leaf).into_iter().collect(), why }
}

fn why_unknown(leaf: Leaf<'_>) -> Option<String> {
    Some(match leaf {
        Leaf::Absent => return None,
        Leaf::NearName => "a near-name stands there, and some servers read names without case, `_` and `-`".to_owned(),
        Leaf::OtherKind(kind) => format!("the way to it leads through a {}", kind.as_str()),
        Leaf::Value(value) => match value.kind() {
            Kind::Null => "whether null is a value, servers disagree".to_owned(),
            Kind::Number => {
                "as an exact number and as a double it compares differently, or another kind is wanted".to_owned()
            }
            kind @ (Kind::Bool | Kind::String | Kind::Array | Kind::Object) => {
                format!("a {} is of another kind than what is wanted; the server may turn it into that", kind.as_str())
            }
        },
    })
}

fn scalar_text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(number) => number.as_str().to_owned(),
        Scalar::String(text) => format!("{text:?}"),
    }
}
