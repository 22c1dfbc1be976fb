//! Step 8: keeps the words by which approvals are found, and forgets those of arguments that are erased.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::store::row::Approval;
use crate::store::words::{self, Field};
use crate::store::{ApprovalMove, CommitError};

/// Those of an approval that is opened.
pub(super) async fn keep(connection: &mut SqliteConnection, approval: &Approval) -> Result<(), CommitError> {
    let id = &approval.id;
    add(connection, id, Field::Asked, &approval.asked.call_text).await?;
    add(connection, id, Field::Named, &words::named(approval)).await?;
    add(connection, id, Field::Who, &words::who(approval)).await
}

/// Those of a decision.
pub(super) async fn keep_decided(connection: &mut SqliteConnection, to: &ApprovalMove) -> Result<(), CommitError> {
    add(connection, &to.id, Field::Named, to.reason.as_deref().unwrap_or_default()).await?;
    add(connection, &to.id, Field::Who, to.decided_by.as_deref().unwrap_or_default()).await
}

/// Those of the arguments go with them.
pub(super) async fn forget_asked(connection: &mut SqliteConnection, id: &str) -> Result<(), CommitError> {
    let forget = sqlx::query("DELETE FROM approval_words WHERE approval_id = $1 AND field = $2");
    forget.bind(id).bind(Field::Asked.as_str()).execute(connection).await?;
    Ok(())
}

async fn add(connection: &mut SqliteConnection, id: &str, field: Field, text: &str) -> Result<(), CommitError> {
    let words = words::kept(text);
    if words.is_empty() {
        return Ok(());
    }
    let mut add = QueryBuilder::<Sqlite>::new("INSERT INTO approval_words (field, word, approval_id) ");
    add.push_values(words, |mut row, word| {
        row.push_bind(field.as_str()).push_bind(word).push_bind(id.to_owned());
    });
    add.push(" ON CONFLICT DO NOTHING");
    add.build().execute(connection).await?;
    Ok(())
}
