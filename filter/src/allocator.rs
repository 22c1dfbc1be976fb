//! Serves every step with the VM's memory: a freed small block waits in a list of its size for whoever asks next.
//!
//! One small call allocates and frees some three hundred blocks, nearly all of them small. The allocator that comes with
//! the target searches and merges; that was a quarter of what judging cost. Small blocks stay small blocks, so a VM holds
//! the most that it ever needed of each size; it could give nothing back to Envoy anyway.
#![expect(unsafe_code, reason = "the trait of allocators is one of raw pointers")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;

#[cfg(test)]
mod tests;

/// Sizes are rounded up to a multiple of this.
const STEP: usize = 16;

/// Larger blocks are rare, and come from the system's allocator.
const SMALL_BYTES_MAX: usize = 1_024;

const SIZES: usize = SMALL_BYTES_MAX / STEP;

/// What the system's allocator aligns everything to on a 32-bit target.
const ALIGN: usize = 8;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: SizeLists = SizeLists::new();

/// The first free block of each size; each block holds the address of the next.
struct SizeLists {
    free: UnsafeCell<[*mut u8; SIZES]>,
}

#[cfg(target_arch = "wasm32")]
// SAFETY: a VM has one thread, and none of the methods below calls out while it looks at a list.
unsafe impl Sync for SizeLists {}

/// Which list blocks of this layout belong to, if any. Depends on nothing but the layout, so a block goes back to where it
/// came from.
fn list_of(layout: Layout) -> Option<usize> {
    let is_small = layout.size() <= SMALL_BYTES_MAX && layout.align() <= ALIGN;
    // Nobody asks for nothing (`GlobalAlloc` forbids it); if he did, he would get the smallest block.
    is_small.then(|| layout.size().saturating_sub(1) / STEP)
}

/// The layout of all blocks of a list.
fn block_of(list: usize) -> Option<Layout> {
    Layout::from_size_align(list.wrapping_add(1).wrapping_mul(STEP), ALIGN).ok()
}

impl SizeLists {
    const fn new() -> Self {
        Self { free: UnsafeCell::new([null_mut(); SIZES]) }
    }

    fn take(&self, list: usize) -> Option<*mut u8> {
        // SAFETY: no other reference to the lists is alive, see above.
        let first = unsafe { &mut *self.free.get() }.get_mut(list)?;
        let block = *first;
        if block.is_null() {
            return None;
        }
        // SAFETY: a block in a list is at least `STEP` bytes that nobody uses, aligned for an address, and `put` wrote one.
        *first = unsafe { block.cast::<*mut u8>().read() };
        Some(block)
    }

    fn put(&self, list: usize, block: *mut u8) {
        // SAFETY: as in `take`.
        if let Some(first) = unsafe { &mut *self.free.get() }.get_mut(list) {
            // SAFETY: the block was just given back by its only user, and has room for an address.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }
}

// SAFETY: blocks come from the system's allocator, with a layout at least as large and as aligned as was asked for; while
// somebody has one it stands in no list; and it goes back into the list that its layout names, the same at both times.
unsafe impl GlobalAlloc for SizeLists {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(list) = list_of(layout) else {
            // SAFETY: the caller's promises, passed on.
            return unsafe { System.alloc(layout) };
        };
        match (self.take(list), block_of(list)) {
            (Some(block), _) => block,
            // SAFETY: the layout is not empty.
            (None, Some(layout)) => unsafe { System.alloc(layout) },
            (None, None) => null_mut(),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match list_of(layout) {
            Some(list) => self.put(list, block),
            // SAFETY: the caller's promises, passed on: a block of this layout came from there.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that `size` is a size.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (list_of(layout), list_of(wanted)) {
            (Some(had), Some(wants)) if had == wants => block,
            // SAFETY: the caller's promises, passed on: a block of this layout came from there, and stays there.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            _ => {
                // SAFETY: neither layout is empty; the blocks do not overlap, for both are in use.
                unsafe {
                    let moved = self.alloc(wanted);
                    if !moved.is_null() {
                        std::ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}
