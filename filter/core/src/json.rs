//! Step 3: reads JSON strictly in one pass. A document is its own text plus a flat list of spans; there is no tree.
//!
//! Two reasonable parsers must not understand a body differently, so whatever RFC 8259 leaves open is refused here:
//! duplicate keys, lone surrogates, numbers beyond a double, a byte order mark.

pub mod canonical;
mod cursor;
mod error;
mod keys;
mod node;
mod number;
mod plain;
mod reader;
mod room;
pub(crate) mod text;
mod value;

pub use error::{Found, ReadError};
pub use node::NodeId;
pub use value::{Elements, Kind, Members, Value};

pub(crate) use keys::fingerprint;

use node::Node;

/// How much JSON one document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside one another; a lone object is depth 1. Above [`Limits::DEPTH_CEILING`] it is that.
    pub depth_max: u32,
    /// Values plus keys. Each costs 12 bytes of memory beside the text.
    pub nodes_max: u32,
    /// Characters of one number.
    pub number_chars_max: u32,
}

impl Limits {
    /// What walks a document may recurse, so no setting lifts the depth above what the smallest stack bears.
    pub const DEPTH_CEILING: u32 = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 64, nodes_max: 100_000, number_chars_max: 64 }
    }
}

/// One JSON text, read and found unambiguous. Owns its bytes; values borrow from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    text: String,
    /// In order of appearance: a container, then everything inside it; in objects each key stands before its value.
    nodes: Vec<Node>,
}

impl Document {
    /// Reads all of `bytes` as one JSON value. The error names the first byte that is wrong.
    pub fn read(bytes: Vec<u8>, limits: &Limits) -> Result<Self, ReadError> {
        let text = text::utf8(bytes)?;
        let nodes = reader::read(&text, limits)?;
        Ok(Self { text, nodes })
    }

    /// The value that the whole text is.
    pub fn root(&self) -> Value<'_> {
        Value::new(self, NodeId::ROOT, self.nodes.first().copied().unwrap_or(Node::NOTHING))
    }

    /// The value at a place remembered by [`Value::id`]; nothing when the place is from a longer document.
    pub fn value(&self, id: NodeId) -> Option<Value<'_>> {
        Some(Value::new(self, id, *self.nodes.get(id.index())?))
    }

    fn node(&self, id: NodeId) -> Option<Node> {
        self.nodes.get(id.index()).copied()
    }

    /// The text as it came, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Gives the text back, byte for byte.
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }
}

impl std::fmt::Debug for Document {
    /// Arguments may hold secrets, so only sizes are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({} bytes, {} nodes)", self.text.len(), self.nodes.len())
    }
}

#[cfg(test)]
mod tests;
