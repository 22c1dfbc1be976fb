//! Reads `after:`, what a caller did before. It may only tighten: what somebody did, or what nobody knows of him, opens
//! nothing.

use super::read::{globs, set};
use super::{After, BeforeStart};
use crate::decision::Verdict;
use crate::digest::Digest;
use crate::policy::canonical;
use crate::yaml::{Cursor, Problems};

const FIELDS: [&str; 6] = ["risk_tags", "capabilities", "servers", "within_ms", "scope", "before_start"];
/// How far back a rule may look: a day. The filter forgets what is older.
pub const AFTER_MS_MAX: u64 = 86_400_000;
const MARK_TAG: &str = "holdpoint/past-mark/v1";

impl After {
    /// Names the kind of call that is looked for: the same for every rule that looks for it, however far back.
    pub fn mark(&self) -> Digest {
        Digest::tagged(MARK_TAG, canonical::sought(self).finish().as_bytes())
    }
}

/// Reads the condition of a rule that decides `verdict`; `is_inverted` under an odd number of `not`.
pub(super) fn read(
    cursor: &Cursor<'_>,
    verdict: Option<Verdict>,
    is_inverted: bool,
    problems: &mut Problems,
) -> Option<After> {
    if let Some(verdict) = verdict
        && (verdict == Verdict::Allow) != is_inverted
    {
        let message = match verdict {
            Verdict::Allow => {
                "`after` here would allow a call because of what its caller did before: write it under `not`, or in a \
                 rule that denies or requires an approval"
            }
            Verdict::RequireApproval | Verdict::Deny => {
                "`after` under `not` here would spare a caller because of what it did before: write it without `not`"
            }
        };
        cursor.problem(message, problems);
    }
    let fields = cursor.fields(&FIELDS, problems)?;
    let risk_tags = fields.get("risk_tags").map(|field| set(&field, problems)).unwrap_or_default();
    let capabilities = fields.get("capabilities").map(|field| globs(&field, problems)).unwrap_or_default();
    let servers = fields.get("servers").map(|field| globs(&field, problems)).unwrap_or_default();
    if risk_tags.is_empty() && capabilities.is_empty() && servers.is_empty() {
        cursor.problem("`after` needs `risk_tags`, `capabilities` or `servers`: what the earlier call was", problems);
    }
    let within_ms = fields.require("within_ms", problems);
    let within_ms = within_ms.and_then(|field| field.whole_number(1..=AFTER_MS_MAX, problems));
    let scope = fields.get("scope").and_then(|field| field.one_of("scope", &[("process", ())], problems));
    let words = [("unknown", BeforeStart::Unknown), ("clean", BeforeStart::Clean)];
    let before_start = fields.get("before_start").and_then(|field| field.one_of("word", &words, problems));
    Some(After {
        risk_tags,
        capabilities,
        servers,
        within_ms: within_ms?,
        before_start: before_start.unwrap_or(BeforeStart::Unknown),
        scope_is_declared: scope.is_some(),
    })
}
