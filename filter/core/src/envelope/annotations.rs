//! Step 5: what a server said of its tool in `tools/list`: hints that nobody vouches for. They can only tighten.

/// The annotations of one tool as they were last seen. What is absent or of another type was not said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// `readOnlyHint`
    pub read_only: Option<bool>,
    /// `destructiveHint`
    pub destructive: Option<bool>,
    /// `openWorldHint`
    pub open_world: Option<bool>,
}

/// The risk tag of a tool that says it may destroy something.
pub(super) const DESTRUCTIVE_TAG: &str = "destructive";

/// The risk tag of a tool that says it reaches an open world of things and people.
pub(super) const OPEN_WORLD_TAG: &str = "open-world";

impl Annotations {
    /// Whether they say anything that could tighten a decision.
    pub(super) fn say_something(&self) -> bool {
        self.writes() || self.destructive == Some(true) || self.open_world == Some(true)
    }

    /// Whether the tool says of itself that it does more than read.
    pub(super) fn writes(&self) -> bool {
        self.read_only == Some(false) || (self.destructive == Some(true) && self.read_only != Some(true))
    }
}
