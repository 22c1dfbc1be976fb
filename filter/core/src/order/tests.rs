//! Against what the standard library makes of the same items.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn sets_maps_and_lists_are_those_of_the_standard_library(pairs: Vec<(u8, u32)>) {
        prop_assert_eq!(set(pairs.clone()), pairs.iter().copied().collect::<BTreeSet<_>>());
        prop_assert_eq!(map(pairs.clone()), pairs.iter().copied().collect::<BTreeMap<_, _>>());
        let mut standard = pairs.clone();
        standard.sort_by_key(|(key, _)| *key);
        prop_assert_eq!(sorted(pairs, |one, two| one.0.cmp(&two.0)), standard, "equal ones keep their order");
    }
}
