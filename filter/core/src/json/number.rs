//! Step 3: numbers, of which JSON has one grammar and parsers have several.

use super::error::ReadError;

/// Without an exponent a number too large for a double takes over 300 digits.
const DIGITS_OF_A_DOUBLE: usize = 300;

/// The end of the number at `at`, if it is what nearly all are: up to seven digits and nothing else.
#[inline(always)]
pub(super) fn short_integer_end(text: &[u8], at: usize, chars_max: u32) -> Option<usize> {
    let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
    // Ten and more gets the high bit. A carry out of a byte only reaches those above it, and the lowest mark is used.
    let values = word ^ 0x3030_3030_3030_3030;
    let others = (values | values.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080;
    let bits = others.trailing_zeros() & !7;
    let digits = bits / 8;
    let goes_on = matches!(word.checked_shr(bits)? as u8, b'.' | b'e' | b'E');
    let has_leading_zero = word as u8 == b'0' && digits > 1;
    (digits > 0 && digits <= chars_max && !goes_on && !has_leading_zero).then(|| at.wrapping_add(digits as usize))
}

/// The end of the number at `at`, whose first character is a digit or a minus sign.
#[inline(never)]
pub(super) fn end(text: &str, at: usize, chars_max: u32) -> Result<usize, ReadError> {
    let problem = |problem| ReadError::Number { at, problem };
    let number = text.as_bytes().get(at..).unwrap_or_default();
    let mut rest = number.strip_prefix(b"-").unwrap_or(number);
    match (rest.first(), skip_digits(&mut rest)) {
        (_, 0) => return Err(problem("a minus sign without digits")),
        (Some(b'0'), 2..) => return Err(problem("a number with a leading zero; write it without")),
        _ => {}
    }
    if let [b'.', fraction @ ..] = rest {
        rest = fraction;
        if skip_digits(&mut rest) == 0 {
            return Err(problem("a decimal point without digits behind it"));
        }
    }
    let has_exponent = matches!(rest, [b'e' | b'E', ..]);
    if let [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        rest = exponent;
        if skip_digits(&mut rest) == 0 {
            return Err(problem("an exponent without digits"));
        }
    }
    let chars = number.len().wrapping_sub(rest.len());
    let end = at.wrapping_add(chars);
    if chars > chars_max as usize {
        return Err(ReadError::NumberTooLong { at, number_chars_max: chars_max });
    }
    // Some parsers make infinity of such a number, some refuse it.
    let written = text.get(at..end).unwrap_or_default();
    if (has_exponent || chars > DIGITS_OF_A_DOUBLE) && !written.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(ReadError::NumberTooLarge { at });
    }
    Ok(end)
}

fn skip_digits(rest: &mut &[u8]) -> usize {
    let digits = digits(rest);
    *rest = rest.get(digits..).unwrap_or_default();
    digits
}

#[inline(always)]
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}
