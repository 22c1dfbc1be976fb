//! Whoever has the write lock is named, and nobody else.

use super::*;

#[test]
fn who_has_the_byte_of_the_writer_locked_is_named_and_nobody_else() {
    let of = |line: &str| holder(line, "fe:00:5243", Some(WRITE_BYTE));
    assert_eq!(of("7: POSIX  ADVISORY  WRITE 4711 fe:00:5243 120 120\n"), Some(4711));
    assert_eq!(
        of("1: FLOCK  ADVISORY  WRITE 1 fe:00:5243 0 EOF\n7: POSIX  ADVISORY  WRITE 4711 fe:00:5243 0 EOF"),
        Some(4711)
    );
    let own = format!("7: POSIX  ADVISORY  WRITE {} fe:00:5243 120 120", std::process::id());
    for line in [
        "7: POSIX  ADVISORY  READ  4711 fe:00:5243 120 120",
        "7: POSIX  ADVISORY  WRITE 4711 fe:00:5243 121 121",
        "7: POSIX  ADVISORY  WRITE 4711 fe:00:5244 120 120",
        "7: -> POSIX  ADVISORY  WRITE 4711 fe:00:5243 120 120",
        &own,
        "",
    ] {
        assert_eq!(of(line), None, "{line}");
    }
    assert_eq!(holder("7: POSIX  ADVISORY  WRITE 4711 fe:00:5243 1 1", "fe:00:5243", None), Some(4711));
}

#[tokio::test]
async fn database_to_which_only_this_process_writes_has_no_other_writer() {
    let bench = crate::store::contract::open().await;
    let seen = writer(&bench.dir.join("holdpoint.db"));
    assert!(matches!(seen, Writer::Nobody | Writer::Unknown), "{seen:?}");
}
