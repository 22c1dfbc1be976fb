//! Step 8: the service's own requests as spans, for those that say to which trace they belong.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::spans::Span;
use crate::metrics::Metrics;

/// Spans that wait to be sent; further ones are dropped and counted.
const WAITING_MAX: usize = 4_096;

/// Spans of requests, on their way to the collector.
#[derive(Clone)]
pub struct RequestSpans {
    waiting: Arc<Mutex<VecDeque<Span>>>,
    metrics: Arc<Metrics>,
}

impl RequestSpans {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { waiting: Arc::default(), metrics }
    }

    /// Takes one, unless too many wait.
    pub fn push(&self, span: Span) {
        // A queue is whole after every step, so a panic elsewhere spoils nothing.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push_back(span);
        } else {
            self.metrics.exported("traces", "dropped", 1);
        }
    }

    /// Up to `spans_max` of them, the oldest first.
    pub(super) fn take(&self, spans_max: usize) -> Vec<Span> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let end = waiting.len().min(spans_max);
        waiting.drain(..end).collect()
    }
}
