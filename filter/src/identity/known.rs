//! Step 4: the principals that tokens named lately, by the claims themselves.
//!
//! Most callers come again with the token that they had, and to read its claims anew costs more than to compare them. Whom
//! they name depends on nothing else, so no answer depends on what is known here. Envoy writes the claims of one token in
//! another order every time: they are compared one by one, all of them in full.

use std::sync::Arc;

use holdpoint_core::identity::Principal;

use super::metadata::Structure;

/// Most callers that are known at once, on one worker.
const KNOWN_MAX: usize = 256;

/// Most claims by which somebody is known: as many as a word has bits.
const CLAIMS_MAX: usize = 64;

/// Longest claims by which somebody is known, in bytes: all of them together keep about 1 MiB.
const CLAIMS_BYTES_MAX: usize = 4 * 1024;

/// The callers known lately. Each has one place, which the next one of the same place takes.
#[derive(Default)]
pub struct Known {
    places: Vec<Option<Box<Named>>>,
}

struct Named {
    /// The claims as they came, name and value; no name twice.
    claims: Vec<Box<[u8]>>,
    principal: Arc<Principal>,
}

impl Known {
    /// Whom these claims name, if that was found out lately.
    pub(super) fn find(&self, token: Structure<'_>) -> Option<Arc<Principal>> {
        if self.places.is_empty() {
            return None;
        }
        let named = self.places.get(place(token)?)?.as_deref()?;
        let mut met = 0_u64;
        let mut count = 0_usize;
        for claim in token.entries() {
            let claim = claim.ok()?;
            let at = named.claims.iter().position(|known| **known == *claim)?;
            met |= 1_u64.checked_shl(u32::try_from(at).ok()?)?;
            count = count.checked_add(1)?;
        }
        // As many as are known, and each of those: they differ from one another, so none is here twice or missing.
        let is_all = count == named.claims.len() && usize::try_from(met.count_ones()) == Ok(count);
        is_all.then(|| Arc::clone(&named.principal))
    }

    /// Remembers whom they name. Of claims that hold a name twice the order counts, and those are not kept.
    #[inline(never)]
    pub(super) fn keep(&mut self, token: Structure<'_>, principal: &Arc<Principal>) {
        let (Some(place), Ok(names)) = (place(token), token.members().map(|one| Ok(one?.0)).collect::<Names<'_>>())
        else {
            return;
        };
        let is_repeated = |(index, name): (usize, &&str)| names.iter().take(index).any(|before| before == name);
        if names.len() > CLAIMS_MAX || names.iter().enumerate().any(is_repeated) {
            return;
        }
        let claims: Vec<Box<[u8]>> = token.entries().filter_map(Result::ok).map(Box::from).collect();
        if claims.iter().map(|claim| claim.len()).sum::<usize>() > CLAIMS_BYTES_MAX {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(KNOWN_MAX, || None);
        }
        if let Some(taken) = self.places.get_mut(place) {
            *taken = Some(Box::new(Named { claims, principal: Arc::clone(principal) }));
        }
    }
}

type Names<'a> = Result<Vec<&'a str>, super::metadata::MetadataError>;

/// Where somebody stands, in whatever order the claims come. Whoever makes others share a place makes them be read anew,
/// and nothing else.
fn place(token: Structure<'_>) -> Option<usize> {
    let mix = |sum: u64, word: u64| (sum.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut all = 0_u64;
    for claim in token.entries() {
        let (words, tail) = claim.ok()?.as_chunks::<8>();
        let sum = words.iter().fold(0, |sum, word| mix(sum, u64::from_le_bytes(*word)));
        all = all.wrapping_add(tail.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte))));
    }
    // The high bits are the well mixed ones.
    Some((all >> 32) as usize % KNOWN_MAX)
}

#[cfg(test)]
mod tests;
