//! A receipt convinces whoever has the key, and nothing in it can be changed.

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::audit::merkle::root_of;
use crate::audit::note::{checkpoint_text, origin, write};
use crate::audit::proof::inclusion_ranges;
use crate::digest::hex_encode;

fn key(seed: u8) -> (SigningKey, ServiceKey) {
    let signing = SigningKey::from_bytes(&[seed; 32]);
    let public = format!("ed25519:{}", hex_encode(signing.verifying_key().as_bytes())).parse().unwrap();
    (signing, public)
}

/// The receipt for entry `index` of a log with `size` entries.
fn receipt(index: u64, size: u64) -> (Receipt, ServiceKey) {
    let (signing, public) = key(7);
    let bodies: Vec<String> = (0..size).map(|seq| format!("{{\"seq\":{seq}}}")).collect();
    let leaves: Vec<Digest> = bodies.iter().map(|body| leaf_hash(body.as_bytes())).collect();
    let root = |from: u64, to: u64| {
        root_of(leaves[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].iter().copied())
    };
    let text = checkpoint_text(&Checkpoint { origin: origin(&public), size, root: root(0, size) });
    let checkpoint = write(&origin(&public), &public, &text, &signing.sign(text.as_bytes()).to_bytes());
    let ranges = inclusion_ranges(index, size).unwrap();
    let proof = ranges.into_iter().map(|range| root(range.start, range.end)).collect();
    (Receipt { body: bodies[usize::try_from(index).unwrap()].clone(), index, proof, checkpoint }, public)
}

#[test]
fn receipt_survives_being_written_and_read_and_verifies_with_the_public_key_alone() {
    let (receipt, key) = receipt(5, 11);
    let read = Receipt::read(&receipt.to_string()).unwrap();
    assert_eq!(read, receipt);
    assert_eq!(read.verify(&key).unwrap().size, 11);
}

#[test]
fn a_log_of_one_entry_has_an_empty_proof() {
    let (receipt, key) = receipt(0, 1);
    assert_eq!(Receipt::read(&receipt.to_string()).unwrap().verify(&key).unwrap().size, 1);
}

#[test]
fn nothing_in_a_receipt_can_be_changed() {
    let check = |change: &dyn Fn(&mut Receipt), expected: &str| {
        let (mut changed, key) = receipt(5, 11);
        change(&mut changed);
        let error = changed.verify(&key).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&|receipt| receipt.body = "{\"seq\":6}".to_owned(), "another root");
    check(&|receipt| receipt.index = 4, "another root");
    check(&|receipt| receipt.index = 11, "outside of a log of 11 entries");
    check(&|receipt| receipt.proof[0] = leaf_hash(b"x"), "another root");
    check(&|receipt| receipt.proof.truncate(3), "has 4 hashes, this one has 3");
    check(&|receipt| receipt.checkpoint = receipt.checkpoint.replace("\n11\n", "\n12\n"), "the signature is not");
    check(
        &|receipt| receipt.checkpoint = receipt.checkpoint.replace("— holdpoint/", "— holdpoint/x"),
        "has not signed it",
    );
}

#[test]
fn receipt_of_another_key_is_not_accepted() {
    let (receipt, _) = receipt(5, 11);
    let (_, other) = key(8);
    assert!(matches!(receipt.verify(&other), Err(ReceiptError::Checkpoint(NoteError::Signer { .. }))));
}

#[test]
fn other_texts_are_refused_with_what_is_missing() {
    for (text, expected) in [
        ("", "no empty line"),
        ("x\n\n", "the first line is not"),
        ("c2sp.org/tlog-proof@v1\nindex 1\n\nx", "no `extra` line"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex x\n\nx", "no `index` line"),
        ("c2sp.org/tlog-proof@v1\nextra e30=\nindex 1\nAAAA\n\nx", "is no hash"),
    ] {
        let error = Receipt::read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
