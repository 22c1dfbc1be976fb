//! One service at a time, and files that belong to whoever has to read them.

use std::os::unix::fs::chown;

use super::*;
use crate::store::contract::scratch_dir;

#[test]
fn second_service_is_told_who_serves_and_the_end_of_the_first_makes_room() {
    let dir = scratch_dir();
    assert!(keep_unserved(&dir).unwrap().is_none(), "nothing is left where no service ran");
    assert!(!dir.join(SERVING).exists());
    let first = serve(&dir).unwrap();
    first.listens(SocketAddr::from((Ipv4Addr::LOCALHOST, 7437)));
    let process = std::process::id();
    let expected = format!("another service (pid {process}) serves `{}` at 127.0.0.1:7437: ", dir.display());
    for refused in [serve(&dir).map(|_| ()), keep_unserved(&dir).map(|_| ())] {
        let said = refused.unwrap_err().to_string();
        assert!(said.starts_with(&expected) && said.contains("need PostgreSQL"), "{said}");
    }
    drop(first);
    let restoring = keep_unserved(&dir).unwrap().unwrap();
    assert!(matches!(serve(&dir), Err(DataDirError::Served { .. })));
    drop(restoring);
    serve(&dir).unwrap();
}

#[test]
fn file_made_by_root_belongs_to_the_owner_of_its_folder_or_of_the_file_it_follows() {
    let dir = scratch_dir();
    if chown(&dir, Some(12_345), Some(12_346)).is_err() {
        eprintln!("skipped: files that root makes, because only root may give files away");
        return;
    }
    let owner = |path: &Path| {
        let known = fs::metadata(path).unwrap();
        (known.uid(), known.gid(), known.mode() & 0o777)
    };
    let first = dir.join("first");
    write_new(&first, "x", None).unwrap();
    assert_eq!(owner(&first), (12_345, 12_346, 0o600));
    chown(&first, Some(23_456), Some(12_346)).unwrap();
    fs::set_permissions(&first, Permissions::from_mode(0o640)).unwrap();
    let second = dir.join("second");
    write_new(&second, "x", Some(&first)).unwrap();
    assert_eq!(owner(&second), (23_456, 12_346, 0o640));
    let database = create_database(&dir).unwrap();
    assert_eq!(owner(&database), (12_345, 12_346, 0o600));
    drop(serve(&dir).unwrap());
    assert_eq!(owner(&dir.join(SERVING)), (12_345, 12_346, 0o600));
}
