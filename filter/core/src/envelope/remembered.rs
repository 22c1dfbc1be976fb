//! Step 5: the facts of calls sealed lately, and with them what was decided where nothing else entered into it.
//!
//! Most calls repeat one: the same caller, the same tool of the same server, other arguments. Of such a call everything
//! but its arguments is known. Only those are remembered whose facts follow from what is compared here, all of it in full;
//! nothing is answered that would not be found anew.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Annotations, Call, CallCredential, Reading};
use crate::decision::{Constraints, Decision};
use crate::digest::Digest;
use crate::identity::Principal;
use crate::json;
use crate::policy::Pin;

/// Most calls that are remembered at once.
const SEALED_MAX: usize = 256;

/// Longest name of a tool, in bytes, and most groups and scopes of a caller by which a call is remembered: all of them
/// together take a few megabytes at most.
const NAME_BYTES_MAX: usize = 128;
const NAMES_MAX: usize = 64;

/// What a seal finds out.
pub(crate) struct Facts {
    pub(super) server: String,
    /// The base first; never empty.
    pub(super) readings: Vec<Reading>,
    /// How many of them are base readings.
    pub(super) base: usize,
    /// What the catalogue said, part by part.
    pub(super) catalogue_parts: Vec<Digest>,
    pub(super) bound_headers: BTreeSet<String>,
    pub(super) credential: CallCredential,
    /// What the catalogue pins of the tool that is called.
    pub(super) pin: Option<Pin>,
    /// Whether they hold for every call of the same caller to the same tool, whatever its arguments.
    pub(super) is_lasting: bool,
    /// What is decided of every such call, once it is known that nothing of one call enters into it.
    pub(super) settled: OnceLock<Settled>,
}

/// What was decided, and under which constraints a call runs that is allowed.
#[derive(Clone)]
pub(crate) struct Settled {
    pub(crate) decision: Arc<Decision>,
    pub(crate) constraints: Arc<Constraints>,
}

/// The calls sealed lately under one snapshot. Each has one place, which the next one of the same place takes.
#[derive(Default)]
pub(crate) struct Remembered(Mutex<Vec<Option<Sealed>>>);

struct Sealed {
    principal: Arc<Principal>,
    tool: String,
    definition: Option<Digest>,
    annotations: Annotations,
    facts: Arc<Facts>,
}

impl Sealed {
    fn is_of(&self, server: &str, tool: &str, call: &Call) -> bool {
        (Arc::ptr_eq(&self.principal, &call.principal) || self.principal == call.principal)
            && self.tool == tool
            && self.facts.server == server
            && self.definition == call.definition
            && self.annotations == call.annotations
    }
}

impl Remembered {
    /// The facts of this call to a tool of `server`, if they were found out lately.
    pub(super) fn find(&self, server: &str, tool: &str, call: &Call) -> Option<Arc<Facts>> {
        // Nobody waits here: who finds somebody else at it finds the facts anew.
        let places = self.0.try_lock().ok()?;
        let sealed = places.get(place(tool, call))?.as_ref()?;
        sealed.is_of(server, tool, call).then(|| Arc::clone(&sealed.facts))
    }

    /// Remembers lasting facts of a call.
    #[inline(never)]
    pub(super) fn keep(&self, tool: &str, call: &Call, facts: &Arc<Facts>) {
        let names = call.principal.groups.len().saturating_add(call.principal.scopes.len());
        if !facts.is_lasting || tool.len() > NAME_BYTES_MAX || names > NAMES_MAX {
            return;
        }
        let Ok(mut places) = self.0.try_lock() else { return };
        if places.is_empty() {
            places.resize_with(SEALED_MAX, || None);
        }
        if let Some(taken) = places.get_mut(place(tool, call)) {
            *taken = Some(Sealed {
                principal: Arc::clone(&call.principal),
                tool: tool.to_owned(),
                definition: call.definition,
                annotations: call.annotations,
                facts: Arc::clone(facts),
            });
        }
    }
}

impl Clone for Remembered {
    /// A copy begins with nothing: it finds the same facts by itself.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

/// Where a call stands. Whoever makes others share a place makes them be sealed anew, and nothing else.
fn place(tool: &str, call: &Call) -> usize {
    let both =
        json::fingerprint(tool.as_bytes()).rotate_left(17) ^ json::fingerprint(call.principal.subject.as_bytes());
    // The high bits are the well mixed ones.
    (both >> 32) as usize % SEALED_MAX
}

#[cfg(test)]
mod tests;
