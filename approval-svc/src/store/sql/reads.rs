//! Steps 8 to 12: every read, from the reader pool.

use std::collections::BTreeMap;

use holdpoint_core::approval::{APPROVAL_SCHEMA, ApprovalState, ApprovalStatus, RanBefore};
use holdpoint_core::audit::Outcome;
use holdpoint_core::digest::Digest;
use holdpoint_core::freeze::{FREEZE_SCHEMA, Freeze, FreezeList};

use super::append;
use super::column::{count, digest_from_blob, digest_from_text, from_json, int, nat, optional_json, word};
use super::db::{On, Pool, Row, query};
use crate::approvals::grant::Grant;
use crate::delegations::{Delegation, Person};
use crate::store::row::{
    AnswerRow, Approval, ApprovalFilter, CheckpointRow, ClaimRow, Claiming, Dossier, Due, DueCause, Hold, LogEntry,
    PolicyRow, Review, SignIn, Token, Visitor,
};
use crate::store::{Head, StoreError};

type Answer<T> = Result<T, StoreError>;

pub(super) async fn state(readers: &Pool, id: &str) -> Answer<Option<ApprovalState>> {
    let row = query(
        "SELECT id, status, version, call_digest, reason, decided_by, expires_at_ms, ran_before \
         FROM approvals WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(readers)
    .await?;
    row.map(|row| {
        Ok(ApprovalState {
            schema: APPROVAL_SCHEMA.to_owned(),
            id: row.try_get("id")?,
            status: word(row.try_get("status")?, "a status")?,
            version: nat(row.try_get("version")?),
            call_digest: digest_from_text(row.try_get("call_digest")?, "a call digest")?,
            reason: row.try_get("reason")?,
            decided_by: row.try_get("decided_by")?,
            expires_at_ms: nat(row.try_get("expires_at_ms")?),
            ran_before: optional_json(row.try_get("ran_before")?, "an earlier run")?,
            come_back: None,
        })
    })
    .transpose()
}

/// The reads of a dossier in one read transaction, so that no write falls between them.
pub(super) async fn dossier(readers: &Pool, id: &str) -> Answer<Option<Dossier>> {
    let mut snapshot = readers.snapshot().await?;
    let Some(approval) = approval(&mut snapshot, id).await? else { return Ok(None) };
    let reviews = reviews(&mut snapshot, id).await?;
    let holds_waiting = holds_waiting(&mut snapshot, id).await?;
    let outcome = last_outcome(&mut snapshot, id).await?;
    Ok(Some(Dossier { approval, reviews, holds_waiting, outcome }))
}

async fn last_outcome(readers: impl Into<On<'_>>, approval_id: &str) -> Answer<Option<Outcome>> {
    let row = query("SELECT outcome FROM claims WHERE approval_id = $1 ORDER BY claimed_at_ms DESC LIMIT 1")
        .bind(approval_id)
        .fetch_optional(readers)
        .await?;
    let Some(row) = row else { return Ok(None) };
    row.try_get::<Option<&str>, _>("outcome")?.map(|text| word(text, "an outcome")).transpose()
}

pub(super) async fn approval(readers: impl Into<On<'_>>, id: &str) -> Answer<Option<Approval>> {
    let row = query("SELECT * FROM approvals WHERE id = $1").bind(id).fetch_optional(readers).await?;
    row.as_ref().map(approval_of).transpose()
}

pub(super) async fn open_approval(readers: &Pool, call_digest: Digest, basis: Digest) -> Answer<Option<Approval>> {
    let row =
        query("SELECT * FROM approvals WHERE call_digest = $1 AND basis = $2 AND status IN ('pending', 'approved')")
            .bind(call_digest.to_string())
            .bind(basis.to_string())
            .fetch_optional(readers)
            .await?;
    row.as_ref().map(approval_of).transpose()
}

pub(super) async fn approvals(readers: &Pool, filter: ApprovalFilter) -> Answer<Vec<Approval>> {
    let rows = query(
        "SELECT * FROM approvals WHERE ($1 IS NULL OR status = $1) AND ($2 IS NULL OR server = $2) \
         AND ($3 IS NULL OR id < $3) AND ($5 IS NULL OR tenant = $5) ORDER BY id DESC LIMIT $4",
    )
    .bind(filter.status.map(ApprovalStatus::as_str))
    .bind(filter.server)
    .bind(filter.before_id)
    .bind(i64::from(filter.rows_max))
    .bind(filter.tenant)
    .fetch_all(readers)
    .await?;
    rows.iter().map(approval_of).collect()
}

pub(super) fn approval_of(row: &Row) -> Answer<Approval> {
    Ok(Approval {
        id: row.try_get("id")?,
        status: word(row.try_get("status")?, "a status")?,
        version: nat(row.try_get("version")?),
        asked: from_json(row.try_get("asked")?, "an approval")?,
        opened_at_ms: nat(row.try_get("opened_at_ms")?),
        expires_at_ms: nat(row.try_get("expires_at_ms")?),
        rejoin_by_ms: row.try_get::<Option<i64>, _>("rejoin_by_ms")?.map(nat),
        uses_left: count(row.try_get("uses_left")?),
        reason: row.try_get("reason")?,
        decided_by: row.try_get("decided_by")?,
        decided_at_ms: row.try_get::<Option<i64>, _>("decided_at_ms")?.map(nat),
        ran_before: optional_json(row.try_get("ran_before")?, "an earlier run")?,
        escalates_at_ms: row.try_get::<Option<i64>, _>("escalates_at_ms")?.map(nat),
        erased_at_ms: row.try_get::<Option<i64>, _>("erased_at_ms")?.map(nat),
    })
}

/// What is due at `$1`, at most `$2` rows. It is asked all the time, so each part has an index in which it finds nothing else.
/// The clock of a status goes before the rejoin clock when both have run out.
pub(in crate::store) const DUE: &str = "SELECT id, status, version, 'clock' AS cause FROM approvals \
     WHERE status IN ('pending', 'approved') AND expires_at_ms <= $1 \
     UNION ALL SELECT id, status, version, 'rejoin' FROM approvals \
     WHERE status = 'pending' AND rejoin_by_ms IS NOT NULL AND rejoin_by_ms <= $1 AND expires_at_ms > $1 \
     UNION ALL SELECT id, status, version, 'escalation' FROM approvals \
     WHERE status = 'pending' AND escalates_at_ms IS NOT NULL AND escalated_at_ms IS NULL \
     AND escalates_at_ms <= $1 AND expires_at_ms > $1 LIMIT $2";

pub(super) async fn due(readers: &Pool, now_ms: u64, rows_max: u32) -> Answer<Vec<Due>> {
    let rows = query(DUE).bind(int(now_ms)).bind(i64::from(rows_max)).fetch_all(readers).await?;
    let due_of = |row: &Row| {
        let cause: &str = row.try_get("cause")?;
        Ok(Due {
            id: row.try_get("id")?,
            status: word(row.try_get("status")?, "a status")?,
            version: nat(row.try_get("version")?),
            cause: match cause {
                "rejoin" => DueCause::Rejoin,
                "escalation" => DueCause::Escalation,
                _ => DueCause::Clock,
            },
        })
    };
    rows.iter().map(due_of).collect()
}

pub(super) async fn reviews(readers: impl Into<On<'_>>, approval_id: &str) -> Answer<Vec<Review>> {
    let rows = query("SELECT * FROM reviews WHERE approval_id = $1 ORDER BY at_ms, issuer, subject")
        .bind(approval_id)
        .fetch_all(readers)
        .await?;
    let review_of = |row: &Row| {
        Ok(Review {
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            groups: from_json(row.try_get("groups")?, "groups")?,
            verdict: word(row.try_get("verdict")?, "a verdict")?,
            reason: row.try_get("reason")?,
            at_ms: nat(row.try_get("at_ms")?),
            on_behalf_of: row.try_get("on_behalf_of")?,
            break_glass: row.try_get("break_glass")?,
            scope: optional_json(row.try_get("scope")?, "a scope")?,
        })
    };
    rows.iter().map(review_of).collect()
}

pub(super) async fn with_old_arguments(readers: &Pool, ended_before_ms: u64, rows_max: u32) -> Answer<Vec<String>> {
    let rows = query(
        "SELECT id FROM approvals WHERE erased_at_ms IS NULL AND status NOT IN ('pending', 'approved') \
         AND decided_at_ms <= $1 LIMIT $2",
    )
    .bind(int(ended_before_ms))
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

pub(super) async fn grants(readers: &Pool, now_ms: u64, of: Option<(&str, &str)>) -> Answer<Vec<Grant>> {
    let rows = query(
        "SELECT body, uses_left FROM grants WHERE revoked_at_ms IS NULL AND expires_at_ms > $1 AND uses_left > 0 \
         AND ($2 IS NULL OR issuer = $2) AND ($3 IS NULL OR subject = $3) ORDER BY id",
    )
    .bind(int(now_ms))
    .bind(of.map(|(issuer, _)| issuer))
    .bind(of.map(|(_, subject)| subject))
    .fetch_all(readers)
    .await?;
    let grant_of = |row: &Row| {
        let grant: Grant = from_json(row.try_get("body")?, "a grant")?;
        Ok(Grant { uses_left: count(row.try_get("uses_left")?), ..grant })
    };
    rows.iter().map(grant_of).collect()
}

pub(super) async fn delegations(readers: &Pool, now_ms: u64) -> Answer<Vec<Delegation>> {
    let rows = query("SELECT * FROM delegations WHERE ended_at_ms IS NULL AND until_ms > $1 ORDER BY id")
        .bind(int(now_ms))
        .fetch_all(readers)
        .await?;
    let delegation_of = |row: &Row| {
        Ok(Delegation {
            id: row.try_get("id")?,
            from: Person { issuer: row.try_get("from_issuer")?, subject: row.try_get("from_subject")? },
            to: Person { issuer: row.try_get("to_issuer")?, subject: row.try_get("to_subject")? },
            groups: from_json(row.try_get("groups")?, "groups")?,
            tenant: row.try_get("tenant")?,
            reason: row.try_get("reason")?,
            until_ms: nat(row.try_get("until_ms")?),
        })
    };
    rows.iter().map(delegation_of).collect()
}

pub(super) async fn hold(readers: &Pool, hold_id: &str) -> Answer<Option<Hold>> {
    let row = query("SELECT hold_id, approval_id, ended_at_ms FROM holds WHERE hold_id = $1")
        .bind(hold_id)
        .fetch_optional(readers)
        .await?;
    row.map(hold_of).transpose()
}

fn hold_of(row: Row) -> Answer<Hold> {
    Ok(Hold {
        hold_id: row.try_get("hold_id")?,
        approval_id: row.try_get("approval_id")?,
        ended_at_ms: row.try_get::<Option<i64>, _>("ended_at_ms")?.map(nat),
    })
}

pub(super) async fn holds_cancelled_by(readers: &Pool, cancel_key: Digest, rows_max: u32) -> Answer<Vec<Hold>> {
    let rows = query(
        "SELECT hold_id, approval_id, ended_at_ms FROM holds WHERE cancel_key = $1 AND ended_at_ms IS NULL \
         AND hold_id NOT IN (SELECT hold_id FROM claims) LIMIT $2",
    )
    .bind(cancel_key.to_string())
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    rows.into_iter().map(hold_of).collect()
}

pub(super) async fn holds_unheard(readers: &Pool, now_ms: u64, rows_max: u32) -> Answer<Vec<Hold>> {
    let rows = query(
        "SELECT hold_id, approval_id, ended_at_ms FROM holds WHERE ends_by_ms <= $1 AND ended_at_ms IS NULL \
         AND hold_id NOT IN (SELECT hold_id FROM claims) ORDER BY ends_by_ms LIMIT $2",
    )
    .bind(int(now_ms))
    .bind(i64::from(rows_max))
    .fetch_all(readers)
    .await?;
    rows.into_iter().map(hold_of).collect()
}

pub(super) async fn holds_waiting(readers: impl Into<On<'_>>, approval_id: &str) -> Answer<u64> {
    let row = query(
        "SELECT count(*) FROM holds WHERE approval_id = $1 AND ended_at_ms IS NULL \
         AND hold_id NOT IN (SELECT hold_id FROM claims WHERE approval_id = $1)",
    )
    .bind(approval_id)
    .fetch_one(readers)
    .await?;
    Ok(nat(row.try_get(0)?))
}

pub(super) async fn claim(readers: &Pool, hold_id: &str) -> Answer<Option<ClaimRow>> {
    let row = query("SELECT * FROM claims WHERE hold_id = $1").bind(hold_id).fetch_optional(readers).await?;
    row.map(|row| claim_of(&row, row.try_get("hold_id")?, row.try_get("approval_id")?)).transpose()
}

pub(super) async fn claiming(
    readers: &Pool,
    id: &str,
    hold_id: &str,
    plugin: Option<(&str, &str)>,
) -> Answer<Option<Claiming>> {
    let mut connection = readers.lend().await?;
    let row = query(
        "SELECT approvals.*, holds.hold_id AS its_hold, holds.approval_id AS waits_for, holds.ended_at_ms AS hold_ended, \
         claims.approval_id AS claimed, claims.nonce, claims.claim, claims.signature, claims.claimed_at_ms, claims.outcome, \
         policies_in_force.sequence AS policy_sequence, policies_in_force.snapshot_id AS policy_in_force, \
         (SELECT version FROM freeze_head WHERE id = 1) AS freeze_version FROM approvals \
         LEFT JOIN holds ON holds.hold_id = $2 LEFT JOIN claims ON claims.hold_id = $2 \
         LEFT JOIN policies_in_force ON policies_in_force.instance = $3 AND policies_in_force.plugin = $4 \
         WHERE approvals.id = $1",
    )
    .bind(id)
    .bind(hold_id)
    .bind(plugin.map(|(instance, _)| instance))
    .bind(plugin.map(|(_, plugin)| plugin))
    .fetch_optional(&mut connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let hold = row.try_get::<Option<String>, _>("its_hold")?.map(|hold_id| {
        let ended_at_ms = row.try_get::<Option<i64>, _>("hold_ended")?.map(nat);
        Ok::<_, StoreError>(Hold { hold_id, approval_id: row.try_get("waits_for")?, ended_at_ms })
    });
    let claim = row.try_get::<Option<String>, _>("claimed")?.map(|claimed| claim_of(&row, hold_id.to_owned(), claimed));
    let in_force = row.try_get::<Option<i64>, _>("policy_sequence")?.map(|sequence| {
        let snapshot = digest_from_text(row.try_get("policy_in_force")?, "a snapshot id")?;
        Ok::<_, StoreError>((nat(sequence), snapshot))
    });
    Ok(Some(Claiming {
        approval: approval_of(&row)?,
        reviews: reviews(&mut connection, id).await?,
        hold: hold.transpose()?,
        claim: claim.transpose()?,
        in_force: in_force.transpose()?,
        freeze_version: nat(row.try_get("freeze_version")?),
    }))
}

fn claim_of(row: &Row, hold_id: String, approval_id: String) -> Answer<ClaimRow> {
    Ok(ClaimRow {
        hold_id,
        approval_id,
        nonce: row.try_get("nonce")?,
        claim: row.try_get("claim")?,
        signature: row.try_get("signature")?,
        claimed_at_ms: nat(row.try_get("claimed_at_ms")?),
        outcome: row.try_get::<Option<&str>, _>("outcome")?.map(|text| word(text, "an outcome")).transpose()?,
    })
}

pub(super) async fn last_run(readers: &Pool, call_digest: Digest) -> Answer<Option<RanBefore>> {
    let row = query(
        "SELECT claims.approval_id, claims.claimed_at_ms, claims.outcome FROM approvals \
         JOIN claims ON claims.approval_id = approvals.id \
         WHERE approvals.call_digest = $1 AND coalesce(claims.outcome, 'unknown') <> 'refused' \
         ORDER BY claims.claimed_at_ms DESC, claims.approval_id DESC LIMIT 1",
    )
    .bind(call_digest.to_string())
    .fetch_optional(readers)
    .await?;
    row.map(|row| {
        let outcome: Option<&str> = row.try_get("outcome")?;
        Ok(RanBefore {
            approval_id: row.try_get("approval_id")?,
            at_ms: nat(row.try_get("claimed_at_ms")?),
            outcome: outcome.map_or(Ok(Outcome::Unknown), |text| word(text, "an outcome"))?,
        })
    })
    .transpose()
}

pub(super) async fn policy(readers: &Pool, snapshot_id: Digest) -> Answer<Option<PolicyRow>> {
    let row = query("SELECT canonical, registered_at_ms FROM policies WHERE snapshot_id = $1")
        .bind(snapshot_id.to_string())
        .fetch_optional(readers)
        .await?;
    row.map(|row| {
        Ok(PolicyRow {
            snapshot_id,
            canonical: row.try_get("canonical")?,
            registered_at_ms: nat(row.try_get("registered_at_ms")?),
        })
    })
    .transpose()
}

pub(super) async fn token(readers: &Pool, hash: Digest) -> Answer<Option<Token>> {
    let row = query("SELECT * FROM tokens WHERE hash = $1").bind(&hash.as_bytes()[..]).fetch_optional(readers).await?;
    row.as_ref().map(token_of).transpose()
}

pub(super) async fn tokens(readers: &Pool) -> Answer<Vec<Token>> {
    let rows = query("SELECT * FROM tokens ORDER BY created_at_ms, id").fetch_all(readers).await?;
    rows.iter().map(token_of).collect()
}

pub(super) async fn tokens_revoked(readers: &Pool) -> Answer<u64> {
    let row = query("SELECT count(*) FROM tokens WHERE revoked_at_ms IS NOT NULL").fetch_one(readers).await?;
    Ok(nat(row.try_get(0)?))
}

pub(super) async fn answer(readers: &Pool, id: &str) -> Answer<Option<AnswerRow>> {
    let row = query("SELECT * FROM answers WHERE id = $1").bind(id).fetch_optional(readers).await?;
    row.map(|row| {
        Ok(AnswerRow {
            id: row.try_get("id")?,
            asked: digest_from_text(row.try_get("asked")?, "what was asked")?,
            answer: row.try_get("answer")?,
            made_at_ms: nat(row.try_get("made_at_ms")?),
        })
    })
    .transpose()
}

fn token_of(row: &Row) -> Answer<Token> {
    Ok(Token {
        id: row.try_get("id")?,
        hash: digest_from_blob(row.try_get("hash")?, "a token hash")?,
        role: word(row.try_get("role")?, "a role")?,
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        groups: from_json(row.try_get("groups")?, "groups")?,
        tenant: row.try_get("tenant")?,
        created_at_ms: nat(row.try_get("created_at_ms")?),
        expires_at_ms: row.try_get::<Option<i64>, _>("expires_at_ms")?.map(nat),
        revoked_at_ms: row.try_get::<Option<i64>, _>("revoked_at_ms")?.map(nat),
    })
}

pub(super) async fn sign_in_code(readers: &Pool, hash: Digest) -> Answer<Option<SignIn>> {
    let row =
        query("SELECT * FROM sign_in_codes WHERE hash = $1").bind(&hash.as_bytes()[..]).fetch_optional(readers).await?;
    row.as_ref().map(sign_in_of).transpose()
}

pub(super) async fn session(readers: &Pool, hash: Digest) -> Answer<Option<SignIn>> {
    let row =
        query("SELECT * FROM sessions WHERE hash = $1").bind(&hash.as_bytes()[..]).fetch_optional(readers).await?;
    row.as_ref().map(sign_in_of).transpose()
}

fn sign_in_of(row: &Row) -> Answer<SignIn> {
    Ok(SignIn {
        hash: digest_from_blob(row.try_get("hash")?, "the hash of a sign-in")?,
        visitor: Visitor {
            role: word(row.try_get("role")?, "a role")?,
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            groups: from_json(row.try_get("groups")?, "groups")?,
            tenant: row.try_get("tenant")?,
        },
        expires_at_ms: nat(row.try_get("expires_at_ms")?),
    })
}

/// Which database it is, in which version.
pub(super) async fn database(readers: &Pool) -> Answer<String> {
    Ok(query(readers.dialect().version()).fetch_one(readers).await?.try_get(0)?)
}

pub(super) async fn lease(readers: &Pool, name: &str) -> Answer<Option<(String, u64)>> {
    let row = query("SELECT holder, until_ms FROM leases WHERE name = $1").bind(name).fetch_optional(readers).await?;
    row.map(|row| Ok((row.try_get("holder")?, nat(row.try_get("until_ms")?)))).transpose()
}

pub(super) async fn versions(readers: &Pool, ids: &[String]) -> Answer<Vec<(String, u64)>> {
    let Some((first, others)) = ids.split_first() else { return Ok(Vec::new()) };
    let mut select = query("SELECT id, version FROM approvals WHERE id IN (");
    select.push_bind(first);
    for id in others {
        select.push(", ").push_bind(id);
    }
    select.push(")");
    let rows = select.fetch_all(readers).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, nat(row.try_get("version")?)))).collect()
}

/// The time by the database's own clock.
pub(super) async fn now_ms(readers: &Pool) -> Answer<u64> {
    // Only a server has one.
    let row = query("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)").fetch_one(readers).await?;
    Ok(nat(row.try_get(0)?))
}

/// Version and rows as of one moment.
pub(super) async fn freezes(readers: &Pool) -> Answer<FreezeList> {
    let mut snapshot = readers.snapshot().await?;
    let version = freeze_version(&mut snapshot).await?;
    let rows = query("SELECT * FROM freezes WHERE lifted_at_ms IS NULL ORDER BY since_ms, id")
        .fetch_all(&mut snapshot)
        .await?;
    let freeze_of = |row: &Row| {
        Ok(Freeze {
            id: row.try_get("id")?,
            scope: from_json(row.try_get("scope")?, "the scope of a freeze")?,
            reason: row.try_get("reason")?,
            by: row.try_get("by")?,
            since_ms: nat(row.try_get("since_ms")?),
        })
    };
    let freezes: Answer<Vec<Freeze>> = rows.iter().map(freeze_of).collect();
    Ok(FreezeList { schema: FREEZE_SCHEMA.to_owned(), version, freezes: freezes? })
}

pub(super) async fn freeze_version(readers: impl Into<On<'_>>) -> Answer<u64> {
    let row = query("SELECT version FROM freeze_head WHERE id = 1").fetch_one(readers).await?;
    Ok(nat(row.try_get(0)?))
}

pub(super) async fn head(readers: &Pool) -> Answer<Head> {
    append::read_head(readers).await
}

pub(super) async fn entries(readers: &Pool, from: u64, rows_max: u32) -> Answer<Vec<LogEntry>> {
    let rows = query("SELECT seq, body, leaf_hash FROM audit_entries WHERE seq >= $1 ORDER BY seq LIMIT $2")
        .bind(int(from))
        .bind(i64::from(rows_max))
        .fetch_all(readers)
        .await?;
    let entry_of = |row: &Row| {
        Ok(LogEntry {
            seq: nat(row.try_get("seq")?),
            body: row.try_get("body")?,
            leaf_hash: digest_from_blob(row.try_get("leaf_hash")?, "a leaf hash")?,
        })
    };
    rows.iter().map(entry_of).collect()
}

pub(super) async fn hashes(readers: &Pool, level: u32, from: u64, rows_max: u32) -> Answer<Vec<Digest>> {
    let statement = match level {
        0 => query("SELECT leaf_hash FROM audit_entries WHERE seq >= $1 ORDER BY seq LIMIT $2"),
        _ => query("SELECT hash FROM audit_subtrees WHERE idx >= $1 AND level = $3 ORDER BY idx LIMIT $2"),
    };
    let statement = statement.bind(int(from)).bind(i64::from(rows_max));
    let rows = if level == 0 { statement } else { statement.bind(i64::from(level)) }.fetch_all(readers).await?;
    rows.iter().map(|row| digest_from_blob(row.try_get(0)?, "a hash of the log")).collect()
}

pub(super) async fn source_counter(readers: &Pool, source: &str) -> Answer<Option<u64>> {
    let row =
        query("SELECT next_counter FROM audit_sources WHERE source = $1").bind(source).fetch_optional(readers).await?;
    row.map(|row| Ok(nat(row.try_get(0)?))).transpose()
}

pub(super) async fn checkpoint(readers: &Pool) -> Answer<Option<CheckpointRow>> {
    let row = query("SELECT * FROM checkpoints ORDER BY size DESC LIMIT 1").fetch_optional(readers).await?;
    row.as_ref().map(checkpoint_of).transpose()
}

pub(super) async fn checkpoints(readers: &Pool, size: u64, rows_max: u32) -> Answer<Vec<CheckpointRow>> {
    let rows = query("SELECT * FROM checkpoints WHERE size > $1 ORDER BY size LIMIT $2")
        .bind(int(size))
        .bind(i64::from(rows_max))
        .fetch_all(readers)
        .await?;
    rows.iter().map(checkpoint_of).collect()
}

fn checkpoint_of(row: &Row) -> Answer<CheckpointRow> {
    Ok(CheckpointRow {
        size: nat(row.try_get("size")?),
        note: row.try_get("note")?,
        signed_at_ms: nat(row.try_get("signed_at_ms")?),
    })
}

pub(super) async fn status_counts(readers: &Pool) -> Answer<BTreeMap<ApprovalStatus, u64>> {
    let rows = query("SELECT status, count(*) FROM approvals GROUP BY status").fetch_all(readers).await?;
    rows.iter().map(|row| Ok((word(row.try_get(0)?, "a status")?, nat(row.try_get(1)?)))).collect()
}

pub(super) async fn holds_waiting_total(readers: &Pool) -> Answer<u64> {
    let row = query(
        "SELECT count(*) FROM holds JOIN approvals ON approvals.id = holds.approval_id \
         WHERE holds.ended_at_ms IS NULL AND approvals.status IN ('pending', 'approved')",
    )
    .fetch_one(readers)
    .await?;
    Ok(nat(row.try_get(0)?))
}
