//! The service and the core name a policy alike.

use holdpoint_core::policy::{compile, read_file};

use super::id_of;

#[test]
fn id_is_the_one_that_decisions_cite() {
    let document = read_file("version: \"2026-01-27\"\nrules: []\n").unwrap();
    let snapshot = compile(&document).unwrap();
    assert_eq!(id_of(snapshot.canonical()), snapshot.id());
}
