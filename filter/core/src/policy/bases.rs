//! Step 6: names what took part in decisions. The same parts have the same name, so those given lately are remembered:
//! to make one costs more than to judge a call by a few rules.

use std::sync::Mutex;

use crate::digest::Digest;

const BASIS_TAG: &str = "holdpoint/basis/v1";

/// Most names that are remembered, the oldest forgotten first; each costs 32 bytes for itself and for each of its parts.
const KNOWN_MAX: usize = 64;

/// Most parts of a name that is remembered.
const PARTS_MAX: usize = 16;

/// The names given lately. Which ones it holds changes no answer.
#[derive(Debug, Default)]
pub(super) struct Bases {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    names: Vec<(Vec<Digest>, Digest)>,
    /// Where the next one goes once there is room for no more.
    next: usize,
}

impl Clone for Bases {
    /// A copy begins with nothing: it finds the same names by itself.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Bases {
    /// The name of these parts, in whatever order and however often each comes.
    pub(super) fn name(&self, mut parts: Vec<Digest>) -> Digest {
        parts.sort_unstable();
        parts.dedup();
        // Nobody waits here: who finds somebody else at it makes the name himself.
        let Ok(mut known) = self.known.try_lock() else { return made(&parts) };
        if let Some((_, name)) = known.names.iter().find(|(of, _)| *of == parts) {
            return *name;
        }
        let name = made(&parts);
        if parts.len() <= PARTS_MAX {
            known.keep(parts, name);
        }
        name
    }

    /// The part that stands for a word.
    pub(super) fn word(text: &str) -> Digest {
        Digest::tagged(BASIS_TAG, text.as_bytes())
    }
}

impl Known {
    fn keep(&mut self, parts: Vec<Digest>, name: Digest) {
        if self.names.len() < KNOWN_MAX {
            self.names.push((parts, name));
            return;
        }
        let at = self.next % KNOWN_MAX;
        self.next = at.wrapping_add(1);
        if let Some(oldest) = self.names.get_mut(at) {
            *oldest = (parts, name);
        }
    }
}

fn made(parts: &[Digest]) -> Digest {
    let bytes: Vec<u8> = parts.iter().flat_map(|digest| digest.as_bytes().iter().copied()).collect();
    Digest::tagged(BASIS_TAG, &bytes)
}

#[cfg(test)]
mod tests;
