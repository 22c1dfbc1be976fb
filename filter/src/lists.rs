//! Step 11: lists that servers repeat, by their whole text, with what became of each for whoever saw it.
//!
//! A client lists at the beginning of every session, and its server says the same as the last time. To read that anew, to
//! digest it and to ask of each tool whether it may be shown costs many times what it costs to compare it. What is
//! remembered here follows from the text, the caller, the server and the policy, and all of them are compared in full:
//! nothing is answered that would not be found anew, and no server slips a change past what was remembered.

use std::ops::Range;
use std::sync::Arc;

use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;
use holdpoint_core::edits::Edits;
use holdpoint_core::identity::Principal;

#[cfg(test)]
mod tests;

/// Most bytes that one worker remembers of lists, with all that became of them. A list that is longer is read every time.
pub const LISTS_BYTES_MAX: usize = 768 * 1_024;

/// Most lists that are remembered at once.
pub const LISTS_MAX: usize = 64;

/// Most callers of whom it is remembered what they see of one list.
pub const VIEWS_MAX: usize = 64;

/// What stands around a result is short; a longer message is read every time.
const AROUND_BYTES_MAX: usize = 4 * 1_024;

/// About what one change to a text takes.
const EDIT_BYTES: usize = 24;
/// And a list or a view of one, beside their texts.
const HEAD_BYTES: usize = 128;

/// The lists of one worker, the least recently seen first.
#[derive(Default)]
pub struct Lists {
    known: Vec<Known>,
}

/// One result that lists. It asks its client for nothing and is no error.
struct Known {
    text: Box<[u8]>,
    /// How much stood before and behind it in its message, where it is looked for first.
    before: usize,
    behind: usize,
    content: Digest,
    kinds: Kinds,
    /// The least recently made first.
    views: Vec<View>,
    /// What all of it takes.
    bytes: usize,
}

/// Which lists a result has.
pub type Kinds = [Option<DefinitionKind>; DefinitionKind::ALL.len()];

/// What becomes of a list for one caller.
struct View {
    principal: Arc<Principal>,
    server: String,
    policy: Digest,
    shown: Shown,
}

/// What of a list its caller is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Changes to the result, counted from its beginning.
    pub edits: Edits,
    /// How many entries they take out.
    pub hidden: u32,
}

/// Who sees a list, of which server and under which policy: all that decides what of it is shown.
pub struct Onlooker<'a> {
    pub principal: &'a Arc<Principal>,
    pub server: &'a str,
    pub policy: Digest,
}

/// A list that is remembered, and where it stands in a message.
#[derive(Clone, Debug)]
pub struct Found {
    pub span: Range<usize>,
    /// SHA-256 of its text.
    pub content: Digest,
    pub kinds: Kinds,
}

impl Lists {
    /// The list that this message brings, if it is remembered. Its bytes stand where `span` says; whether the message can
    /// be read, and whether they are its result, is for the caller to see.
    pub fn find(&mut self, message: &[u8]) -> Option<Found> {
        let places = self.known.iter().enumerate().rev();
        let (at, span) =
            places.map(|(at, known)| (at, known.place_in(message))).find_map(|(at, span)| Some((at, span?)))?;
        let known = self.known.remove(at);
        let found = Found { span, content: known.content, kinds: known.kinds };
        self.known.push(known);
        Some(found)
    }

    /// What `onlooker` is shown of the list that was found last.
    pub fn shown(&self, onlooker: &Onlooker<'_>) -> Option<&Shown> {
        let views = &self.known.last()?.views;
        views.iter().find(|view| view.is_of(onlooker)).map(|view| &view.shown)
    }

    /// Remembers the result that stands at `found.span` of `message`, and what `onlooker` is shown of it.
    pub fn keep(&mut self, message: &[u8], found: &Found, onlooker: &Onlooker<'_>, shown: Shown) {
        let Some(text) = message.get(found.span.clone()).filter(|text| text.len() <= LISTS_BYTES_MAX) else { return };
        let view = View {
            principal: Arc::clone(onlooker.principal),
            server: onlooker.server.to_owned(),
            policy: onlooker.policy,
            shown,
        };
        let place = self.known.iter().position(|known| equal(&known.text, text));
        let mut known = match place {
            Some(at) => self.known.remove(at),
            None => Known {
                text: Box::from(text),
                before: found.span.start,
                behind: message.len().saturating_sub(found.span.end),
                content: found.content,
                kinds: found.kinds,
                views: Vec::new(),
                bytes: 0,
            },
        };
        known.add(view);
        if known.bytes <= LISTS_BYTES_MAX {
            self.make_room(known.bytes);
            self.known.push(known);
        }
    }

    /// Forgets the oldest until one more of so many bytes has room.
    fn make_room(&mut self, bytes: usize) {
        let mut all = self.known.iter().map(|known| known.bytes).sum::<usize>().saturating_add(bytes);
        let mut left = self.known.len();
        let oldest = self.known.iter().take_while(|known| {
            let is_forgotten = left >= LISTS_MAX || all > LISTS_BYTES_MAX;
            all = all.saturating_sub(known.bytes);
            left = left.saturating_sub(1);
            is_forgotten
        });
        let forgotten = oldest.count();
        self.known.drain(..forgotten);
    }

    /// Forgets all of them: what callers are shown follows from a policy that may not be in force any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Known {
    fn place_in(&self, message: &[u8]) -> Option<Range<usize>> {
        let around = message.len().checked_sub(self.text.len()).filter(|around| *around <= AROUND_BYTES_MAX)?;
        // Ids differ in length, so one of both ends is where it was.
        let starts = [around.checked_sub(self.behind), Some(self.before)];
        let mut spans = starts.into_iter().flatten().map(|start| start..start.saturating_add(self.text.len()));
        spans.find(|span| message.get(span.clone()).is_some_and(|text| equal(text, &self.text)))
    }

    fn add(&mut self, view: View) {
        self.views.retain(|other| !(other.is_of(&view.onlooker())));
        self.views.push(view);
        let own = self.text.len().saturating_add(HEAD_BYTES);
        self.bytes = self.views.iter().map(View::bytes).fold(own, usize::saturating_add);
        while self.views.len() > VIEWS_MAX || (self.views.len() > 1 && self.bytes > LISTS_BYTES_MAX) {
            self.bytes = self.bytes.saturating_sub(self.views.remove(0).bytes());
        }
    }
}

impl View {
    fn onlooker(&self) -> Onlooker<'_> {
        Onlooker { principal: &self.principal, server: &self.server, policy: self.policy }
    }

    fn is_of(&self, onlooker: &Onlooker<'_>) -> bool {
        (Arc::ptr_eq(&self.principal, onlooker.principal) || self.principal == *onlooker.principal)
            && self.server == onlooker.server
            && self.policy == onlooker.policy
    }

    fn bytes(&self) -> usize {
        let Principal { issuer, subject, agent_id, actor_type: _, tenant, groups, scopes } = &*self.principal;
        let one = [issuer, subject, &self.server].into_iter().chain(agent_id).chain(tenant);
        let words = one.chain(groups).chain(scopes).map(|word| word.len().saturating_add(EDIT_BYTES)).sum::<usize>();
        let edits = self.shown.edits.len().saturating_mul(EDIT_BYTES);
        words.saturating_add(edits).saturating_add(HEAD_BYTES)
    }
}

/// Whether both are the same, byte for byte; in blocks, for which a processor with vectors has one comparison.
fn equal(one: &[u8], two: &[u8]) -> bool {
    let ((blocks, rest), (others, other_rest)) = (one.as_chunks::<64>(), two.as_chunks::<64>());
    let differ = |(one, two): (&[u8; 64], &[u8; 64])| {
        let words = one.as_chunks::<8>().0.iter().zip(two.as_chunks::<8>().0);
        words.fold(0, |sum, (one, two)| sum | (u64::from_le_bytes(*one) ^ u64::from_le_bytes(*two))) != 0
    };
    one.len() == two.len() && rest == other_rest && !blocks.iter().zip(others).any(differ)
}
