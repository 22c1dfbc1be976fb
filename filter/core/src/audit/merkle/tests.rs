//! The tree agrees with the vectors of Certificate Transparency and with the recursion of RFC 6962 section 2.1.

use proptest::prelude::*;

use super::*;

/// The eight leaves that the Certificate Transparency implementations share as test data.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Root after each of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hex(digest: Digest) -> String {
    crate::digest::hex_encode(digest.as_bytes())
}

/// MTH of RFC 6962, as its text says it.
fn recursion(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            node_hash(recursion(&leaves[..split]), recursion(&leaves[split..]))
        }
    }
}

#[test]
fn empty_tree_has_the_root_of_the_standard() {
    assert_eq!(hex(Frontier::default().root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[test]
fn every_prefix_of_the_shared_leaves_has_its_published_root() {
    let mut frontier = Frontier::default();
    for (at, leaf) in LEAVES.iter().enumerate() {
        frontier.append(leaf_hash(&crate::digest::hex_decode(leaf).unwrap()));
        assert_eq!(hex(frontier.root()), ROOTS[at], "after leaf {at}");
        assert_eq!(frontier.size(), at as u64 + 1);
    }
}

#[test]
fn frontier_of_another_size_is_refused() {
    let mut frontier = Frontier::default();
    for leaf in LEAVES {
        frontier.append(leaf_hash(leaf.as_bytes()));
    }
    let error = Frontier::from_bytes(7, &frontier.to_bytes()).unwrap_err();
    assert_eq!(error, FrontierError { size: 7, subtrees: 3, bytes_found: 32 });
    assert!(Frontier::from_bytes(8, &[0; 31]).is_err());
    assert!(Frontier::from_bytes(0, &[]).is_ok());
}

proptest! {
    #[test]
    fn frontier_agrees_with_the_recursion_and_survives_storage(bodies in prop::collection::vec(any::<[u8; 3]>(), 0..200)) {
        let leaves: Vec<Digest> = bodies.iter().map(|body| leaf_hash(body)).collect();
        let mut frontier = Frontier::default();
        for leaf in &leaves {
            frontier = Frontier::from_bytes(frontier.size(), &frontier.to_bytes()).unwrap();
            frontier.append(*leaf);
        }
        prop_assert_eq!(frontier.root(), recursion(&leaves));
        prop_assert_eq!(root_of(leaves.iter().copied()), recursion(&leaves));
    }
}
