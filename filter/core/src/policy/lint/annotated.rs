//! Step 6, before it: tools of which their server says more than the catalogue does. Hints that nobody vouches for, so they
//! can only warn.

use super::Finding;
use crate::envelope::Annotations;
use crate::policy::document::{ActionClass, Entry, PolicyDocument};
use crate::policy::glob::Glob;

/// A warning if the catalogue classes `tool` of `server` as read and the server says that it does more.
pub fn annotated(document: &PolicyDocument, server: &str, tool: &str, says: &Annotations) -> Option<Finding> {
    let of_server = document.servers.get(server)?;
    let matching: Vec<(&Glob, &Entry)> = of_server.tools.iter().filter(|(glob, _)| glob.matches(tool)).collect();
    // The most specific speak, as when a call is judged: an exact name before every pattern.
    let speaks = |one: &Glob| {
        !matching.iter().any(|(other, _)| {
            (other.is_literal() && !one.is_literal())
                || (!one.is_literal() && other.literal_bytes() > one.literal_bytes())
        })
    };
    let (glob, entry) = matching.iter().filter(|(glob, _)| speaks(glob)).max_by_key(|(_, entry)| entry.action)?;
    if entry.action != ActionClass::Read {
        return None;
    }
    let hint = match (says.read_only, says.destructive) {
        (Some(false), Some(true)) => "`readOnlyHint: false` and `destructiveHint: true`",
        (Some(false), _) => "`readOnlyHint: false`",
        (None, Some(true)) => "`destructiveHint: true`",
        (Some(true) | None, _) => return None,
    };
    let by = if glob.is_literal() { String::new() } else { format!(" (by `{}`)", glob.as_str()) };
    Some(Finding {
        lint: "annotation-says-otherwise",
        at: entry.at,
        subject: format!("server `{server}`"),
        message: format!("tool `{tool}` is classed `read`{by}, but the server says {hint}"),
    })
}
