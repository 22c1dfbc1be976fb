//! Step 8, before it: which version of their common language filter and service speak, and how far apart they may be.
//!
//! The messages themselves are records of their own modules; the tests here keep one example of each.

use std::fmt;

#[cfg(test)]
mod tests;

/// The header in which each side says its version: the filter with every question, the service with every answer.
pub const WIRE_HEADER: &str = "holdpoint-wire";

/// Code of the service's problem when the two are too far apart.
pub const PROBLEM_WIRE: &str = "wire-version";

/// The version that this code speaks. A member that may be missing makes a new minor version; whatever an older side would
/// misunderstand, a new major one.
pub const WIRE: WireVersion = WireVersion { major: 1, minor: 1 };

/// Minor versions by which two sides may differ, so that one can be upgraded after the other.
const MINORS_APART_MAX: u16 = 1;

/// A version as it is said: `major.minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireVersion {
    major: u16,
    minor: u16,
}

impl WireVersion {
    /// Of a side that says none: the first version did not.
    pub const UNSAID: Self = Self { major: 1, minor: 0 };

    /// Reads the value of the header; `None` if it is no version.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (major, minor) = std::str::from_utf8(value).ok()?.split_once('.')?;
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            is_plain.then(|| text.parse().ok()).flatten()
        };
        Some(Self { major: number(major)?, minor: number(minor)? })
    }

    /// Whether the two can work together, whichever is asked.
    pub fn understands(self, other: Self) -> bool {
        self.major == other.major && self.minor.abs_diff(other.minor) <= MINORS_APART_MAX
    }
}

impl fmt::Display for WireVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a filter and a service cannot work together, and which of them to upgrade; `None` when they can.
pub fn apart(filter: WireVersion, service: WireVersion) -> Option<String> {
    if filter.understands(service) {
        return None;
    }
    let older = if filter < service { "filter" } else { "service" };
    Some(format!(
        "the filter speaks wire version {filter} and the service {service}, which is more than one minor version apart: \
         upgrade the {older}"
    ))
}
