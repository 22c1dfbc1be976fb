//! Step 8: the rows of notices: written with what they tell of, and moved as their delivery goes on.

use std::collections::BTreeMap;

use super::column::{count, int, nat, word};
use super::db::{Connection, Pool, Row, query};
use super::writes::touch;
use crate::notify::notice::{Notice, NoticeFilter, NoticeState};
use crate::store::{CommitError, Conflict, StoreError, Write};

type Answer<T> = Result<T, StoreError>;

/// Performs one write about notices; there is none of another kind here.
pub(super) async fn write(connection: &mut Connection, write: &Write) -> Result<(), CommitError> {
    match write {
        Write::AddNotice(notice) => add(connection, notice).await,
        Write::TryNotice(done) => {
            let ended_at_ms = (done.to != NoticeState::Waiting).then(|| int(done.at_ms));
            let tried = query(
                "UPDATE notices SET state = $3, tries = tries + 1, next_try_ms = $4, ended_at_ms = $5, trouble = $6, \
                 receipt = $7 WHERE id = $1 AND tries = $2 AND state = 'waiting'",
            );
            let tried = tried.bind(&done.id).bind(i64::from(done.tries)).bind(done.to.as_str());
            let tried = tried.bind(int(done.next_try_ms)).bind(ended_at_ms).bind(&done.trouble);
            touch(connection, tried.bind(&done.receipt), Conflict::Missing).await
        }
        Write::RetryNotice { id, at_ms } => {
            let retry = query(
                "UPDATE notices SET state = 'waiting', tries = 0, next_try_ms = $2, ended_at_ms = NULL \
                 WHERE id = $1 AND state = 'dead'",
            );
            touch(connection, retry.bind(id).bind(int(*at_ms)), Conflict::Missing).await
        }
        Write::DropNoticesBut { channels, at_ms } => drop_but(connection, channels, *at_ms).await,
        Write::ForgetNotices { ended_before_ms } => {
            query("DELETE FROM notices WHERE state <> 'waiting' AND ended_at_ms < $1")
                .bind(int(*ended_before_ms))
                .execute(connection)
                .await?;
            Ok(())
        }
        _ => Err(StoreError::Corrupt { what: "a write", problem: "it is about no notice".to_owned() }.into()),
    }
}

/// Channels that are not named wait for nothing any more.
async fn drop_but(connection: &mut Connection, channels: &[String], at_ms: u64) -> Result<(), CommitError> {
    let waiting =
        query("SELECT DISTINCT channel FROM notices WHERE state = 'waiting'").fetch_all(&mut *connection).await?;
    for row in waiting {
        let channel: String = row.try_get("channel")?;
        if channels.contains(&channel) {
            continue;
        }
        let give_up = query(
            "UPDATE notices SET state = 'dead', ended_at_ms = $2, \
             trouble = 'the settings name no such channel any more' WHERE state = 'waiting' AND channel = $1",
        );
        give_up.bind(channel).bind(int(at_ms)).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn add(connection: &mut Connection, notice: &Notice) -> Result<(), CommitError> {
    let add = query(
        "INSERT INTO notices (id, channel, event, approval_id, tenant, body, created_at_ms, state, tries, next_try_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
    );
    let add = add.bind(&notice.id).bind(&notice.channel).bind(notice.event.as_str()).bind(&notice.approval_id);
    let add = add.bind(&notice.tenant).bind(&notice.body).bind(int(notice.created_at_ms));
    let add = add.bind(notice.state.as_str()).bind(i64::from(notice.tries)).bind(int(notice.next_try_ms));
    touch(connection, add, Conflict::Exists).await
}

pub(super) async fn due(readers: &Pool, channel: &str, now_ms: u64, rows_max: u32) -> Answer<Vec<Notice>> {
    let rows = query(
        "SELECT * FROM notices WHERE channel = $1 AND state = 'waiting' AND next_try_ms <= $2 AND NOT EXISTS \
         (SELECT 1 FROM notices AS earlier WHERE earlier.approval_id = notices.approval_id \
          AND earlier.channel = notices.channel AND earlier.state = 'waiting' AND earlier.id < notices.id) \
         ORDER BY id LIMIT $3",
    )
    .bind(channel)
    .bind(int(now_ms))
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    rows.iter().map(notice_of).collect()
}

pub(super) async fn list(readers: &Pool, filter: NoticeFilter) -> Answer<Vec<Notice>> {
    let rows = query(
        "SELECT * FROM notices WHERE ($1 IS NULL OR state = $1) AND ($2 IS NULL OR approval_id = $2) \
         AND ($3 IS NULL OR channel = $3) AND ($4 IS NULL OR tenant = $4) AND ($6 IS NULL OR id < $6) \
         ORDER BY id DESC LIMIT $5",
    )
    .bind(filter.state.map(NoticeState::as_str))
    .bind(filter.approval_id)
    .bind(filter.channel)
    .bind(filter.tenant)
    .bind(i64::from(filter.rows_max))
    .bind(filter.before_id)
    .fetch_all(readers)
    .await?;
    rows.iter().map(notice_of).collect()
}

pub(super) async fn one(readers: &Pool, id: &str) -> Answer<Option<Notice>> {
    let row = query("SELECT * FROM notices WHERE id = $1").bind(id).fetch_optional(readers).await?;
    row.as_ref().map(notice_of).transpose()
}

pub(super) async fn counts(readers: &Pool) -> Answer<BTreeMap<NoticeState, u64>> {
    let rows = query("SELECT state, count(*) AS n FROM notices GROUP BY state").fetch_all(readers).await?;
    rows.iter().map(|row| Ok((word(row.try_get("state")?, "a state")?, nat(row.try_get("n")?)))).collect()
}

pub(super) async fn untold(readers: &Pool, told_before_ms: u64, rows_max: u32) -> Answer<Vec<String>> {
    let rows = query(
        "SELECT id FROM approvals WHERE status = 'pending' AND NOT EXISTS \
         (SELECT 1 FROM notices WHERE notices.approval_id = approvals.id \
          AND (notices.state = 'delivered' OR (notices.state = 'waiting' AND notices.created_at_ms > $1))) \
         ORDER BY id LIMIT $2",
    )
    .bind(int(told_before_ms))
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
}

fn notice_of(row: &Row) -> Answer<Notice> {
    Ok(Notice {
        id: row.try_get("id")?,
        channel: row.try_get("channel")?,
        event: word(row.try_get("event")?, "an event")?,
        approval_id: row.try_get("approval_id")?,
        tenant: row.try_get("tenant")?,
        body: row.try_get("body")?,
        created_at_ms: nat(row.try_get("created_at_ms")?),
        state: word(row.try_get("state")?, "a state")?,
        tries: count(row.try_get("tries")?),
        next_try_ms: nat(row.try_get("next_try_ms")?),
        ended_at_ms: row.try_get::<Option<i64>, _>("ended_at_ms")?.map(nat),
        trouble: row.try_get("trouble")?,
        receipt: row.try_get("receipt")?,
    })
}
