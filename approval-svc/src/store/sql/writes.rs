//! Steps 8 to 12: each write as its statements. A condition that does not hold is a row that was not touched.

use holdpoint_core::approval::{ApprovalStatus, OpenApproval, WithdrawCause};

use super::column::{from_json, indexed, int, nat, to_json};
use super::db::{Connection, Statement, query};
use super::{candidates, fleet, in_force, inventory, marks, notices, payloads, words};
use crate::approvals::grant::Grant;
use crate::store::row::{Approval, ClaimRow, SignIn};
use crate::store::{ApprovalMove, CommitError, Conflict, Write};

/// Performs one write, or says which of its conditions does not hold.
pub(super) async fn write(connection: &mut Connection, write: &Write) -> Result<(), CommitError> {
    match write {
        Write::OpenApproval { approval, pending_max } => open_approval(connection, approval, *pending_max).await,
        Write::JoinApproval { id } => {
            let join =
                query("UPDATE approvals SET rejoin_by_ms = NULL WHERE id = $1 AND status IN ('pending', 'approved')");
            touch(connection, join.bind(id), Conflict::Moved).await
        }
        Write::BindHold(binding) => {
            let bind = query(
                "INSERT INTO holds (hold_id, approval_id, gateway, joined_at_ms, cancel_key, ends_by_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (hold_id) DO UPDATE \
                 SET approval_id = excluded.approval_id, ends_by_ms = excluded.ends_by_ms \
                 WHERE holds.ended_at_ms IS NULL",
            );
            let bind = bind.bind(&binding.hold_id).bind(&binding.approval_id).bind(&binding.gateway);
            let bind = bind.bind(int(binding.at_ms)).bind(binding.cancel_key.map(|key| key.to_string()));
            touch(connection, bind.bind(binding.ends_by_ms.map(int)), Conflict::HoldEnded).await
        }
        Write::EndHold { hold_id, cause, at_ms, claimed } => {
            end_hold(connection, hold_id, *cause, *at_ms, *claimed).await
        }
        Write::AwaitRejoin { id, rejoin_by_ms } => {
            query(
                "UPDATE approvals SET rejoin_by_ms = $2 WHERE id = $1 AND status = 'pending' \
                 AND NOT EXISTS (SELECT 1 FROM holds WHERE approval_id = $1 AND ended_at_ms IS NULL)",
            )
            .bind(id)
            .bind(int(*rejoin_by_ms))
            .execute(connection)
            .await?;
            Ok(())
        }
        Write::MoveApproval(to) => move_approval(connection, to).await,
        Write::AddReview { approval_id, review } => {
            let add = query(
                "INSERT INTO reviews \
                 (approval_id, issuer, subject, groups, verdict, reason, at_ms, on_behalf_of, break_glass, scope) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            );
            let groups = to_json(&review.groups, "groups")?;
            let add = add.bind(approval_id).bind(&review.issuer).bind(&review.subject).bind(groups);
            let add = add.bind(review.verdict.as_str()).bind(&review.reason).bind(int(review.at_ms));
            let scope = review.scope.as_ref().map(|scope| to_json(scope, "a scope")).transpose()?;
            let add = add.bind(&review.on_behalf_of).bind(review.break_glass).bind(scope);
            touch(connection, add, Conflict::Reviewed).await
        }
        Write::AddClaim(claim) => add_claim(connection, claim).await,
        Write::SetOutcome { hold_id, outcome } => {
            query("UPDATE claims SET outcome = $2 WHERE hold_id = $1 AND outcome IS NULL")
                .bind(hold_id)
                .bind(outcome.as_str())
                .execute(connection)
                .await?;
            Ok(())
        }
        Write::AddPolicy(policy) => {
            let add = query(
                "INSERT INTO policies (snapshot_id, canonical, registered_at_ms) VALUES ($1, $2, $3) \
                 ON CONFLICT DO NOTHING",
            );
            let add = add.bind(policy.snapshot_id.to_string()).bind(&policy.canonical);
            touch(connection, add.bind(int(policy.registered_at_ms)), Conflict::Exists).await
        }
        Write::ErasePayloads(erasure) => Ok(payloads::erase(connection, erasure).await?),
        Write::PutCandidateReport { report, at_ms, forget_before_ms } => {
            candidates::put(connection, report, *at_ms, *forget_before_ms).await
        }
        Write::PutInForce { row, forget_before_ms } => in_force::put(connection, row, *forget_before_ms).await,
        Write::AddToken(token) => {
            let add = query(
                "INSERT INTO tokens (id, hash, role, issuer, subject, groups, created_at_ms, tenant, expires_at_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING",
            );
            let groups = to_json(&token.groups, "groups")?;
            let add = add.bind(&token.id).bind(&token.hash.as_bytes()[..]).bind(token.role.as_str());
            let add = add.bind(&token.issuer).bind(&token.subject).bind(groups).bind(int(token.created_at_ms));
            let add = add.bind(&token.tenant).bind(token.expires_at_ms.map(int));
            touch(connection, add, Conflict::Exists).await
        }
        Write::RevokeToken { id, at_ms } => {
            let revoke = query("UPDATE tokens SET revoked_at_ms = $2 WHERE id = $1 AND revoked_at_ms IS NULL");
            touch(connection, revoke.bind(id).bind(int(*at_ms)), Conflict::Missing).await?;
            // Whoever holds the token may have signed a browser in by it, or for it: that person's browsers end with it.
            for end in [
                "DELETE FROM sessions WHERE (issuer, subject) IN (SELECT issuer, subject FROM tokens WHERE id = $1)",
                "DELETE FROM sign_in_codes WHERE (issuer, subject) IN (SELECT issuer, subject FROM tokens WHERE id = $1)",
            ] {
                query(end).bind(id).execute(&mut *connection).await?;
            }
            Ok(())
        }
        Write::AddSignInCode { code, at_ms } => {
            query("DELETE FROM sign_in_codes WHERE expires_at_ms <= $1")
                .bind(int(*at_ms))
                .execute(&mut *connection)
                .await?;
            let add = query(
                "INSERT INTO sign_in_codes (hash, issuer, subject, groups, expires_at_ms, tenant, role) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            );
            touch(connection, bind_sign_in(add, code)?, Conflict::Exists).await
        }
        Write::TakeSignInCode { hash, at_ms } => {
            let take = query("DELETE FROM sign_in_codes WHERE hash = $1 AND expires_at_ms > $2");
            touch(connection, take.bind(&hash.as_bytes()[..]).bind(int(*at_ms)), Conflict::Missing).await
        }
        Write::AddSession { session, at_ms } => {
            query("DELETE FROM sessions WHERE expires_at_ms <= $1").bind(int(*at_ms)).execute(&mut *connection).await?;
            let add = query(
                "INSERT INTO sessions (hash, issuer, subject, groups, expires_at_ms, tenant, role) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            );
            touch(connection, bind_sign_in(add, session)?, Conflict::Exists).await
        }
        Write::EndSession { hash } => {
            let end = query("DELETE FROM sessions WHERE hash = $1");
            touch(connection, end.bind(&hash.as_bytes()[..]), Conflict::Missing).await
        }
        Write::Escalate { id, version, at_ms } => {
            let escalate = query(
                "UPDATE approvals SET escalated_at_ms = $3, version = version + 1 \
                 WHERE id = $1 AND version = $2 AND status = 'pending' AND escalated_at_ms IS NULL",
            );
            touch(connection, escalate.bind(id).bind(int(*version)).bind(int(*at_ms)), Conflict::Moved).await
        }
        Write::EraseArguments { ids, at_ms } => {
            for id in ids {
                erase_arguments(connection, id, *at_ms).await?;
            }
            Ok(())
        }
        Write::AddGrant(grant) => {
            let add = query(
                "INSERT INTO grants (id, approval_id, call_digest, basis, issuer, subject, tenant, body, uses_left, \
                 expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            );
            let add = add.bind(&grant.id).bind(&grant.approval_id).bind(grant.call_digest.to_string());
            let add = add.bind(grant.basis.to_string()).bind(&grant.issuer).bind(&grant.subject).bind(&grant.tenant);
            let add = add.bind(to_json(grant, "a grant")?).bind(i64::from(grant.uses_left));
            touch(connection, add.bind(int(grant.expires_at_ms)), Conflict::Exists).await
        }
        Write::UseGrant { id, at_ms } => {
            let take = query(
                "UPDATE grants SET uses_left = uses_left - 1 \
                 WHERE id = $1 AND uses_left > 0 AND expires_at_ms > $2 AND revoked_at_ms IS NULL",
            );
            touch(connection, take.bind(id).bind(int(*at_ms)), Conflict::Missing).await
        }
        Write::RevokeGrant { id, at_ms, if_uses_left } => {
            let revoke = query(
                "UPDATE grants SET revoked_at_ms = $2 WHERE id = $1 AND revoked_at_ms IS NULL \
                 AND uses_left = coalesce($3, uses_left)",
            );
            let revoke = revoke.bind(id).bind(int(*at_ms)).bind(if_uses_left.map(i64::from));
            touch(connection, revoke, Conflict::Missing).await
        }
        Write::AddDelegation { delegation, at_ms } => {
            let add = query(
                "INSERT INTO delegations (id, from_issuer, from_subject, to_issuer, to_subject, groups, reason, \
                 until_ms, created_at_ms, tenant) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            );
            let add = add.bind(&delegation.id).bind(&delegation.from.issuer).bind(&delegation.from.subject);
            let add = add.bind(&delegation.to.issuer).bind(&delegation.to.subject);
            let add = add.bind(to_json(&delegation.groups, "groups")?).bind(&delegation.reason);
            let add = add.bind(int(delegation.until_ms)).bind(int(*at_ms)).bind(&delegation.tenant);
            touch(connection, add, Conflict::Exists).await
        }
        Write::EndDelegation { id, at_ms } => {
            let end = query("UPDATE delegations SET ended_at_ms = $2 WHERE id = $1 AND ended_at_ms IS NULL");
            touch(connection, end.bind(id).bind(int(*at_ms)), Conflict::Missing).await
        }
        Write::AddFreeze { freeze, at_ms, in_force_max } => {
            let add = query(
                "INSERT INTO freezes (id, scope, reason, by, since_ms) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT DO NOTHING",
            );
            let scope = to_json(&freeze.scope, "the scope of a freeze")?;
            let add = add.bind(&freeze.id).bind(scope).bind(&freeze.reason).bind(&freeze.by);
            touch(connection, add.bind(int(freeze.since_ms)), Conflict::Exists).await?;
            // Counted where nobody else can add: however many are added at once, no more than these are in force.
            let in_force = query("SELECT count(*) FROM freezes WHERE lifted_at_ms IS NULL");
            let in_force = nat(in_force.fetch_one(&mut *connection).await?.try_get(0)?);
            if in_force > u64::try_from(*in_force_max).unwrap_or(u64::MAX) {
                return Err(Conflict::TooManyFreezes.into());
            }
            next_freeze_version(connection, *at_ms).await
        }
        Write::LiftFreeze { id, at_ms, if_version } => {
            if let Some(version) = if_version {
                let same = query("UPDATE freeze_head SET version = version WHERE id = 1 AND version = $1");
                touch(connection, same.bind(int(*version)), Conflict::Moved).await?;
            }
            let lift = query("UPDATE freezes SET lifted_at_ms = $2 WHERE id = $1 AND lifted_at_ms IS NULL");
            touch(connection, lift.bind(id).bind(int(*at_ms)), Conflict::Missing).await?;
            next_freeze_version(connection, *at_ms).await
        }
        Write::RenewFreezes { at_ms } => next_freeze_version(connection, *at_ms).await,
        Write::AddNotice(_)
        | Write::TryNotice(_)
        | Write::RetryNotice { .. }
        | Write::DropNoticesBut { .. }
        | Write::ForgetNotices { .. } => notices::write(connection, write).await,
        Write::AdvanceSource { source, from, to } => {
            let advance = query(
                "INSERT INTO audit_sources (source, next_counter) VALUES ($1, $3) \
                 ON CONFLICT (source) DO UPDATE SET next_counter = $3 \
                 WHERE audit_sources.next_counter = $2",
            );
            touch(connection, advance.bind(source).bind(int(*from)).bind(int(*to)), Conflict::Counter).await
        }
        Write::TakeFleetLeases { take, at_ms } => fleet::take(connection, take, *at_ms).await,
        Write::RenewFleetLeases { holder, renew, at_ms } => fleet::renew(connection, holder, renew, *at_ms).await,
        Write::EndFleetLeases { holder, ran } => fleet::end(connection, holder, *ran).await,
        Write::Inventory(write) => inventory::write(connection, write).await,
        Write::KeepAnswer { row, forget_before_ms } => {
            query("DELETE FROM answers WHERE made_at_ms < $1")
                .bind(int(*forget_before_ms))
                .execute(&mut *connection)
                .await?;
            let keep = query(
                "INSERT INTO answers (id, asked, answer, made_at_ms) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            );
            let keep = keep.bind(&row.id).bind(row.asked.to_string()).bind(&row.answer).bind(int(row.made_at_ms));
            touch(connection, keep, Conflict::Answered).await
        }
        Write::Follow { name, from, to } => marks::follow(connection, name, *from, *to).await,
        Write::AddMarks(rows) => marks::add(connection, rows).await,
        Write::TakeLease { name, holder, at_ms, until_ms } => {
            let take = query(
                "INSERT INTO leases (name, holder, until_ms) VALUES ($1, $2, $4) ON CONFLICT (name) \
                 DO UPDATE SET holder = $2, until_ms = $4 WHERE leases.holder = $2 OR leases.until_ms <= $3",
            );
            let take = take.bind(name).bind(holder).bind(int(*at_ms)).bind(int(*until_ms));
            touch(connection, take, Conflict::Taken).await
        }
        Write::AddCheckpoint(checkpoint) => {
            query("INSERT INTO checkpoints (size, note, signed_at_ms) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(int(checkpoint.size))
                .bind(&checkpoint.note)
                .bind(int(checkpoint.signed_at_ms))
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

/// Takes the arguments out of an approval that has ended, and out of the grants that it gave.
async fn erase_arguments(connection: &mut Connection, id: &str, at_ms: u64) -> Result<(), CommitError> {
    let ended = query(
        "SELECT asked FROM approvals WHERE id = $1 AND erased_at_ms IS NULL AND status NOT IN ('pending', 'approved')",
    );
    if let Some(row) = ended.bind(id).fetch_optional(&mut *connection).await? {
        let asked: OpenApproval = from_json(row.try_get("asked")?, "an approval")?;
        let asked = to_json(&OpenApproval { call_text: String::new(), ..asked }, "an approval")?;
        let erase = query("UPDATE approvals SET asked = $2, erased_at_ms = $3 WHERE id = $1");
        erase.bind(id).bind(asked).bind(int(at_ms)).execute(&mut *connection).await?;
        words::forget_asked(connection, id).await?;
    }
    // A grant that outlives its arguments goes on only for identical calls.
    for row in query("SELECT id, body FROM grants WHERE approval_id = $1").bind(id).fetch_all(&mut *connection).await? {
        let grant: Grant = from_json(row.try_get("body")?, "a grant")?;
        let body = to_json(&Grant { call_text: String::new(), ..grant }, "a grant")?;
        let erase = query("UPDATE grants SET body = $2 WHERE id = $1");
        erase.bind(row.try_get::<&str, _>("id")?).bind(body).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Versions are times, so that a database restored from an older copy still outruns what filters have seen.
async fn next_freeze_version(connection: &mut Connection, at_ms: u64) -> Result<(), CommitError> {
    let next =
        query("UPDATE freeze_head SET version = CASE WHEN version >= $1 THEN version + 1 ELSE $1 END WHERE id = 1");
    touch(connection, next.bind(int(at_ms)), Conflict::Missing).await
}

fn bind_sign_in(statement: Statement, row: &SignIn) -> Result<Statement, CommitError> {
    let visitor = &row.visitor;
    let statement = statement.bind(&row.hash.as_bytes()[..]).bind(&visitor.issuer).bind(&visitor.subject);
    Ok(statement
        .bind(to_json(&visitor.groups, "groups")?)
        .bind(int(row.expires_at_ms))
        .bind(&visitor.tenant)
        .bind(visitor.role.as_str()))
}

/// Runs a statement that must touch a row, or else `conflict` it is.
pub(super) async fn touch(
    connection: &mut Connection,
    statement: Statement,
    conflict: Conflict,
) -> Result<(), CommitError> {
    if statement.execute(connection).await? == 0 {
        return Err(conflict.into());
    }
    Ok(())
}

async fn open_approval(connection: &mut Connection, approval: &Approval, pending_max: u64) -> Result<(), CommitError> {
    let asked = &approval.asked;
    let pending = query("SELECT count(*) FROM approvals WHERE issuer = $1 AND subject = $2 AND status = 'pending'")
        .bind(&asked.principal.issuer)
        .bind(&asked.principal.subject)
        .fetch_one(&mut *connection)
        .await?;
    let insert = query(
        "INSERT INTO approvals (id, status, version, call_digest, basis, snapshot_id, issuer, subject, server, asked, \
         opened_at_ms, expires_at_ms, uses_left, ran_before, tenant, escalates_at_ms, decided_by, \
         decided_at_ms, method, target) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
         $15, $16, $17, $18, $19, $20) \
         ON CONFLICT (call_digest, basis) WHERE status IN ('pending', 'approved') DO NOTHING",
    );
    let insert = insert.bind(&approval.id).bind(approval.status.as_str()).bind(int(approval.version));
    let insert = insert.bind(asked.call_digest.to_string()).bind(asked.basis.to_string());
    let insert = insert.bind(asked.snapshot_id.to_string());
    let insert = insert.bind(&asked.principal.issuer).bind(&asked.principal.subject).bind(&asked.server);
    let insert = insert.bind(to_json(asked, "an approval")?).bind(int(approval.opened_at_ms));
    let insert = insert.bind(int(approval.expires_at_ms)).bind(i64::from(approval.uses_left));
    let ran_before = approval.ran_before.as_ref().map(|ran| to_json(ran, "an earlier run")).transpose()?;
    let insert = insert.bind(ran_before).bind(&asked.principal.tenant).bind(approval.escalates_at_ms.map(int));
    let insert = insert.bind(&approval.decided_by).bind(approval.decided_at_ms.map(int));
    let insert = insert.bind(&asked.method).bind(asked.target.as_deref().map(indexed));
    touch(connection, insert, Conflict::Open).await?;
    words::keep(connection, approval).await?;
    // Counted before and judged after: whoever may join needs no room of its own.
    if approval.status == ApprovalStatus::Pending && nat(pending.try_get(0)?) >= pending_max {
        return Err(Conflict::TooManyPending.into());
    }
    Ok(())
}

async fn end_hold(
    connection: &mut Connection,
    hold_id: &str,
    cause: WithdrawCause,
    at_ms: u64,
    claimed: bool,
) -> Result<(), CommitError> {
    let claims =
        query("SELECT count(*) FROM claims WHERE hold_id = $1").bind(hold_id).fetch_one(&mut *connection).await?;
    if (claims.try_get::<i64, _>(0)? > 0) != claimed {
        return Err(Conflict::Claimed.into());
    }
    // A hold that nobody knows is remembered as ended: its request to open may still be on the way.
    let end = query(
        "INSERT INTO holds (hold_id, joined_at_ms, ended_at_ms, ended_cause) VALUES ($1, $2, $2, $3) \
         ON CONFLICT (hold_id) DO UPDATE SET ended_at_ms = $2, ended_cause = $3 \
         WHERE holds.ended_at_ms IS NULL",
    );
    touch(connection, end.bind(hold_id).bind(int(at_ms)).bind(cause_word(cause)), Conflict::HoldEnded).await
}

fn cause_word(cause: WithdrawCause) -> &'static str {
    match cause {
        WithdrawCause::ClientGone => "client_gone",
        WithdrawCause::AnsweredPending => "answered_pending",
        WithdrawCause::Refused => "refused",
        WithdrawCause::Cancelled => "cancelled",
        WithdrawCause::Unheard => "unheard",
    }
}

async fn move_approval(connection: &mut Connection, to: &ApprovalMove) -> Result<(), CommitError> {
    if to.from != to.to && !to.from.may_become(to.to) {
        return Err(Conflict::Moved.into());
    }
    let update = query(
        "UPDATE approvals SET status = $4, version = version + 1, expires_at_ms = coalesce($5, expires_at_ms), \
         reason = coalesce($6, reason), decided_by = coalesce($7, decided_by), \
         decided_at_ms = CASE WHEN $4 = status THEN decided_at_ms ELSE $8 END, \
         uses_left = CASE WHEN $4 = 'consumed' THEN uses_left - 1 ELSE uses_left END \
         WHERE id = $1 AND status = $2 AND version = $3 AND ($4 <> 'consumed' OR uses_left > 0) \
         AND ($9 IS NULL OR rejoin_by_ms <= $9)",
    );
    let update = update.bind(&to.id).bind(to.from.as_str()).bind(int(to.version)).bind(to.to.as_str());
    let update = update.bind(to.expires_at_ms.map(int)).bind(&to.reason).bind(&to.decided_by).bind(int(to.at_ms));
    touch(connection, update.bind(to.if_rejoin_due_at_ms.map(int)), Conflict::Moved).await?;
    words::keep_decided(connection, to).await
}

async fn add_claim(connection: &mut Connection, claim: &ClaimRow) -> Result<(), CommitError> {
    // From here on the call's own end is waited for, and not that of its hold.
    let live =
        query("UPDATE holds SET ends_by_ms = NULL WHERE hold_id = $1 AND approval_id = $2 AND ended_at_ms IS NULL");
    touch(connection, live.bind(&claim.hold_id).bind(&claim.approval_id), Conflict::HoldEnded).await?;
    let add = query(
        "INSERT INTO claims (hold_id, approval_id, nonce, claim, signature, claimed_at_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    );
    let add = add.bind(&claim.hold_id).bind(&claim.approval_id).bind(&claim.nonce).bind(&claim.claim);
    touch(connection, add.bind(&claim.signature).bind(int(claim.claimed_at_ms)), Conflict::Claimed).await
}
