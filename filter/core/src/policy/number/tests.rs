//! Numbers as text compared exactly; what exact and binary reading disagree on is unknown.

use std::cmp::Ordering;

use super::{Number, Truth};

fn check(found: &str, holds: fn(Ordering) -> bool, expected: &str) -> Truth {
    Number::parse(expected).unwrap().compare(found, holds)
}

#[test]
fn numbers_compare_by_value_whatever_their_spelling() {
    for (found, expected) in [("5", "5.0"), ("5e0", "5"), ("50E-1", "5"), ("-0", "0"), ("0.10", "1e-1")] {
        assert_eq!(check(found, Ordering::is_eq, expected), Truth::True, "{found} = {expected}");
    }
    for (less, more) in [("4.999", "5"), ("-6", "-5"), ("-1", "0"), ("0", "0.001"), ("9e2", "1000"), ("99", "100")] {
        assert_eq!(check(less, Ordering::is_lt, more), Truth::True, "{less} < {more}");
        assert_eq!(check(more, Ordering::is_lt, less), Truth::False, "{more} < {less}");
    }
}

#[test]
fn a_number_that_doubles_cannot_tell_apart_is_unknown() {
    assert_eq!(check("9007199254740993", Ordering::is_gt, "9007199254740992"), Truth::Unknown);
    assert_eq!(check("9007199254740993", Ordering::is_eq, "9007199254740993"), Truth::True);
    assert_eq!(check("0.30000000000000000001", Ordering::is_le, "0.3"), Truth::Unknown);
}

#[test]
fn only_numbers_as_json_writes_them_are_numbers() {
    for text in ["", "+1", ".5", "1.", "012", "0x1f", "1e", "1e400", "inf", "nan", "--1", "1e+", "1_000"] {
        assert_eq!(Number::parse(text), None, "{text}");
    }
}
