//! Step 11: takes entries out of the lists of one result, byte for byte: what stays is not touched.

use std::borrow::Cow;

use crate::definition::DefinitionKind;
use crate::edits::Edits;
use crate::envelope::Offered;
use crate::json::Value;
use crate::mcp::near_key;

type Offer = fn(&str) -> Offered<'_>;

/// Decides whether an entry stays, by what it offers and by itself.
pub(super) type MayShow<'m> = dyn FnMut(Offered<'_>, Value<'_>) -> bool + 'm;

/// One list in one result.
pub struct Listed<'d> {
    pub kind: DefinitionKind,
    /// More pages follow.
    pub has_next: bool,
    list: Value<'d>,
    named_by: &'static str,
}

impl<'d> Listed<'d> {
    /// Those that go by one name.
    pub fn entries(&self) -> impl Iterator<Item = (Cow<'d, str>, Value<'d>)> {
        let named_by = self.named_by;
        self.list.elements().filter_map(move |entry| Some((name(entry, named_by)?, entry)))
    }
}

/// Member of the result, member of an entry that names it, and what it then offers.
const LISTS: [(&str, &str, DefinitionKind, Offer); 4] = [
    ("tools", "name", DefinitionKind::Tool, |name| Offered::Tool(name)),
    ("resources", "uri", DefinitionKind::Resource, |uri| Offered::Resource(uri)),
    ("resourceTemplates", "uriTemplate", DefinitionKind::ResourceTemplate, |template| {
        Offered::ResourceTemplate(template)
    }),
    ("prompts", "name", DefinitionKind::Prompt, |name| Offered::Prompt(name)),
];

const ENTRY: &[&str] = &["name", "uri", "uriTemplate"];

/// Every list in `result`.
pub(super) fn listed(result: Value<'_>) -> impl Iterator<Item = Listed<'_>> {
    let has_next = result.get("nextCursor").is_some_and(|cursor| !cursor.is_null());
    LISTS.into_iter().filter_map(move |(member, named_by, kind, _)| {
        Some(Listed { kind, has_next, list: result.get(member)?, named_by })
    })
}

pub(super) fn hide(result: Value<'_>, may_show: &mut MayShow<'_>, edits: &mut Edits) -> u32 {
    let mut hidden = 0_u32;
    let mut is_list = false;
    for (member, named_by, _, offer) in LISTS {
        let Some(list) = result.get(member) else { continue };
        is_list = true;
        hidden = hidden.saturating_add(hide_entries(list, named_by, offer, may_show, edits));
    }
    if let Some(scope) = result.get("cacheScope").filter(|scope| is_list && !scope.is_str("private")) {
        edits.replace(scope.span(), r#""private""#);
    }
    hidden
}

fn hide_entries(list: Value<'_>, named_by: &str, offer: Offer, may_show: &mut MayShow<'_>, edits: &mut Edits) -> u32 {
    let mut hidden = 0_u32;
    // The end of the last entry that stays: from there on everything goes, its comma first.
    let mut kept_end = None;
    let mut entries = list.elements().peekable();
    while let Some(entry) = entries.next() {
        let is_shown = name(entry, named_by).is_some_and(|name| may_show(offer(&name), entry));
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
