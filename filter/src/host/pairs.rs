//! The ABI's list of name and value pairs: a count, all lengths, then every name and value with a closing NUL.

/// A list of names and values where they stand.
pub(super) type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Reads a list as the host gives it; `None` when it contradicts itself.
pub(super) fn read(bytes: &[u8]) -> Option<Pairs<'_>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let count = usize::try_from(number(bytes, 0)?).ok()?;
    let mut lengths_at = 4usize;
    let mut at = count.checked_mul(8)?.checked_add(4)?;
    // A hostile count cannot make this reserve more than the list itself could name.
    let mut pairs = Vec::with_capacity(count.min(bytes.len() / 8));
    for _ in 0..count {
        let name = take(bytes, &mut at, number(bytes, lengths_at)?)?;
        let value = take(bytes, &mut at, number(bytes, lengths_at.checked_add(4)?)?)?;
        lengths_at = lengths_at.checked_add(8)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

/// Writes a list as the host reads it.
pub(super) fn write(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&u32::try_from(pairs.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, value) in pairs {
        out.extend_from_slice(&length(name));
        out.extend_from_slice(&length(value));
    }
    for (name, value) in pairs {
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value.as_bytes());
        out.push(0);
    }
    out
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, length: u32) -> Option<&'a [u8]> {
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let taken = bytes.get(*at..end)?;
    *at = end.checked_add(1)?;
    Some(taken)
}
