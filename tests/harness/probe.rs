//! Waiting for a fact, with a deadline. Tests never sleep and hope; they ask until it is so.

use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

/// The pause between two questions, in milliseconds.
const PAUSE_MS: u64 = 10;

/// How long a part of the stack may take to come up or to notice a change before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `question` until it answers `Some`, at most for `within`. Fails with `what` was waited for.
pub async fn until<T, F>(what: &str, within: Duration, mut question: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain: {what}");
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
}
