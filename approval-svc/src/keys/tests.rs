//! The key is made once, stays, and is nobody else's to read.

use std::os::unix::fs::PermissionsExt;

use holdpoint_core::approval::ServiceKey;

use super::*;
use crate::store::contract::scratch_dir;

#[test]
fn key_is_made_once_and_readable_by_its_owner_alone() {
    let dir = scratch_dir();
    let first = ServiceSigner::load_or_create(&dir).unwrap();
    let second = ServiceSigner::load_or_create(&dir).unwrap();
    assert_eq!(first.public(), second.public());
    assert!(first.public().parse::<ServiceKey>().is_ok());
    let mode = fs::metadata(dir.join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "no draft is left");
}

#[test]
fn damaged_key_is_refused_rather_than_replaced() {
    let dir = scratch_dir();
    fs::write(dir.join(FILE_NAME), "zz").unwrap();
    assert!(matches!(ServiceSigner::load_or_create(&dir), Err(KeyError::Shape { .. })));
}

#[test]
fn rotated_key_signs_beside_the_one_before_it_until_that_is_retired_and_the_log_keeps_its_name() {
    let dir = scratch_dir();
    let signer = ServiceSigner::load_or_create(&dir).unwrap();
    let (old, origin) = (signer.public_key(), signer.origin());
    let sealed = signer.seal("round", "text");
    assert!(!signer.refresh().unwrap());
    let next = NextKey::make(&dir).unwrap();
    assert_eq!(NextKey::make(&dir).unwrap().new, next.new, "an interrupted rotation goes on with the same key");
    let new = next.new.clone();
    next.put_in_place().unwrap();
    assert!(signer.refresh().unwrap());
    assert_eq!(signer.public_keys(), [new.clone(), old.clone()]);
    assert!(matches!(NextKey::make(&dir), Err(KeyError::Rotating)));
    assert!(signer.is_sealed("round", "text", &sealed) && !signer.is_sealed("round", "text", "00"));
    let note = signer.sign_checkpoint(3, Digest::of(b"root"));
    for key in [&new, &old] {
        assert_eq!(note::read_checkpoint(&note, key).unwrap().origin, origin);
    }
    remove_previous(&dir).unwrap();
    assert!(signer.refresh().unwrap());
    let note = signer.sign_checkpoint(3, Digest::of(b"root"));
    assert_eq!(note::read_checkpoint(&note, &new).unwrap().origin, origin);
    assert!(note::read_checkpoint(&note, &old).is_err());
    let mode = fs::metadata(dir.join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
