//! Which entries a command is about.

use std::str::FromStr;

use clap::Args;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use holdpoint_core::decision::Verdict;
use jiff::Timestamp;
use serde::de::value::StrDeserializer;
use serde::de::{self, IntoDeserializer as _};

use crate::cli::length_ms;

/// A point in time: `2026-11-01T08:00:00Z`, `2026-11-01` (its beginning, UTC), or how long ago: `90m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    pub at_ms: u64,
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || {
            format!(
                "`{text}` is no time: write `2026-11-01T08:00:00Z`, `2026-11-01`, or how long ago, such as `90m`, `24h` or `7d`"
            )
        };
        if let Some(before_ms) = length_ms(text) {
            let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
            return Ok(Self { at_ms: now_ms.saturating_sub(before_ms) });
        }
        // A date alone is its beginning.
        let at = text.parse().or_else(|_| format!("{text}T00:00:00Z").parse::<Timestamp>()).map_err(|_| expected())?;
        u64::try_from(at.as_millisecond()).map(|at_ms| Self { at_ms }).map_err(|_| expected())
    }
}

/// A period.
#[derive(Clone, Debug, Default, Args)]
pub struct Period {
    /// Only entries from then on: a time, a date, or how long ago (`24h`, `7d`)
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,
    /// Only entries before
    #[arg(long, value_name = "TIME")]
    pub until: Option<When>,
}

impl Period {
    pub fn holds(&self, at_ms: u64) -> bool {
        self.since.is_none_or(|since| at_ms >= since.at_ms) && self.until.is_none_or(|until| at_ms < until.at_ms)
    }
}

/// What an entry must be about: all that is given.
#[derive(Clone, Debug, Args)]
pub struct Filter {
    #[command(flatten)]
    pub period: Period,
    /// Kind of entry, such as `decision`, `review`, `claim`, `outcome`, `gap`
    #[arg(long, value_name = "KIND", value_parser = word::<EntryKind>)]
    kind: Option<EntryKind>,
    /// Verdict: allow, require_approval or deny
    #[arg(long, value_name = "VERDICT", value_parser = word::<Verdict>)]
    verdict: Option<Verdict>,
    /// Server
    #[arg(long, value_name = "NAME")]
    on: Option<String>,
    /// Tool, resource or prompt
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Subject of the caller
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Whoever decided, as the entry names them; a part is enough
    #[arg(long, value_name = "PERSON")]
    by: Option<String>,
    /// Rule that took part
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Approval
    #[arg(long, value_name = "ID")]
    approval: Option<String>,
    /// Digest of the call, or its first digits
    #[arg(long, value_name = "DIGEST")]
    call: Option<String>,
    /// Trace id
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let word: StrDeserializer<'_, de::value::Error> = text.into_deserializer();
    T::deserialize(word).map_err(|error| error.to_string())
}

impl Filter {
    pub fn holds(&self, entry: &AuditEntry) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted))
        }
        let subject = entry.principal.as_ref().map(|principal| &principal.subject);
        let call = entry.call_digest.map(|digest| digest.to_string());
        self.period.holds(entry.at_ms)
            && is(self.kind.as_ref(), Some(&entry.kind))
            && is(self.verdict.as_ref(), entry.verdict.as_ref())
            && is(self.on.as_ref(), entry.server.as_ref())
            && is(self.target.as_ref(), entry.target.as_ref())
            && is(self.subject.as_ref(), subject)
            && is(self.approval.as_ref(), entry.approval_id.as_ref())
            && is(self.trace.as_ref(), entry.trace_id.as_ref())
            && self.by.as_ref().is_none_or(|by| entry.by.as_ref().is_some_and(|found| found.contains(by.as_str())))
            && self.rule.as_ref().is_none_or(|rule| entry.rule_ids.contains(rule))
            && self.call.as_ref().is_none_or(|start| {
                let start = start.strip_prefix("sha256:").unwrap_or(start);
                call.is_some_and(|call| call.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(start)))
            })
    }
}

#[cfg(test)]
mod tests;
