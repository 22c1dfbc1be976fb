//! Every way to tamper with a log is found, with words that say what and where.

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::audit::EntryKind;
use crate::audit::merkle::root_of;
use crate::audit::note::Checkpoint;
use crate::audit::note::{checkpoint_text, origin, write};
use crate::audit::payload::Salt;
use crate::decision::AuditLevel;
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
    let mut verifier = Verifier::new(&[key(7).1], given);
    for (seq, body) in (0..).zip(bodies) {
        verifier.entry(seq, body, None, Beside::Nothing);
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
    assert!(findings[0].contains("has not signed it"), "{findings:?}");
    let mut forged = checkpoint(7, &bodies, 10);
    forged.note = forged.note.replace("\n10\n", "\n9\n");
    let findings = verify(&bodies, vec![forged]).findings;
    assert!(findings[0].contains("the signature is not this key's"), "{findings:?}");
}

#[test]
fn numbers_and_stored_hashes_that_do_not_fit_are_named() {
    let bodies = bodies();
    let mut verifier = Verifier::new(&[key(7).1], []);
    verifier.entry(0, &bodies[0], Some(leaf_hash(b"other")), Beside::Nothing);
    verifier.entry(4, &bodies[1], None, Beside::Nothing);
    verifier.entry(2, &bodies[2], None, Beside::Nothing);
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
    let mut verifier = Verifier::new(&[key(7).1], []);
    for seq in 0..500 {
        verifier.entry(seq, "rubbish", None, Beside::Nothing);
    }
    let findings = verifier.finish(None).findings;
    assert_eq!((findings.len(), findings.last().map(String::as_str)), (101, Some("… and 400 more")));
}

/// `note` with the signature of `seed`'s key beside that of the log's first key.
fn signed_also(given: &GivenCheckpoint, first: u8, seed: u8) -> GivenCheckpoint {
    let (signing, public) = key(seed);
    let (text, _) = given.note.rsplit_once("\n\n").unwrap();
    let signature = signing.sign(format!("{text}\n").as_bytes()).to_bytes();
    let note = crate::audit::note::add_signature(&given.note, &origin(&key(first).1), &public, &signature);
    GivenCheckpoint { note, ..given.clone() }
}

/// The same checkpoint, signed by `seed`'s key alone.
fn signed_instead(given: &GivenCheckpoint, first: u8, seed: u8) -> GivenCheckpoint {
    let both = signed_also(given, first, seed);
    let last = both.note.lines().last().unwrap();
    let (text, _) = given.note.rsplit_once("\n\n").unwrap();
    GivenCheckpoint { note: format!("{text}\n\n{last}\n"), ..given.clone() }
}

fn key_changed(status: &str, seeds: &[u8]) -> String {
    let mut entry = AuditEntry::new(EntryKind::KeyChanged, 1);
    entry.status = Some(status.to_owned());
    entry.keys = seeds.iter().map(|seed| key(*seed).1.to_string()).collect();
    serde_json::to_string(&entry).unwrap()
}

/// A log of twelve: rotated from key 7 to key 8 at entry 4, key 7 retired at entry 8.
fn rotated() -> (Vec<String>, Vec<GivenCheckpoint>) {
    let mut bodies = bodies();
    bodies.insert(4, key_changed(crate::audit::KEY_ROTATED, &[8, 7]));
    bodies.insert(8, key_changed(KEY_RETIRED, &[7]));
    let of = |size| checkpoint(7, &bodies, size);
    let given = vec![of(3), signed_also(&of(6), 7, 8), signed_instead(&of(12), 7, 8)];
    (bodies, given)
}

fn verify_with(seed: u8, bodies: &[String], given: Vec<GivenCheckpoint>) -> Verified {
    let mut verifier = Verifier::new(&[key(seed).1], given);
    for (seq, body) in (0..).zip(bodies) {
        verifier.entry(seq, body, None, Beside::Nothing);
    }
    verifier.finish(None)
}

#[test]
fn a_rotated_log_is_believed_by_whoever_knows_either_key() {
    let (bodies, given) = rotated();
    for seed in [7, 8] {
        let verified = verify_with(seed, &bodies, given.clone());
        assert_eq!((verified.findings, verified.checkpoints), (Vec::new(), 3), "key {seed}");
    }
}

#[test]
fn a_key_that_no_believed_checkpoint_introduces_and_a_retired_one_vouch_for_nothing() {
    let (bodies, given) = rotated();
    // Somebody swaps the key and names it in an entry, but has not the old key to sign a checkpoint over that with.
    let swapped = vec![given[0].clone(), signed_instead(&checkpoint(7, &bodies, 6), 7, 8)];
    let findings = verify_with(7, &bodies, swapped).findings;
    assert!(findings.len() == 1 && findings[0].contains("checkpoint 6 is not to be believed"), "{findings:?}");
    let late = vec![given[1].clone(), checkpoint(7, &bodies, 12)];
    let findings = verify_with(7, &bodies, late).findings;
    assert!(findings.len() == 1 && findings[0].contains("had been retired"), "{findings:?}");
    assert_eq!(verify_with(9, &bodies, given).findings.len(), 3, "a stranger's key");
}

/// Five entries with their arguments in full beside them.
fn with_payloads() -> Vec<(String, Payload)> {
    let one = |at: u8| {
        let mut entry = AuditEntry::new(EntryKind::Decision, at.into());
        let mut payload = Payload::new(Salt::new([at; 16]));
        entry.arguments = payload.keep(Part::Arguments, AuditLevel::Full, &format!("{{\"amount\":{at}}}"));
        (serde_json::to_string(&entry).unwrap(), payload)
    };
    (0..5).map(one).collect()
}

/// An entry's text, and what stands beside it.
type Told = (String, Option<Payload>);

fn verify_beside(entries: &[Told]) -> Verified {
    let mut verifier = Verifier::new(&[key(7).1], Vec::new());
    for (seq, (body, payload)) in (0..).zip(entries) {
        verifier.entry(seq, body, None, payload.as_ref().map_or(Beside::Nothing, Beside::Payload));
    }
    verifier.finish(None)
}

#[test]
fn what_stands_beside_the_entries_is_held_against_them() {
    let check = |attack: &dyn Fn(&mut Vec<Told>), expected: &str| {
        let mut entries: Vec<_> = with_payloads().into_iter().map(|(body, one)| (body, Some(one))).collect();
        attack(&mut entries);
        let verified = verify_beside(&entries);
        match expected {
            "" => assert_eq!(verified.findings, [""; 0]),
            _ => assert!(verified.findings.iter().any(|one| one.starts_with(expected)), "{:?}", verified.findings),
        }
    };
    check(&|_| {}, "");
    check(
        &|entries| entries[3].1.as_mut().unwrap().arguments = Some("{\"amount\":1}".to_owned()),
        "the arguments beside entry 3 were edited",
    );
    check(&|entries| entries[3].1.as_mut().unwrap().arguments = None, "the arguments beside entry 3 were taken out");
    check(
        &|entries| entries[3].1.as_mut().unwrap().result = Some("{}".to_owned()),
        "beside entry 3 stands a result of which it says nothing",
    );
    check(&|entries| entries[3].1 = None, "what stood beside entry 3 is gone, and no entry says");
    check(
        &|entries| entries[1..4].iter_mut().for_each(|entry| entry.1 = None),
        "what stood beside entries 1 to 3 is gone, and no entry says",
    );
}

#[test]
fn what_was_erased_and_written_down_so_is_counted_and_nothing_else_is_excused() {
    let mut entries: Vec<_> = with_payloads().into_iter().map(|(body, one)| (body, Some(one))).collect();
    for at in [1, 2, 4] {
        entries[at].1 = None;
    }
    let mut erasing = AuditEntry::new(EntryKind::PayloadsErased, 9);
    erasing.erased = vec![[0, 2]];
    entries.push((serde_json::to_string(&erasing).unwrap(), None));
    let verified = verify_beside(&entries);
    assert_eq!((verified.erased, verified.payloads), (2, 2));
    assert_eq!(verified.findings, ["what stood beside entry 4 is gone, and no entry says that it was erased"]);
}

#[test]
fn entries_copied_without_what_stands_beside_them_are_whole() {
    let mut verifier = Verifier::new(&[key(7).1], Vec::new());
    for (seq, (body, _)) in (0..).zip(with_payloads()) {
        verifier.entry(seq, &body, None, Beside::Unseen);
    }
    let verified = verifier.finish(None);
    assert_eq!((verified.payloads_unseen, verified.findings.len()), (5, 0));
}

#[test]
fn ranges_are_told_apart() {
    assert_eq!(split(&[[0, 9]], vec![[8, 20], [2, 3], [3, 5]]), (6, vec![[0, 1], [6, 7]]));
    assert_eq!(split(&[[1, 1], [4, 6]], vec![[0, 100]]), (4, vec![]));
    assert_eq!(split(&[[1, 2], [u64::MAX, u64::MAX]], vec![[2, 2]]), (1, vec![[1, 1], [u64::MAX, u64::MAX]]));
    assert_eq!(split(&[], vec![[0, 1]]), (0, vec![]));
}
