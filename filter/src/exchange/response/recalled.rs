//! Step 11: a list that its server repeats is not read again: what became of it the last time becomes of it now.

use holdpoint_core::edits::Edits;
use holdpoint_core::json::Value;
use holdpoint_core::mcp::answer::{Answer, INPUT_REQUESTS};

use super::governing::{Judged, changed};
use super::observed::Observed;
use crate::definitions;
use crate::exchange::Surroundings;
use crate::lists::{Found, Onlooker, Shown};

/// Stands in the place of a list that is known: an object in the place of an object.
const PLACEHOLDER: &[u8] = b"{}";

impl super::Governing {
    /// Judges a message that brings `found`, by what is remembered of that. Nothing where it has to be read: where the
    /// message does more than bring it, this caller was not yet shown it, or something of it is to be learned.
    #[inline(never)]
    pub(super) fn recall(
        &self,
        text: &[u8],
        found: &Found,
        observed: &mut Observed,
        around: &mut Surroundings<'_>,
    ) -> Option<Judged> {
        if !self.redaction.is_empty() || !self.knows_pages(found, around) {
            return None;
        }
        let shown = around.worker.lists.shown(&self.onlooker())?;
        let (hidden, edits) = (shown.hidden, shown.edits.moved(0, found.span.start)?);
        // The whole is JSON if this is, and then the list stands in it where the placeholder stands here.
        let (before, behind) = (text.get(..found.span.start)?, text.get(found.span.end..)?);
        let frame = Answer::read([before, PLACEHOLDER, behind].concat()).ok()?;
        let placeholder = before.len()..before.len().checked_add(PLACEHOLDER.len())?;
        brings(&frame).filter(|result| result.span() == placeholder)?;
        observed.note_message(&frame);
        observed.deliver(text);
        observed.note_changes(hidden, 0);
        let judged = changed(text, edits);
        match &judged {
            Judged::Passes => {}
            Judged::Changed(text) => observed.deliver(text),
            Judged::Dropped(_) | Judged::Refused(_) => observed.withhold(),
        }
        Some(judged)
    }

    /// Whether this caller was last answered the same, and nothing else was learned of the server since.
    fn knows_pages(&self, found: &Found, around: &mut Surroundings<'_>) -> bool {
        let version = definitions::version(around.shared, &self.server);
        let mut kinds = found.kinds.iter().flatten();
        kinds.all(|kind| around.desk.inventory.is_known(&self.page_key(*kind), found.content, version))
    }

    /// Remembers what becomes of an answer that came `again`, where it brings that list and does nothing else.
    #[inline(never)]
    pub(super) fn remember_list(
        &self,
        answer: &Answer,
        again: &Found,
        edits: &Edits,
        hidden: u32,
        around: &mut Surroundings<'_>,
    ) {
        if brings(answer).is_some_and(asks_nothing)
            && self.redaction.is_empty()
            && let Some(edits) = edits.moved(again.span.start, 0)
        {
            around.worker.lists.keep(answer.bytes(), again, &self.onlooker(), Shown { edits, hidden });
        }
    }

    fn onlooker(&self) -> Onlooker<'_> {
        Onlooker { principal: &self.principal, server: &self.server, policy: self.config.policy.id() }
    }
}

/// The result of an answer that is one message, and asks for nothing beside it.
fn brings(answer: &Answer) -> Option<Value<'_>> {
    let message = answer.sole()?;
    message.get("result").filter(|_| message.get("method").is_none())
}

/// Whether a result neither asks its client for anything nor says that the call failed.
fn asks_nothing(result: Value<'_>) -> bool {
    let is_error = result.get("isError").and_then(|flag| flag.as_bool()) == Some(true);
    result.get(INPUT_REQUESTS).is_none() && !is_error
}
