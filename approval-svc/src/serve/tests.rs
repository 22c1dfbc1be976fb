//! What ends the service, and what it says then.

use super::*;
use crate::store::sql::machine_clock;
use crate::store::sqlite;

#[tokio::test]
async fn service_whose_writer_has_ended_is_not_ready_and_ends_with_a_reason() {
    let dir = crate::store::contract::scratch_dir();
    let store = sqlite::open(&dir.join("holdpoint.db"), machine_clock()).await.unwrap();
    store.writable().await.unwrap();
    store.stop_writing();
    let mut accepting = tokio::spawn(std::future::pending());
    let ended = until_told(&store, &mut accepting, std::future::pending()).await.unwrap_err().to_string();
    assert!(ended.starts_with("the task that writes to the database has ended"), "{ended}");
    assert!(store.writable().await.is_err(), "and whoever asks meanwhile hears that it is not ready");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn service_that_takes_no_connections_any_more_ends_with_a_reason() {
    let bench = crate::store::contract::open().await;
    let mut accepting = tokio::spawn(async { panic!("no more") });
    let ended = until_told(&*bench.store, &mut accepting, std::future::pending()).await.unwrap_err().to_string();
    assert_eq!(ended, "the task that takes connections panicked: no more: start the service again");
    let mut accepting = tokio::spawn(std::future::pending());
    until_told(&*bench.store, &mut accepting, async {}).await.unwrap();
}
