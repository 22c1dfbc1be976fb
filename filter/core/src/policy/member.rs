//! Step 6: finds a member of an object without being fooled by a near-name: some servers read keys without case.

use crate::json::Value;

/// What an object says about a name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Member<'d> {
    Found(Value<'d>),
    /// Neither the name nor anything like it.
    Absent,
    /// A near-name stands there, alone or beside the name: the server may read that one.
    Ambiguous,
}

/// Looks `name` up in `object`; what is no object has no members.
pub(crate) fn find<'d>(object: Value<'d>, name: &str) -> Member<'d> {
    let mut found = Member::Absent;
    for (key, value) in object.members() {
        if key == name {
            found = Member::Found(value);
        } else if is_near(&key, name) {
            return Member::Ambiguous;
        }
    }
    found
}

/// Whether the two differ only in case, `_` and `-`. Folding goes through upper case, as readers that fold do: it
/// makes `ſ` an `s` and the Kelvin sign a `k`.
fn is_near(one: &str, two: &str) -> bool {
    fold(one).eq(fold(two))
}

fn fold(name: &str) -> impl Iterator<Item = char> {
    name.chars()
        .filter(|character| !matches!(character, '_' | '-'))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
}
