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
