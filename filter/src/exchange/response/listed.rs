//! Step 11: what a server's list says of its tools, resources and prompts is kept for later calls and told to the service.

use std::borrow::Cow;
use std::collections::BTreeMap;

use holdpoint_core::definition::{Definition, DefinitionKind};
use holdpoint_core::digest::Digest;
use holdpoint_core::envelope::CallEnvelope;
use holdpoint_core::inventory::{
    ENTRIES_MAX, ListedEntry, ListedPage, NAME_BYTES_MAX, Observation, Sighting, TEXT_BYTES_MAX,
};
use holdpoint_core::json::Value;
use holdpoint_core::json::canonical::ObjectWriter;
use holdpoint_core::mcp::answer::{self, Listed};
use holdpoint_core::mcp::{Method, MethodClass};

use crate::definitions;
use crate::exchange::Surroundings;
use crate::inventory_buffer::OBSERVATION_BYTES_MAX;
use crate::lists::{Found, Kinds};

/// Room for all of an observation but its entries.
const AROUND_BYTES_MAX: usize = 16 * 1_024;
const PAGE_TAG: &str = "holdpoint/page/v1";

/// Which page of a list was asked for.
pub(super) struct AskedPage {
    /// `None` on a stream, where a server may answer anything again.
    cursor: Option<Digest>,
    is_first: bool,
}

impl AskedPage {
    pub(super) fn of(envelope: &CallEnvelope) -> Self {
        let message = envelope.message();
        let cursor = message.params().and_then(|params| params.get("cursor")).filter(|cursor| !cursor.is_null());
        let is_list = message.method().class() == MethodClass::List && *message.method() != Method::StreamOpen;
        let named = || Digest::tagged(PAGE_TAG, cursor.map_or("", |cursor| cursor.raw()).as_bytes());
        Self { cursor: is_list.then(named), is_first: is_list && cursor.is_none() }
    }
}

impl super::Governing {
    /// Takes in every list of one message, if it is another one than the last time. The list that it brings where its
    /// text came before, as `found` says or as this caller was last answered.
    pub(super) fn learn(
        &self,
        message: Value<'_>,
        found: Option<&Found>,
        around: &mut Surroundings<'_>,
    ) -> Option<Found> {
        let result = message.get("result")?;
        let lists: Vec<Listed<'_>> = answer::lists(result).collect();
        let mut kinds = Kinds::default();
        lists.iter().zip(&mut kinds).for_each(|(list, kind)| *kind = Some(list.kind));
        if lists.is_empty() {
            return None;
        }
        let span = result.span();
        let found = found.filter(|found| found.span == span);
        let content = found.map_or_else(|| Digest::of(result.raw().as_bytes()), |found| found.content);
        let news = lists.iter().filter(|list| !self.knows(content, list, around)).count();
        (news == 0 || found.is_some()).then_some(Found { span, content, kinds })
    }

    /// Whether the list is as the last time. Takes it in otherwise.
    fn knows(&self, content: Digest, list: &Listed<'_>, around: &mut Surroundings<'_>) -> bool {
        let asked = &self.asked_page;
        let page = self.page_key(list.kind);
        let version = definitions::version(around.shared, &self.server);
        if around.desk.inventory.is_known(&page, content, version) {
            return true;
        }
        let (read, is_all) = read(list);
        let version = match list.kind {
            DefinitionKind::Tool => definitions::learn(around.shared, &self.server, &read, around.now_ms),
            DefinitionKind::Resource | DefinitionKind::ResourceTemplate | DefinitionKind::Prompt => Some(version),
        };
        let mut room = OBSERVATION_BYTES_MAX.saturating_sub(AROUND_BYTES_MAX);
        let mut entries = Vec::with_capacity(read.len());
        let total = read.len();
        for definition in read {
            let is_told = definition.text.len() > TEXT_BYTES_MAX || around.desk.inventory.was_sent(&definition.digest);
            // Escapes may double a text; control characters in names are the exception.
            let text = (!is_told).then_some(definition.text).filter(|text| text.len().saturating_mul(2) < room);
            let needed = text.as_ref().map_or(0, |text| text.len().saturating_mul(2));
            let needed = needed.saturating_add(definition.name.len().saturating_mul(6)).saturating_add(128);
            let Some(left) = room.checked_sub(needed) else { break };
            room = left;
            entries.push(ListedEntry { name: definition.name, digest: definition.digest, text });
        }
        let is_all = is_all && entries.len() == total;
        let saw = Sighting::Listed(ListedPage {
            kind: list.kind,
            page: asked.cursor.filter(|_| is_all),
            is_whole: is_all && asked.is_first && !list.has_next,
            entries,
        });
        let observation =
            Observation { at_ms: around.now_ms, server: self.server.clone(), caller: self.principal.named(), saw };
        let is_kept = around.desk.inventory.push(&observation);
        if let Some(version) = version.filter(|_| is_kept) {
            around.desk.inventory.remember(page, content, version);
        }
        false
    }

    /// Names the page that was asked for, and who asked.
    pub(super) fn page_key(&self, kind: DefinitionKind) -> Digest {
        let (principal, cursor) = (&self.principal, self.asked_page.cursor);
        let named = ObjectWriter::new()
            .string("agent", principal.agent_id.as_deref().unwrap_or_default())
            .string("cursor", &cursor.map(|cursor| cursor.to_string()).unwrap_or_default())
            .string("issuer", &principal.issuer)
            .string("kind", kind.as_str())
            .string("server", &self.server)
            .string("subject", &principal.subject)
            .string("tenant", principal.tenant.as_deref().unwrap_or_default());
        Digest::tagged(PAGE_TAG, named.finish().as_bytes())
    }
}

/// What a list defines, one definition for each name, and whether that is all of it. Two under one name are a third:
/// nobody can say which of them a client takes.
fn read(list: &Listed<'_>) -> (Vec<Definition>, bool) {
    let mut by_name: BTreeMap<&str, Definition> = BTreeMap::new();
    let mut is_all = true;
    let entries: Vec<(Cow<'_, str>, Value<'_>)> = list.entries().collect();
    for (name, entry) in &entries {
        if name.len() > NAME_BYTES_MAX || by_name.len() >= ENTRIES_MAX {
            is_all = false;
            continue;
        }
        let mut definition = Definition::read(list.kind, name, *entry);
        if let Some(before) = by_name.get(name.as_ref()).filter(|before| before.digest != definition.digest) {
            let both = [*before.digest.as_bytes(), *definition.digest.as_bytes()].concat();
            definition.digest = Digest::tagged("holdpoint/definitions-of-one-name/v1", &both);
            definition.text = format!("[{},{}]", before.text, definition.text);
        }
        by_name.insert(name.as_ref(), definition);
    }
    (by_name.into_values().collect(), is_all)
}
