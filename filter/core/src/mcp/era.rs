//! Step 3: the revision of the protocol that one message speaks. Judged per message: one client may mix them.

use std::fmt;

/// A released protocol revision. Ordered by age, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// HTTP with a separate SSE stream for answers.
    V2024_11_05,
    /// Streamable HTTP; what a message without any version is taken for.
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    /// No session and no handshake: every request carries its version and capabilities in `params._meta`.
    V2026_07_28,
}

impl Era {
    /// Every era, the oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The newest era that starts with `initialize`.
    pub const NEWEST_WITH_HANDSHAKE: Self = Self::V2025_11_25;

    /// The revision as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era of a revision on the wire; nothing for a revision that this version of Holdpoint does not know.
    pub fn from_wire(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|era| era.as_str() == version)
    }

    /// Whether messages carry their own envelope in `params._meta` and must repeat it in headers.
    pub const fn is_modern(self) -> bool {
        match self {
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => false,
            Self::V2026_07_28 => true,
        }
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
