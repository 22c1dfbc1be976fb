//! Step 6: numbers of policies and arguments, compared exactly and as the doubles that most servers read.

use std::cmp::Ordering;

use super::truth::Truth;

const DIGITS_MAX: usize = 64;

/// A JSON number, with its text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    text: String,
}

impl Number {
    /// Takes a number as JSON writes it; nothing for `+1`, `.5`, `012`, `0x1f`, or what no double holds.
    pub fn parse(text: &str) -> Option<Self> {
        Decimal::parse(text)?;
        Some(Self { text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `found`, the text of a number in a message, stands to this number as `holds` asks. Unknown when the
    /// exact value and the nearest double say different things: the server may go by either.
    pub fn compare(&self, found: &str, holds: fn(Ordering) -> bool) -> Truth {
        let (Some(exact_found), Some(exact)) = (Decimal::parse(found), Decimal::parse(&self.text)) else {
            return Truth::Unknown;
        };
        let binary = match (found.parse::<f64>(), self.text.parse::<f64>()) {
            (Ok(found), Ok(expected)) => found.partial_cmp(&expected),
            (Err(_), _) | (_, Err(_)) => None,
        };
        match (holds(exact_found.cmp(&exact)), binary.map(holds)) {
            (true, Some(true)) => Truth::True,
            (false, Some(false)) => Truth::False,
            (_, Some(_) | None) => Truth::Unknown,
        }
    }
}

/// 0.`digits` × 10^`point`, signed; zero has no digits.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some((whole, fraction)) => (whole, fraction),
            None => (mantissa, ""),
        };
        let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !plain(whole) || !plain(fraction) || text.len() > DIGITS_MAX {
            return None;
        }
        if !text.parse::<f64>().is_ok_and(f64::is_finite) {
            return None;
        }
        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let mut digits: Vec<u8> = all.into_iter().skip(zeros).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { negative: false, digits, point: 0 });
        }
        let places = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(zeros).ok()?)?;
        Some(Self { negative: text.starts_with('-'), digits, point: exponent.checked_add(places)? })
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let (one, two) = (sign(self), sign(other));
        if one != two || one == 0 {
            return one.cmp(&two);
        }
        // Without leading zeros the greater exponent is the greater number; then digits compare like words.
        let magnitude = self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits));
        if one < 0 { magnitude.reverse() } else { magnitude }
    }
}

#[cfg(test)]
mod tests;
