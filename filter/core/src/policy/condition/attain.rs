//! Step 11's question to step 6: how a predicate can come out when the caller may send any arguments.
//!
//! A predicate is tried on values made from its own constants. Where those cannot settle the question, it counts as
//! coming out as asked: a list may show what can never be called, it never hides what can.

use super::arguments::{Leaf, bounds, of_no_values, passes};
use super::{Kinds, Mode};
use crate::json::{self, Document, Kind};
use crate::order;
use crate::policy::document::{Scalar, ValueTest};
use crate::policy::pointer::Pointer;
use crate::policy::trace::Untraced;
use crate::policy::truth::Truth;

/// Longer texts and lists are not made up.
const LENGTH_MAX: u64 = 256;

/// `test` on what `pointer` leads to, as far towards `mode.towards` as any arguments can bring it.
pub(super) fn extreme(pointer: &Pointer, test: &ValueTest, kinds: Kinds, mode: Mode) -> Truth {
    let best = |truths: &mut dyn Iterator<Item = Truth>| match mode.towards {
        Truth::True => truths.max(),
        Truth::False | Truth::Unknown => truths.min(),
    };
    let settled = match mode.towards {
        Truth::True => settles_true(test),
        Truth::False | Truth::Unknown => settles_false(test),
    };
    if !settled {
        return mode.towards;
    }
    let each = if test.every { mode.under_every() } else { mode };
    let tried = match kinds {
        Kinds::Text if pointer.segments().len() > 1 => Vec::new(),
        Kinds::All | Kinds::Text => values(test),
    };
    let Ok(document) = Document::read(format!("[{}]", tried.join(",")).into_bytes(), &json::Limits::default()) else {
        return mode.towards;
    };
    let sent = document.root().elements().filter(|value| match kinds {
        Kinds::All => true,
        Kinds::Text => value.kind() == Kind::String,
    });
    let leaves = sent.map(Leaf::Value).chain([Leaf::Absent, Leaf::NearName]);
    let of_none = test.every.then(|| of_no_values(mode));
    let mut truths = leaves.map(|leaf| passes(test, leaf, each, &mut Untraced)).chain(of_none);
    best(&mut truths).unwrap_or(mode.towards)
}

/// Whether [`values`] holds one that passes if any does.
fn settles_true(test: &ValueTest) -> bool {
    let only_few_pass = test.equals.is_some() || !test.one_of.is_empty();
    let predicates = bounds(test).count().saturating_add(
        [test.glob.is_some(), test.prefix.is_some(), test.exists.is_some(), test.length_lte.is_some()]
            .into_iter()
            .filter(|is_written| *is_written)
            .count(),
    );
    let texts = test.glob.is_some() || test.prefix.is_some() || test.length_lte.is_some();
    only_few_pass || test.not.as_ref().map_or(predicates == 1 || !texts, |not| predicates == 0 && settles_false(not))
}

/// Whether [`values`] holds one that fails if any does.
fn settles_false(test: &ValueTest) -> bool {
    test.length_lte.is_none_or(|most| most < LENGTH_MAX) && test.not.as_ref().is_none_or(|not| settles_true(not))
}

/// Values on both sides of everything that `test` compares with, as JSON.
fn values(test: &ValueTest) -> Vec<String> {
    let mut values: Vec<String> = ["null", "true", "false", "[]", "{}"].map(str::to_owned).into();
    let mut numbers: Vec<f64> = vec![0.0];
    let mut texts: Vec<String> = ["", "/", "\u{1}", "0"].map(str::to_owned).into();
    let mut nested = Some(test);
    while let Some(test) = nested {
        for scalar in test.equals.iter().chain(&test.one_of) {
            match scalar {
                Scalar::Null | Scalar::Bool(_) => {}
                Scalar::Number(number) => {
                    values.push(number.as_str().to_owned());
                    numbers.extend(number.as_str().parse::<f64>());
                }
                Scalar::String(text) => texts.push(text.clone()),
            }
        }
        for (_, bound, _) in bounds(test) {
            values.push(bound.as_str().to_owned());
            numbers.extend(bound.as_str().parse::<f64>());
        }
        if let Some(glob) = &test.glob {
            texts.extend([glob.as_str().replace('*', ""), glob.as_str().replace('*', "a")]);
        }
        texts.extend(test.prefix.clone());
        if let Some(most) = test.length_lte.filter(|most| *most < LENGTH_MAX) {
            let fits = usize::try_from(most).unwrap_or_default();
            texts.extend(["x".repeat(fits), "x".repeat(fits.saturating_add(1))]);
        }
        nested = test.not.as_deref();
    }
    let numbers = order::sorted(numbers, f64::total_cmp);
    let between: Vec<f64> =
        numbers.iter().zip(numbers.iter().skip(1)).map(|(one, two)| one / 2.0 + two / 2.0).collect();
    let beside = numbers.iter().flat_map(|number| [number - 1.0, number + 1.0, number * 2.0]);
    let all = beside.chain(between).filter_map(serde_json::Number::from_f64);
    values.extend(all.map(|number| number.to_string()));
    values.extend(texts.into_iter().map(|text| serde_json::Value::String(text).to_string()));
    values
}
