//! The core schema of YAML 1.2: what a plain scalar means.

use super::Kind;

/// What the plain scalar `text` is.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ if is_int(text) => Kind::Int(text.to_owned()),
        _ if is_float(text) => Kind::Float(text.to_owned()),
        _ => Kind::Str(text.to_owned()),
    }
}

/// A whole number as JSON: exact where JSON's readers are, else the nearest double.
pub(super) fn int_to_json(text: &str) -> serde_json::Value {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x', ..] => (16, text.get(2..).unwrap_or_default()),
        [b'0', b'o', ..] => (8, text.get(2..).unwrap_or_default()),
        _ => (10, text),
    };
    if let Ok(number) = u64::from_str_radix(digits, radix) {
        return number.into();
    }
    if let Ok(number) = i64::from_str_radix(digits, radix) {
        return number.into();
    }
    let nearest = digits.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
    nearest.map_or_else(|| serde_json::Value::String(text.to_owned()), serde_json::Value::Number)
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_int(text: &str) -> bool {
    if let Some(octal) = text.strip_prefix("0o") {
        return !octal.is_empty() && octal.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    is_digits(unsigned(text))
}

fn is_float(text: &str) -> bool {
    if matches!(text, ".nan" | ".NaN" | ".NAN") || matches!(unsigned(text), ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let (mantissa, exponent) = match unsigned(text).split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned(text), None),
    };
    let mantissa_reads = match mantissa.split_once('.') {
        Some(("", fraction)) => is_digits(fraction),
        Some((whole, fraction)) => is_digits(whole) && (fraction.is_empty() || is_digits(fraction)),
        None => is_digits(mantissa),
    };
    mantissa_reads && exponent.is_none_or(|exponent| is_digits(unsigned(exponent)))
}
