//! Proofs agree with the recursion of RFC 6962 section 2.1, and no other leaf, place or root passes.

use proptest::prelude::*;

use super::*;
use crate::audit::merkle::{leaf_hash, root_of};

fn leaves(size: u64) -> Vec<Digest> {
    (0..size).map(|seq| leaf_hash(format!("entry {seq}").as_bytes())).collect()
}

fn root(leaves: &[Digest], range: Range<u64>) -> Digest {
    root_of(leaves[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].iter().copied())
}

fn roots(leaves: &[Digest], ranges: Vec<Range<u64>>) -> Vec<Digest> {
    ranges.into_iter().map(|range| root(leaves, range)).collect()
}

#[test]
fn every_entry_of_every_small_log_is_proven_and_no_other_passes() {
    for size in 1..=33 {
        let leaves = leaves(size);
        let signed = root(&leaves, 0..size);
        for index in 0..size {
            let proof = roots(&leaves, inclusion_ranges(index, size).unwrap());
            let leaf = leaves[usize::try_from(index).unwrap()];
            assert_eq!(verify_inclusion(leaf, index, size, signed, &proof), Ok(()), "{index} of {size}");
            let other = leaf_hash(b"another entry");
            assert_eq!(verify_inclusion(other, index, size, signed, &proof), Err(ProofError::Root));
            for elsewhere in (0..size).filter(|elsewhere| *elsewhere != index) {
                assert!(verify_inclusion(leaf, elsewhere, size, signed, &proof).is_err(), "{index} as {elsewhere}");
            }
        }
        assert_eq!(inclusion_ranges(size, size), None);
    }
}

#[test]
fn every_older_log_is_proven_to_be_the_beginning_and_no_fork_passes() {
    for new in 1..=33 {
        let leaves = leaves(new);
        let new_root = root(&leaves, 0..new);
        for old in 1..=new {
            let old_root = root(&leaves, 0..old);
            let proof = roots(&leaves, consistency_ranges(old, new).unwrap());
            assert_eq!(verify_consistency(old, old_root, new, new_root, &proof), Ok(()), "{old} of {new}");
            let mut forked = leaves.clone();
            forked[0] = leaf_hash(b"forked");
            let other = root(&forked, 0..old);
            assert_eq!(verify_consistency(old, other, new, new_root, &proof), Err(ProofError::Root), "{old} of {new}");
        }
    }
    assert_eq!(consistency_ranges(0, 4), None);
    assert_eq!(consistency_ranges(5, 4), None);
}

proptest! {
    #[test]
    fn no_proof_is_longer_than_its_bound(index in any::<u64>(), size in any::<u64>()) {
        prop_assert!(inclusion_ranges(index, size).is_none_or(|ranges| ranges.len() <= HASHES_MAX));
        prop_assert!(consistency_ranges(index, size).is_none_or(|ranges| ranges.len() <= HASHES_MAX + 1));
    }

    #[test]
    fn ranges_are_aligned_subtrees(index in 0_u64..1 << 40, more in 1_u64..1 << 40) {
        for range in inclusion_ranges(index, index + more).unwrap() {
            let size = range.end - range.start;
            prop_assert_eq!(range.start % size.next_power_of_two(), 0);
        }
    }
}
