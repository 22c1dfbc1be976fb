//! What is asked of the filter, and what became of it, as they stand on a line. Bytes are lists of numbers.

use serde::{Deserialize, Serialize};

/// One request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Pseudo headers included.
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The pieces that its body arrives in; none for a request that ends with its head.
    pub(crate) body: Vec<Vec<u8>>,
    /// Whether trailers end it.
    pub(crate) has_trailers: bool,
    /// Properties by their path, parts joined by NUL.
    pub(crate) properties: Vec<(String, Vec<u8>)>,
    /// Headers and body with which the server answers; none for a server that has not answered yet.
    pub(crate) answer: Option<Answer>,
    /// A host call that fails with this status, every time.
    pub(crate) fault: Option<(String, u32)>,
}

/// Headers, and a body that comes in one piece.
pub(crate) type Answer = (Vec<(Vec<u8>, Vec<u8>)>, Vec<u8>);

/// What became of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Became {
    /// The filter let it go on, after its end had come.
    pub(crate) forwarded: bool,
    /// The filter let it go on, or a part of it, before its end had come.
    pub(crate) forwarded_early: bool,
    /// Status and body of the filter's own answer.
    pub(crate) reply: Option<(u32, String)>,
    /// The header edits: name, and the value if it was set.
    pub(crate) edits: Vec<(String, Option<String>)>,
    /// Host calls that were made, each once.
    pub(crate) calls: Vec<String>,
    /// Callbacks (`> name`) and host calls in their order, without those of ticks.
    pub(crate) made: Vec<String>,
    /// How the module died.
    pub(crate) trap: Option<String>,
}
