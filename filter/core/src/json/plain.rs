//! Step 3: where the plain part of a string ends: at the next quote, backslash or control character.

use window::{WINDOW_BYTES, plain_bytes};

/// A string of fewer is looked at by windows alone: nearly all are.
const SHORT_BYTES: usize = 64;
const BLOCK_BYTES: usize = 32;

/// The place of the first quote, backslash or control character from `at` on, or the end of the text.
#[inline(always)]
pub(super) fn end(text: &[u8], at: usize) -> usize {
    // Most strings are keys and words, and end within the first window.
    match window(text, at) {
        None => near_end(text, at),
        Some(window) => match plain_bytes(window) {
            WINDOW_BYTES => far_end(text, at.wrapping_add(WINDOW_BYTES)),
            plain => at.wrapping_add(plain),
        },
    }
}

/// The same behind the first window. Where a text goes on for long it is looked at in blocks, for which a processor with
/// vectors has one comparison.
#[inline(never)]
fn far_end(text: &[u8], mut at: usize) -> usize {
    let long = at.saturating_add(SHORT_BYTES);
    while let Some(window) = window(text, at) {
        let plain = plain_bytes(window);
        at = at.wrapping_add(plain);
        if plain < WINDOW_BYTES {
            return at;
        }
        if at == long {
            let (blocks, _) = text.get(at..).unwrap_or_default().as_chunks::<BLOCK_BYTES>();
            let has_end = |block: &[u8; BLOCK_BYTES]| block.iter().fold(false, |ends, byte| ends | is_end(*byte));
            let blocks = blocks.iter().take_while(|block| !has_end(block)).count();
            at = at.wrapping_add(blocks.wrapping_mul(BLOCK_BYTES));
        }
    }
    near_end(text, at)
}

/// The same so near to the end of the text that there is no whole window.
#[inline(never)]
fn near_end(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at.wrapping_add(rest.iter().take_while(|byte| !is_end(**byte)).count())
}

#[inline(always)]
fn window(text: &[u8], at: usize) -> Option<&[u8; WINDOW_BYTES]> {
    text.get(at..)?.first_chunk()
}

#[inline(always)]
fn is_end(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// In the module: sixteen bytes at once.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod window {
    use core::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_min, u8x16_splat, u8x16_sub_sat, u64x2, v128_xor};

    pub(super) const WINDOW_BYTES: usize = 16;

    /// How many bytes stand before the first end; all of them if there is none.
    #[inline(always)]
    pub(super) fn plain_bytes(window: &[u8; WINDOW_BYTES]) -> usize {
        let bytes = u128::from_le_bytes(*window);
        let bytes = u64x2(bytes as u64, (bytes >> 64) as u64);
        // Without its second bit a quote comes behind the control characters and before everything else.
        let others = u8x16_sub_sat(v128_xor(bytes, u8x16_splat(b'"' ^ b' ')), u8x16_splat(b' '));
        let ends = u8x16_bitmask(u8x16_eq(u8x16_min(others, v128_xor(bytes, u8x16_splat(b'\\'))), u8x16_splat(0)));
        (u32::from(ends) | 1 << WINDOW_BYTES).trailing_zeros() as usize
    }
}

/// Everywhere else: eight bytes at once, as the bytes of one number.
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod window {
    pub(super) const WINDOW_BYTES: usize = 8;

    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;

    /// How many bytes stand before the first end; all of them if there is none.
    #[inline(always)]
    pub(super) fn plain_bytes(window: &[u8; WINDOW_BYTES]) -> usize {
        let word = u64::from_le_bytes(*window);
        // A borrow can only mark a byte above one that is marked rightly, and only the lowest mark is used.
        let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
        let quotes = zeros(word ^ (ONES.wrapping_mul(b'"' as u64)));
        let backslashes = zeros(word ^ (ONES.wrapping_mul(b'\\' as u64)));
        let controls = word.wrapping_sub(ONES.wrapping_mul(0x20)) & !word;
        ((quotes | backslashes | controls) & HIGHS).trailing_zeros() as usize / 8
    }
}
