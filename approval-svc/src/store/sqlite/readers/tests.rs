//! Nobody waits for ever for a connection, and one that is lost is replaced.

use super::*;
use crate::store::StoreError;
use crate::store::contract::scratch_dir;
use crate::store::sql::db::heard;

async fn readers(lanes: usize, wait_max: Duration) -> (std::path::PathBuf, Readers) {
    let dir = scratch_dir();
    let options = SqliteConnectOptions::new().filename(dir.join("some.db")).create_if_missing(true);
    let settings = ReadersSettings { lanes, snapshots_max: 1, searches_max: 1, wait_max };
    (dir, Readers::open(&options, settings).await.unwrap())
}

/// Sets or asks something that only this connection knows.
async fn cache_size(lent: &mut Lent, set: Option<i64>) -> i64 {
    if let Some(pages) = set {
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA cache_size = {pages}"))).execute(&mut **lent).await.unwrap();
    }
    sqlx::query_scalar("PRAGMA cache_size").fetch_one(&mut **lent).await.unwrap()
}

#[tokio::test]
async fn whoever_waits_too_long_for_a_connection_is_told_so_and_the_next_one_gets_it() {
    let (dir, readers) = readers(1, Duration::from_millis(50)).await;
    let lent = readers.lend().await.unwrap();
    assert!(matches!(readers.lend().await.err().map(StoreError::from), Some(StoreError::Busy)));
    let snapshot = readers.snapshot().await.unwrap();
    assert!(matches!(readers.snapshot().await.err().map(StoreError::from), Some(StoreError::Busy)));
    drop(readers.search().await.unwrap());
    drop((lent, snapshot));
    assert!(readers.lend().await.is_ok() && readers.snapshot().await.is_ok());
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn connection_that_is_lost_is_made_anew_and_any_other_error_leaves_it() {
    let (dir, readers) = readers(1, Duration::from_secs(20)).await;
    let own = 1_234;
    let mut lent = readers.lend().await.unwrap();
    assert_eq!(cache_size(&mut lent, Some(own)).await, own);
    assert!(heard(&mut lent, Err::<(), _>(sqlx::Error::RowNotFound)).is_err());
    drop(lent);
    let mut lent = readers.lend().await.unwrap();
    assert_eq!(cache_size(&mut lent, None).await, own, "the same one");
    assert!(heard(&mut lent, Err::<(), _>(sqlx::Error::WorkerCrashed)).is_err());
    drop(lent);
    let mut lent = readers.lend().await.unwrap();
    assert_ne!(cache_size(&mut lent, None).await, own, "another one");
    assert!(readers.lanes.iter().all(|lane| !lane.is_lost.load(Ordering::Relaxed)), "once");
    drop(lent);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn lane_without_a_connection_is_tried_again_when_the_file_is_back() {
    let (dir, readers) = readers(1, Duration::from_secs(20)).await;
    readers.lend().await.unwrap().lose();
    std::fs::rename(&dir, dir.with_extension("away")).unwrap();
    assert!(readers.lend().await.is_err());
    assert!(readers.lend().await.is_err());
    std::fs::rename(dir.with_extension("away"), &dir).unwrap();
    assert!(readers.lend().await.is_ok());
    std::fs::remove_dir_all(dir).unwrap();
}
