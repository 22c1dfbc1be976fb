//! Step 8: what is sent again under one key is done once and answered alike, however often and after whatever crash.
//!
//! The answer is a row, written in the transaction of what it answers for: either both are there or neither is. Whoever
//! asks again, be it at the same time, finds it. Opening an approval and claiming need none of this: their `hold_id` is
//! such a key.

use holdpoint_core::digest::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::row::AnswerRow;
use crate::store::{Store, StoreError, Write};

/// How long an answer is given again: one day.
const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// One thing that is done once.
#[derive(Clone, Debug)]
pub struct Once {
    id: String,
    /// Digest of what is asked.
    asked: Digest,
}

/// Why nothing was done, or no earlier answer given.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    #[error("this `Idempotency-Key` was used for something else: use a new one")]
    OtherAsked,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Once {
    /// `id` names the key, whose it is and where it was sent; `asked` what was asked.
    pub fn new(id: String, asked: Digest) -> Self {
        Self { id, asked }
    }

    /// One part of something that is done in parts.
    pub fn part(&self, at: usize) -> Self {
        Self { id: format!("{}/{at}", self.id), asked: self.asked }
    }

    /// What was answered before.
    pub async fn earlier<T: DeserializeOwned>(&self, store: &dyn Store) -> Result<Option<T>, OnceError> {
        let Some(row) = store.answer(&self.id).await? else { return Ok(None) };
        if row.asked != self.asked {
            return Err(OnceError::OtherAsked);
        }
        let problem = |error: serde_json::Error| StoreError::Corrupt { what: "an answer", problem: error.to_string() };
        Ok(Some(serde_json::from_str(&row.answer).map_err(problem)?))
    }

    /// Keeps the answer, in the change that it answers for.
    pub fn keep<T: Serialize>(&self, answer: &T, at_ms: u64) -> Result<Write, StoreError> {
        let problem = |error: serde_json::Error| StoreError::Corrupt { what: "an answer", problem: error.to_string() };
        let answer = serde_json::to_string(answer).map_err(problem)?;
        let row = AnswerRow { id: self.id.clone(), asked: self.asked, answer, made_at_ms: at_ms };
        Ok(Write::KeepAnswer { row, forget_before_ms: at_ms.saturating_sub(KEPT_MS) })
    }
}

/// Does what `act` does, unless it was done before under this key: then the answer is the one of that time. Of two that ask
/// at once, one finds its commit refused, and with it the answer of the other.
pub async fn answer<T: DeserializeOwned, E: From<OnceError>>(
    once: Option<&Once>,
    store: &dyn Store,
    act: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(once) = once else { return act.await };
    if let Some(earlier) = once.earlier(store).await? {
        return Ok(earlier);
    }
    match act.await {
        Ok(done) => Ok(done),
        Err(error) => match once.earlier(store).await? {
            Some(earlier) => Ok(earlier),
            None => Err(error),
        },
    }
}
