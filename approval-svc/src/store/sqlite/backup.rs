//! Step 12: copies a database while it is in use, whole and as of one moment.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::StoreError;

/// What a copy holds.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// Entries of the record.
    pub entries: u64,
    pub bytes: u64,
}

/// Copies the database `from` to `into`, which must not exist; readable by its owner alone, and on the disk when this
/// returns. Reads only: whoever writes to `from` meanwhile is not kept waiting, and its schema stays as it is. What came
/// to be there of a copy that failed is removed.
pub async fn copy(from: &Path, into: &Path) -> Result<Copied, StoreError> {
    let at = |error: std::io::Error| StoreError::Database(format!("`{}`: {error}", into.display()));
    // Made first, because SQLite would make it as everybody may read it; it writes into an empty file as well.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(into).map_err(at)?;
    let copied = write(from, into).await;
    if copied.is_err() {
        // The error says why there is no copy; that its rest stayed behind would say less.
        let _ = std::fs::remove_file(into);
    }
    copied
}

async fn write(from: &Path, into: &Path) -> Result<Copied, StoreError> {
    let at = |error: std::io::Error| StoreError::Database(format!("`{}`: {error}", into.display()));
    let Some(name) = into.to_str() else {
        return Err(StoreError::Database(format!("`{}` is no name in UTF-8", into.display())));
    };
    let mut source = read_only(from).await?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source).await?;
    source.close().await?;
    File::open(into).and_then(|file| file.sync_all()).map_err(at)?;
    if let Some(folder) = into.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(at)?;
    }
    let mut copy = read_only(into).await?;
    let damage: String = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut copy).await?.try_get(0)?;
    if damage != "ok" {
        return Err(StoreError::Corrupt { what: "a damaged page", problem: damage });
    }
    let entries: i64 = sqlx::query("SELECT count(*) FROM audit_entries").fetch_one(&mut copy).await?.try_get(0)?;
    copy.close().await?;
    let bytes = std::fs::metadata(into).map_err(at)?.len();
    Ok(Copied { entries: u64::try_from(entries).unwrap_or(0), bytes })
}

async fn read_only(file: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true).disable_statement_logging();
    Ok(options.connect().await?)
}
