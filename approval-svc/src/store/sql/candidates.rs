//! Step 6, twice: what candidates would have decided otherwise, as workers last reported it.

use holdpoint_core::candidate::CandidateReport;

use super::column::{digest_from_text, from_json, int, to_json};
use super::db::{Connection, Pool, query};
use crate::candidates::Trial;
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

/// What is compared with what, the latest heard of first.
pub(super) async fn trials(readers: &Pool, rows_max: u32) -> Result<Vec<Trial>, StoreError> {
    let rows = query(
        "SELECT candidate_id, snapshot_id, plugin, MAX(seen_at_ms) AS seen_at_ms FROM candidate_reports \
         GROUP BY candidate_id, snapshot_id, plugin ORDER BY seen_at_ms DESC, candidate_id, snapshot_id, plugin LIMIT $1",
    );
    let rows = rows.bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Trial {
                candidate_id: digest_from_text(row.try_get("candidate_id")?, "a candidate")?,
                snapshot_id: digest_from_text(row.try_get("snapshot_id")?, "a policy")?,
                plugin: row.try_get("plugin")?,
            })
        })
        .collect()
}

/// What workers say of one of them, by worker, behind that one.
pub(super) async fn reports(
    readers: &Pool,
    trial: &Trial,
    after_source: &str,
    rows_max: u32,
) -> Result<Vec<CandidateReport>, StoreError> {
    let rows = query(
        "SELECT report FROM candidate_reports WHERE candidate_id = $1 AND snapshot_id = $2 AND plugin = $3 \
         AND source > $4 ORDER BY source LIMIT $5",
    );
    let rows = rows.bind(trial.candidate_id.to_string()).bind(trial.snapshot_id.to_string()).bind(&trial.plugin);
    let rows = rows.bind(after_source).bind(i64::from(rows_max)).fetch_all(readers).await?;
    rows.into_iter().map(|row| from_json(row.try_get("report")?, "a report")).collect()
}
