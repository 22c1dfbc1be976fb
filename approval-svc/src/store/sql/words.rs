//! Step 8: keeps the words by which approvals are found, and forgets those of arguments that are erased.

use super::db::{Connection, portions, query};
use crate::store::row::Approval;
use crate::store::words::{self, Field};
use crate::store::{ApprovalMove, CommitError};

/// Rows of one statement.
const ROWS_AT_ONCE_MAX: usize = 16;

/// Those of an approval that is opened.
pub(super) async fn keep(connection: &mut Connection, approval: &Approval) -> Result<(), CommitError> {
    let id = &approval.id;
    add(connection, id, Field::Asked, &approval.asked.call_text).await?;
    add(connection, id, Field::Named, &words::named(approval)).await?;
    add(connection, id, Field::Who, &words::who(approval)).await
}

/// Those of a decision.
pub(super) async fn keep_decided(connection: &mut Connection, to: &ApprovalMove) -> Result<(), CommitError> {
    add(connection, &to.id, Field::Named, to.reason.as_deref().unwrap_or_default()).await?;
    add(connection, &to.id, Field::Who, to.decided_by.as_deref().unwrap_or_default()).await
}

/// Those of the arguments go with them.
pub(super) async fn forget_asked(connection: &mut Connection, id: &str) -> Result<(), CommitError> {
    let forget = query("DELETE FROM approval_words WHERE approval_id = $1 AND field = $2");
    forget.bind(id).bind(Field::Asked.as_str()).execute(connection).await?;
    Ok(())
}

async fn add(connection: &mut Connection, id: &str, field: Field, text: &str) -> Result<(), CommitError> {
    let words = words::kept(text);
    if words.is_empty() {
        return Ok(());
    }
    let count = words.len();
    let mut rest = words.into_iter();
    for portion in portions(count, ROWS_AT_ONCE_MAX) {
        let mut add = query("INSERT INTO approval_words (field, word, approval_id) VALUES ");
        for (at, word) in rest.by_ref().take(portion).enumerate() {
            add.push(if at == 0 { "(" } else { ", (" }).push_bind(field.as_str());
            add.push(", ").push_bind(word).push(", ").push_bind(id).push(")");
        }
        add.push(" ON CONFLICT DO NOTHING");
        add.execute(&mut *connection).await?;
    }
    Ok(())
}
