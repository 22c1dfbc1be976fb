//! Serves every step: small sets, maps and sorted lists that cost the module little.
//!
//! The standard library sorts before it builds a set or a map of many, and brings its sort along for each type: five to
//! fourteen kilobytes of wasm, forty times. Ours mostly hold a handful, so they are filled one by one; and what has to be
//! sorted shares one sort, of positions. Neither takes more than n log n steps, whoever chooses how many there are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// The set of all items.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}

/// The map of all pairs; of a key that comes again, the last value.
pub fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        map.insert(key, value);
    }
    map
}

/// The items in order; equal ones stay in the order in which they came.
pub fn sorted<T>(items: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let at = |position: usize| items.get(position).and_then(Option::as_ref);
    let order = positions(items.len(), &|one, two| match (at(one), at(two)) {
        (Some(one), Some(two)) => compare(one, two),
        (None, _) | (_, None) => Ordering::Equal,
    });
    order.into_iter().filter_map(|position| items.get_mut(position)?.take()).collect()
}

#[inline(never)]
fn positions(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..count).collect();
    positions.sort_by(|one, two| compare(*one, *two));
    positions
}
