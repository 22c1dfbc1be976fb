//! Step 6, twice: what candidates would have decided otherwise, as workers last reported it.

use holdpoint_core::candidate::CandidateReport;

use super::column::{from_json, int, to_json};
use super::db::{Connection, Pool, query};
use crate::store::{CommitError, StoreError};

/// Keeps a report, unless one that counts more calls is there.
pub(super) async fn put(
    connection: &mut Connection,
    report: &CandidateReport,
    at_ms: u64,
    forget_before_ms: u64,
) -> Result<(), CommitError> {
    query("DELETE FROM candidate_reports WHERE seen_at_ms < $1")
        .bind(int(forget_before_ms))
        .execute(&mut *connection)
        .await?;
    let put = query(
        "INSERT INTO candidate_reports (source, plugin, snapshot_id, candidate_id, compared, report, seen_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (source, plugin, snapshot_id, candidate_id) \
         DO UPDATE SET compared = excluded.compared, report = excluded.report, seen_at_ms = excluded.seen_at_ms \
         WHERE excluded.compared >= candidate_reports.compared",
    );
    let put = put.bind(&report.source).bind(&report.plugin).bind(report.snapshot_id.to_string());
    let put = put.bind(report.candidate_id.to_string()).bind(int(report.compared)).bind(to_json(report, "a report")?);
    put.bind(int(at_ms)).execute(connection).await?;
    Ok(())
}

/// The latest of them.
pub(super) async fn latest(readers: &Pool, rows_max: u32) -> Result<Vec<CandidateReport>, StoreError> {
    let rows = query("SELECT report FROM candidate_reports ORDER BY seen_at_ms DESC, source LIMIT $1");
    let rows = rows.bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.into_iter().map(|row| from_json(row.try_get("report")?, "a report")).collect()
}
