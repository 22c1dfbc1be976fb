//! The allocator, natively, on memory of its own.
#![expect(unsafe_code, reason = "an allocator is asked through raw pointers")]

use super::*;

/// One block in use, and the byte that fills it.
struct Block {
    at: *mut u8,
    layout: Layout,
    filling: u8,
}

impl Block {
    fn fill(&self) {
        // SAFETY: the block is in use and that long.
        unsafe { self.at.write_bytes(self.filling, self.layout.size()) };
    }

    fn is_whole(&self, bytes: usize) -> bool {
        // SAFETY: the block is in use, that long, and was filled.
        unsafe { std::slice::from_raw_parts(self.at, bytes) }.iter().all(|byte| *byte == self.filling)
    }
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a layout")
}

#[test]
fn blocks_in_use_never_share_a_byte() {
    let lists = SizeLists::new();
    let mut blocks: Vec<Block> = Vec::new();
    let mut random = 1_u64;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).expect("31 bits") % below
    };
    for step in 0..20_000_u32 {
        let filling = step.to_le_bytes()[0];
        match next(3) {
            0 if !blocks.is_empty() => {
                let block = blocks.swap_remove(next(blocks.len()));
                assert!(block.is_whole(block.layout.size()), "step {step}");
                // SAFETY: it was allocated with this layout, and is used no more.
                unsafe { lists.dealloc(block.at, block.layout) };
            }
            1 if !blocks.is_empty() => {
                let at = next(blocks.len());
                let (block, size) = (&mut blocks[at], 1 + next(2 * SMALL_BYTES_MAX));
                // SAFETY: it was allocated with this layout.
                block.at = unsafe { lists.realloc(block.at, block.layout, size) };
                assert!(block.is_whole(block.layout.size().min(size)), "step {step}: what was there moves along");
                block.layout = layout(size, block.layout.align());
                block.filling = filling;
                block.fill();
            }
            _ => {
                let layout = layout(1 + next(2 * SMALL_BYTES_MAX), 1 << next(6));
                // SAFETY: the layout is not empty.
                let at = unsafe { lists.alloc(layout) };
                assert!(!at.is_null() && at.addr().is_multiple_of(layout.align()), "step {step}");
                let block = Block { at, layout, filling };
                block.fill();
                blocks.push(block);
            }
        }
    }
    for block in blocks {
        assert!(block.is_whole(block.layout.size()));
        // SAFETY: it was allocated with this layout, and is used no more.
        unsafe { lists.dealloc(block.at, block.layout) };
    }
}

#[test]
fn freed_small_block_is_the_next_of_its_size() {
    let lists = SizeLists::new();
    let (first, second) = (layout(100, 8), layout(112, 1));
    // SAFETY: neither layout is empty, and each block goes back with the layout that it came with.
    unsafe {
        let block = lists.alloc(first);
        lists.dealloc(block, first);
        assert_eq!(lists.alloc(second), block, "both are rounded up to 112");
        let other = lists.alloc(first);
        assert_ne!(other, block, "it is in use");
        lists.dealloc(other, first);
        lists.dealloc(block, second);
    }
}
