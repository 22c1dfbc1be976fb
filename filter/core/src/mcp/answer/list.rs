//! Step 11: takes entries out of the lists of one result, byte for byte: what stays is not touched.

use std::borrow::Cow;

use crate::edits::Edits;
use crate::envelope::Offered;
use crate::json::Value;
use crate::mcp::near_key;

type Offer = fn(&str) -> Offered<'_>;

/// Member of the result, member of an entry that names it, and what it then offers.
const LISTS: [(&str, &str, Offer); 4] = [
    ("tools", "name", |name| Offered::Tool(name)),
    ("resources", "uri", |uri| Offered::Resource(uri)),
    ("resourceTemplates", "uriTemplate", |template| Offered::ResourceTemplate(template)),
    ("prompts", "name", |name| Offered::Prompt(name)),
];

const ENTRY: &[&str] = &["name", "uri", "uriTemplate"];

pub(super) fn hide(result: Value<'_>, may_show: &mut dyn FnMut(Offered<'_>) -> bool, edits: &mut Edits) -> u32 {
    let mut hidden = 0_u32;
    let mut is_list = false;
    for (member, named_by, offer) in LISTS {
        let Some(list) = result.get(member) else { continue };
        is_list = true;
        hidden = hidden.saturating_add(hide_entries(list, named_by, offer, may_show, edits));
    }
    if let Some(scope) = result.get("cacheScope").filter(|scope| is_list && !scope.is_str("private")) {
        edits.replace(scope.span(), r#""private""#);
    }
    hidden
}

fn hide_entries(
    list: Value<'_>,
    named_by: &str,
    offer: Offer,
    may_show: &mut dyn FnMut(Offered<'_>) -> bool,
    edits: &mut Edits,
) -> u32 {
    let mut hidden = 0_u32;
    // The end of the last entry that stays: from there on everything goes, its comma first.
    let mut kept_end = None;
    let mut entries = list.elements().peekable();
    while let Some(entry) = entries.next() {
        let is_shown = name(entry, named_by).is_some_and(|name| may_show(offer(&name)));
        if is_shown {
            kept_end = Some(entry.span().end);
            continue;
        }
        hidden = hidden.saturating_add(1);
        match (kept_end, entries.peek()) {
            (Some(from), _) => {
                edits.remove(from..entry.span().end);
                kept_end = Some(entry.span().end);
            }
            (None, Some(next)) => edits.remove(entry.span().start..next.span().start),
            (None, None) => edits.remove(entry.span()),
        }
    }
    hidden
}

/// What the entry goes by; nothing when two clients could read two names. Such an entry cannot be called by a name that
/// was judged, so it is hidden.
fn name<'d>(entry: Value<'d>, named_by: &str) -> Option<Cow<'d, str>> {
    near_key::refuse(entry, ENTRY).ok()?;
    entry.get(named_by)?.as_str()
}
