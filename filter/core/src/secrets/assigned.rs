//! Step 5: secrets that tell by what stands before them: `password=…`, `"api_key": "…"`, `postgres://user:…@host`.

use super::{distinct, is_word, run};

/// Longer names are not looked at.
pub(super) const NAME_BYTES_MAX: usize = 64;

const VALUE_BYTES_MAX: usize = 512;

/// The kind of the secret around a `:` or `=`: `before` ends and `after` begins with it.
pub(super) fn around(before: &[u8], after: &[u8]) -> Option<&'static str> {
    let (sign, rest) = after.split_first()?;
    if *sign == b':'
        && let Some(rest) = rest.strip_prefix(b"//")
    {
        return password_in_address(rest);
    }
    named_value(before, *sign, rest)
}

/// `user:password@host` behind a scheme (RFC 3986, section 3.2.1).
fn password_in_address(rest: &[u8]) -> Option<&'static str> {
    let authority = run(rest.get(..VALUE_BYTES_MAX.min(rest.len()))?, |byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'\\' | b'<' | b'>' | b'`')
    });
    let at = authority.iter().rposition(|byte| *byte == b'@')?;
    let userinfo = authority.get(..at)?;
    let colon = userinfo.iter().position(|byte| *byte == b':')?;
    let password = userinfo.get(colon.saturating_add(1)..)?;
    let is_host = authority
        .get(at.saturating_add(1)..)
        .is_some_and(|host| host.first().is_some_and(|byte| is_word(*byte) || *byte == b'['));
    (password.len() >= 3 && is_host && !is_placeholder(password)).then_some("password-in-address")
}

/// Names whose values are secret, without `_` and `-`, in lower case; the value needs to look the part too.
const NAMES: [&[u8]; 16] = [
    b"password",
    b"passwd",
    b"pwd",
    b"passphrase",
    b"secret",
    b"secretkey",
    b"secretaccesskey",
    b"clientsecret",
    b"apikey",
    b"apisecret",
    b"accesskey",
    b"accesstoken",
    b"authtoken",
    b"refreshtoken",
    b"accountkey",
    b"sharedaccesskey",
];

/// `name = value`, where the name says that the value is secret and the value looks random.
fn named_value(before: &[u8], sign: u8, rest: &[u8]) -> Option<&'static str> {
    let name = name_at_end(before)?;
    let rest = rest.strip_prefix(b"=").unwrap_or(rest);
    let blanks = run(rest, |byte| byte == b' ').len();
    let rest = rest.get(blanks..)?;
    let rest = rest.strip_prefix(b"\\").unwrap_or(rest);
    let (quoted, rest) = match rest.split_first()? {
        (b'"' | b'\'', rest) => (true, rest),
        (_, _) => (false, rest),
    };
    let value = run(rest.get(..VALUE_BYTES_MAX.min(rest.len()))?, |byte| {
        byte.is_ascii_alphanumeric() || b"_-+/=.~!@#$%^&*".contains(&byte)
    });
    let is_azure = matches!(name.as_slice(), b"accountkey" | b"sharedaccesskey");
    if is_azure && value.len() >= 43 && value.ends_with(b"=") && distinct(value) >= RANDOM_DISTINCT_LEAST {
        return Some("azure-key");
    }
    // Without quotes a colon is as often a sentence or a type as an assignment.
    let is_assignment = quoted || sign == b'=';
    (is_assignment && looks_random(value) && !is_placeholder(value)).then_some("named-secret")
}

/// The name before the sign in lower case, without `_` and `-`, when it is one of [`NAMES`] or ends in one as a word.
fn name_at_end(before: &[u8]) -> Option<Vec<u8>> {
    let blanks = before.iter().rev().take_while(|byte| **byte == b' ').count();
    let before = before.get(..before.len().saturating_sub(blanks))?;
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let before = before.strip_suffix(b"\\").unwrap_or(before);
    let length = before.iter().rev().take(NAME_BYTES_MAX).take_while(|byte| is_word(**byte) || **byte == b'-').count();
    let name = before.get(before.len().saturating_sub(length)..)?;
    let folded: Vec<u8> = name.iter().filter(|byte| !matches!(byte, b'_' | b'-')).map(u8::to_ascii_lowercase).collect();
    let fitting = NAMES.iter().filter(|known| {
        let Some(lead) = folded.len().checked_sub(known.len()) else { return false };
        folded.ends_with(known) && (lead == 0 || begins_word(name, known.len()))
    });
    fitting.max_by_key(|known| known.len()).map(|known| known.to_vec())
}

/// Whether the last `length` letters of `name` begin a word of it: behind `_` or `-`, or in another case.
fn begins_word(name: &[u8], length: usize) -> bool {
    let mut left = length;
    let mut first = b' ';
    for (index, byte) in name.iter().enumerate().rev() {
        if left == 0 {
            return !byte.is_ascii_alphanumeric() || (byte.is_ascii_lowercase() && first.is_ascii_uppercase());
        }
        if !matches!(byte, b'_' | b'-') {
            left = left.saturating_sub(1);
            first = *byte;
        }
        if left == 0 && index == 0 {
            return true;
        }
    }
    false
}

const RANDOM_BYTES_LEAST: usize = 16;
const RANDOM_DISTINCT_LEAST: usize = 10;

/// Long, of many different characters, and of both letters and digits: no word, no sentence, no path.
fn looks_random(value: &[u8]) -> bool {
    let has = |passes: fn(&u8) -> bool| value.iter().any(passes);
    value.len() >= RANDOM_BYTES_LEAST
        && distinct(value) >= RANDOM_DISTINCT_LEAST
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && !value.contains(&b'.')
        && !value.starts_with(b"/")
}

/// What stands where people are told to put their secret.
fn is_placeholder(value: &[u8]) -> bool {
    const WORDS: [&str; 11] = [
        "password",
        "passwd",
        "example",
        "changeme",
        "placeholder",
        "redacted",
        "secret",
        "your",
        "xxx",
        "***",
        "dummy",
    ];
    let lower = value.to_ascii_lowercase();
    let opens = value.first().is_some_and(|byte| matches!(byte, b'$' | b'<' | b'{' | b'['))
        || (value.len() > 2 && value.starts_with(b"%") && value.ends_with(b"%"));
    opens
        || distinct(value) <= 2
        || matches!(lower.as_slice(), b"pass" | b"pwd" | b"user")
        || WORDS.iter().any(|word| memchr::memmem::find(&lower, word.as_bytes()).is_some())
}
