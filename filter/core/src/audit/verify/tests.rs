//! Every way to tamper with a log is found, with words that say what and where.

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::audit::EntryKind;
use crate::audit::merkle::root_of;
use crate::audit::note::{checkpoint_text, origin, write};
use crate::digest::hex_encode;

fn key(seed: u8) -> (SigningKey, ServiceKey) {
    let signing = SigningKey::from_bytes(&[seed; 32]);
    let public = format!("ed25519:{}", hex_encode(signing.verifying_key().as_bytes())).parse().unwrap();
    (signing, public)
}

/// A log of ten entries.
fn bodies() -> Vec<String> {
    (0..10).map(|at| serde_json::to_string(&AuditEntry::new(EntryKind::Decision, at)).unwrap()).collect()
}

/// What `seed`'s key signs for the first `size` of these entries.
fn checkpoint(seed: u8, bodies: &[String], size: usize) -> GivenCheckpoint {
    let (signing, public) = key(seed);
    let root = root_of(bodies.iter().take(size).map(|body| leaf_hash(body.as_bytes())));
    let checkpoint = Checkpoint { origin: origin(&public), size: u64::try_from(size).unwrap(), root };
    let text = checkpoint_text(&checkpoint);
    let note = write(&origin(&public), &public, &text, &signing.sign(text.as_bytes()).to_bytes());
    GivenCheckpoint { name: format!("checkpoint {size}"), note, size: None }
}

/// Reads `bodies` in order against `given`.
fn verify(bodies: &[String], given: Vec<GivenCheckpoint>) -> Verified {
    let mut verifier = Verifier::new(&key(7).1, given);
    for (seq, body) in (0..).zip(bodies) {
        verifier.entry(seq, body, None);
    }
    verifier.finish(None)
}

#[test]
fn whole_log_has_no_finding_and_meets_every_checkpoint() {
    let bodies = bodies();
    let given = vec![checkpoint(7, &bodies, 10), checkpoint(7, &bodies, 3), checkpoint(7, &bodies, 3)];
    let verified = verify(&bodies, given);
    assert_eq!((verified.entries, verified.checkpoints), (10, 3));
    assert_eq!(verified.findings, [""; 0]);
}

#[test]
fn every_attack_on_a_log_is_found_by_a_checkpoint_that_was_kept() {
    let check = |attack: &dyn Fn(&mut Vec<String>), expected: &str| {
        let honest = bodies();
        let kept = vec![checkpoint(7, &honest, 5), checkpoint(7, &honest, 10)];
        let mut attacked = honest;
        attack(&mut attacked);
        let findings = verify(&attacked, kept).findings;
        assert!(findings.iter().any(|finding| finding.contains(expected)), "{expected}: {findings:?}");
    };
    let other = serde_json::to_string(&AuditEntry::new(EntryKind::Refusal, 3)).unwrap();
    check(&|log| log[3].clone_from(&other), "checkpoint 5 was signed for other entries");
    check(&|log| drop(log.remove(7)), "checkpoint 10 was signed, and the log has only 9 entries");
    check(&|log| log.insert(2, other.clone()), "checkpoint 5 was signed for other entries");
    check(&|log| log.swap(6, 8), "checkpoint 10 was signed for other entries");
    check(&|log| log.truncate(5), "checkpoint 10 was signed, and the log has only 5 entries");
    check(&|log| log.clear(), "checkpoint 5 was signed, and the log has only 0 entries");
    check(&|log| log[9] = "{}".to_owned(), "entry 9 is no entry that this version reads");
}

#[test]
fn checkpoint_of_another_key_and_a_forged_one_are_not_believed() {
    let bodies = bodies();
    let findings = verify(&bodies, vec![checkpoint(8, &bodies, 10)]).findings;
    assert!(findings[0].contains("this key signs the log"), "{findings:?}");
    let mut forged = checkpoint(7, &bodies, 10);
    forged.note = forged.note.replace("\n10\n", "\n9\n");
    let findings = verify(&bodies, vec![forged]).findings;
    assert!(findings[0].contains("the signature is not this key's"), "{findings:?}");
}

#[test]
fn numbers_and_stored_hashes_that_do_not_fit_are_named() {
    let bodies = bodies();
    let mut verifier = Verifier::new(&key(7).1, []);
    verifier.entry(0, &bodies[0], Some(leaf_hash(b"other")));
    verifier.entry(4, &bodies[1], None);
    verifier.entry(2, &bodies[2], None);
    let verified = verifier.finish(Some((5, Digest::of(b"root"))));
    let expected = [
        "entry 0 was changed",
        "entries 1 to 3 are missing",
        "entry 2 stands where 5 belongs",
        "the log's head counts 5 entries, only 3 are there",
        "the entries have the root",
    ];
    assert_eq!(verified.findings.len(), expected.len(), "{:?}", verified.findings);
    for (finding, start) in verified.findings.iter().zip(expected) {
        assert!(finding.starts_with(start), "{finding}");
    }
}

#[test]
fn a_ruined_log_does_not_print_for_ever() {
    let mut verifier = Verifier::new(&key(7).1, []);
    for seq in 0..500 {
        verifier.entry(seq, "rubbish", None);
    }
    let findings = verifier.finish(None).findings;
    assert_eq!((findings.len(), findings.last().map(String::as_str)), (101, Some("… and 400 more")));
}
