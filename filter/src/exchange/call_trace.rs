//! Steps 5, 10 and 12: where a call stands in a trace, as its entries and the server are told.

use holdpoint_core::audit::AuditEntry;
use holdpoint_core::mcp::McpMessage;
use holdpoint_core::trace_parent::{HOLD_SPAN, TraceParent, UPSTREAM_SPAN, span_below};

use crate::enforce::HeaderEdit;
use crate::worker::Ids;

/// Names the trace and the span that a request belongs to (W3C Trace Context).
const HEADER: &str = "traceparent";

/// The client's trace, or one of its own where every call is recorded before it runs.
#[derive(Clone, Debug)]
pub(super) struct CallTrace {
    pub(super) trace_id: String,
    /// The client's span.
    parent_span_id: Option<String>,
    /// The filter's own of this call: above its wait for people, and above what the server does.
    pub(super) span_id: String,
    is_sampled: bool,
}

impl CallTrace {
    /// `params._meta.traceparent` says what the message belongs to; the header, what carried it (SEP-414).
    pub(super) fn of(message: &McpMessage, carried_by: Option<&TraceParent>, ids: &mut Ids) -> Option<Self> {
        let said = message.meta().and_then(|meta| meta.get("traceparent")?.as_str());
        let parent = said.as_deref().and_then(TraceParent::parse);
        let parent = parent.as_ref().or(carried_by)?;
        Some(Self {
            trace_id: parent.trace_id.clone(),
            parent_span_id: Some(parent.span_id.clone()),
            span_id: ids.next_span_id(),
            is_sampled: parent.is_sampled,
        })
    }

    /// A trace that begins here: the entries of a call are found by it.
    pub(super) fn new(ids: &mut Ids) -> Self {
        Self { trace_id: ids.next_id(), parent_span_id: None, span_id: ids.next_span_id(), is_sampled: true }
    }

    /// What the server is told.
    pub(super) fn edit(&self) -> HeaderEdit {
        HeaderEdit::Set(HEADER, self.below(UPSTREAM_SPAN))
    }

    /// What the approval service is told of a call that waits.
    pub(super) fn of_hold(&self) -> (&'static str, String) {
        (HEADER, self.below(HOLD_SPAN))
    }

    fn below(&self, part: &str) -> String {
        let span_id = span_below(&self.span_id, part);
        TraceParent { trace_id: self.trace_id.clone(), span_id, is_sampled: self.is_sampled }.to_string()
    }

    /// Says in an entry where its call stands.
    pub(super) fn note_in(&self, entry: &mut AuditEntry) {
        entry.trace_id = Some(self.trace_id.clone());
        entry.span_id = Some(self.span_id.clone());
        entry.parent_span_id.clone_from(&self.parent_span_id);
    }
}
