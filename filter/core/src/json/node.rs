//! Step 3: one entry of a document's flat list: where a value stands in the text and how much of the list is inside it.

use super::value::Kind;

/// A place in one [`super::Document`], to be remembered beside it and looked up again with `document.value(id)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    pub(super) const ROOT: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// The place `nodes` entries further on.
    pub(super) fn after(self, nodes: u32) -> Self {
        Self(self.0.saturating_add(nodes))
    }
}

/// Twelve bytes, because a body of 100,000 nodes should not cost more than its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Kind in the low three bits, then the escape flag, then the number of nodes of the subtree, itself included.
    packed: u32,
}

const ESCAPED: u32 = 1 << 3;
const SUBTREE_SHIFT: u32 = 4;

impl Node {
    /// The number of nodes that the packed form can count.
    pub(super) const NODES_CEILING: u32 = u32::MAX >> SUBTREE_SHIFT;

    /// Stands in for the root of an empty list, which the reader never makes.
    pub(super) const NOTHING: Self = Self { start: 0, end: 0, packed: 1 << SUBTREE_SHIFT };

    pub(super) fn new(kind: Kind, start: u32, end: u32) -> Self {
        Self { start, end, packed: (kind as u32) | (1 << SUBTREE_SHIFT) }
    }

    /// A string that holds at least one backslash and so must be decoded to be compared.
    pub(super) fn escaped(mut self) -> Self {
        self.packed |= ESCAPED;
        self
    }

    /// The container ends before byte `end` and holds `subtree` nodes, itself included.
    pub(super) fn close(&mut self, kind: Kind, end: u32, subtree: u32) {
        self.end = end;
        self.packed = (kind as u32) | (subtree << SUBTREE_SHIFT);
    }

    pub(super) fn kind(self) -> Kind {
        match self.packed & 7 {
            0 => Kind::Null,
            1 => Kind::Bool,
            2 => Kind::Number,
            3 => Kind::String,
            4 => Kind::Array,
            _ => Kind::Object,
        }
    }

    pub(super) fn is_escaped(self) -> bool {
        self.packed & ESCAPED != 0
    }

    pub(super) fn subtree(self) -> u32 {
        self.packed >> SUBTREE_SHIFT
    }
}
