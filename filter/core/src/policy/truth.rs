//! Step 6: three-valued answers. What cannot be judged is unknown, and unknown counts against the caller.

use serde::{Deserialize, Serialize};

/// Whether a condition holds. Ordered so that the least is what "all of" and the greatest what "any of" say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    False,
    /// The fact is there in a form that cannot be judged, or may mean one thing to us and another to the server.
    Unknown,
    True,
}

impl Truth {
    /// The opposite; unknown stays unknown.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }

    /// True when all are; of none, true.
    pub fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().min().unwrap_or(Self::True)
    }

    /// True when any is; of none, false.
    pub fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        truths.into_iter().max().unwrap_or(Self::False)
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}
