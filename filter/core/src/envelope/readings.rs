//! Step 5: the ways the facts of a call may stand. The decision is the strictest over all of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::annotations::{self, Annotations};
use super::client_tags::ClientTags;
use super::labels::Labels;
use super::topic::action_of;
use crate::decision::AuditLevel;
use crate::digest::Digest;
use crate::mcp::{CompletionRef, McpMessage, Target};
use crate::policy::{ActionClass, CatalogueServer, DotSegment, Fact, Glob, Listed, Listing};

/// One way the facts of a call may stand.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// What sets it apart, for the text of a refusal; empty for the plain reading of the catalogue.
    pub(crate) told_apart_by: String,
    pub(crate) action: Option<ActionClass>,
    pub(crate) capability: Option<String>,
    pub(crate) resource: Fact,
    /// All labels but `mcp.resource`.
    pub(crate) labels: Labels,
    pub(crate) risk_tags: BTreeSet<String>,
    pub(crate) requires: BTreeSet<String>,
    /// The call carries what looks like a secret.
    pub(crate) has_secrets: bool,
    /// Scopes that the caller's token must carry.
    pub(crate) required_scopes: BTreeSet<String>,
    /// Whether the server gets to see the caller's credentials.
    pub(crate) forwards_credential: bool,
    /// The most that the record may keep, as far as the catalogue says.
    pub(crate) audit: Option<AuditLevel>,
}

/// The risk tag of a call that carries a secret.
pub(crate) const SECRETS_TAG: &str = "secrets";

impl Reading {
    /// The label of that name.
    pub(crate) fn label(&self, name: &str) -> LabelFact<'_> {
        if name == "mcp.resource" {
            return match &self.resource {
                Fact::Absent => LabelFact::Absent,
                Fact::Unknown => LabelFact::Unknown,
                Fact::Known(resource) => LabelFact::Known(resource),
                Fact::AnyOf(resources) => LabelFact::AnyOf(resources),
            };
        }
        self.labels.get(name).map_or(LabelFact::Absent, LabelFact::Known)
    }

    pub(super) fn with_label(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.labels.set(Cow::Borrowed(name), value.into());
        self
    }

    /// Puts another value under a label, in the room of the one before.
    pub(super) fn rename(&mut self, name: &'static str, value: &str) {
        self.labels.rename(name, value);
    }

    pub(super) fn with_resource(mut self, resource: Fact) -> Self {
        self.resource = resource;
        self
    }

    pub(super) fn with_action(mut self, action: Option<ActionClass>) -> Self {
        self.action = action;
        match action {
            Some(action) => self.labels.set(Cow::Borrowed("mcp.action"), Cow::Borrowed(action.as_str())),
            None => self.labels.remove("mcp.action"),
        }
        self
    }

    pub(super) fn listed(mut self, listed: &Listed) -> Self {
        self.capability.clone_from(&listed.capability);
        self.risk_tags.extend(listed.risk_tags.iter().cloned());
        self.requires.extend(listed.requires.iter().cloned());
        self.required_scopes.extend(listed.credential.required_scopes.iter().cloned());
        self.forwards_credential = listed.credential.forward.unwrap_or(self.forwards_credential);
        self.audit = AuditLevel::least(self.audit, listed.audit);
        // The narrower word wins, but our own labels come from the message alone; the grammar keeps `mcp.` free.
        for (name, value) in &listed.labels {
            self.labels.set(Cow::Owned(name.clone()), Cow::Owned(value.clone()));
        }
        self
    }

    /// The same facts, and beside them what the client says of its call.
    pub(super) fn tagged(&self, tags: &ClientTags) -> Self {
        let mut reading = self.told_apart("with the client's own tags");
        reading.risk_tags.extend(tags.risk_tags.iter().cloned());
        match tags.action {
            Some(action) => reading.with_action(Some(action)),
            None => reading,
        }
    }

    /// The same facts, and beside them what the server says of its tool.
    pub(super) fn annotated(&self, annotations: &Annotations) -> Self {
        let mut reading = self.told_apart("with what the server says of its tool");
        let tags = [
            (annotations.destructive, annotations::DESTRUCTIVE_TAG),
            (annotations.open_world, annotations::OPEN_WORLD_TAG),
        ];
        let said = tags.into_iter().filter(|(said, _)| *said == Some(true));
        reading.risk_tags.extend(said.map(|(_, tag)| tag.to_owned()));
        let action = reading.action.max(annotations.writes().then_some(ActionClass::Write));
        reading.with_action(action)
    }

    /// The same facts of a call that carries a secret.
    pub(super) fn with_secrets(&self) -> Self {
        let mut reading = self.told_apart("with a secret in the call");
        reading.risk_tags.insert(SECRETS_TAG.to_owned());
        reading.has_secrets = true;
        reading
    }

    fn told_apart(&self, by: &str) -> Self {
        let told_apart_by = match self.told_apart_by.as_str() {
            "" => by.to_owned(),
            already => format!("{already}, {by}"),
        };
        Self { told_apart_by, ..self.clone() }
    }
}

/// A label that may be there, not be there, or be there in a form that cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LabelFact<'r> {
    Absent,
    Unknown,
    Known(&'r str),
    /// Whatever matches, for questions about a tool and not about a call.
    AnyOf(&'r Glob),
}

/// What the catalogue makes of a message, before anything the caller can influence.
pub(super) struct BaseReadings {
    /// Never empty.
    pub(super) readings: Vec<Reading>,
    pub(super) catalogue_parts: Vec<Digest>,
}

/// What `server` says of every call to it.
pub(crate) fn plain(server: &CatalogueServer, method: impl Into<Cow<'static, str>>) -> Reading {
    let reading = Reading {
        told_apart_by: String::new(),
        action: None,
        capability: None,
        resource: Fact::Absent,
        labels: Labels::of(&server.labels),
        risk_tags: server.risk_tags.clone(),
        requires: server.requires.clone(),
        has_secrets: false,
        required_scopes: server.credential.required_scopes.clone(),
        forwards_credential: server.credential.forward == Some(true),
        audit: server.audit,
    };
    reading.with_label("mcp.server", server.name.clone()).with_label("mcp.method", method)
}

/// Reads `message` by what `server` says of its target.
pub(super) fn base(message: &McpMessage, server: &CatalogueServer) -> Result<BaseReadings, DotSegment> {
    let plain = plain(server, message.method().word());
    let mut base = BaseReadings { readings: Vec::new(), catalogue_parts: vec![server.digest] };
    let action = action_of(message.method());
    match message.target() {
        Target::Tool(name) => {
            let plain = plain.with_label("mcp.tool", name.clone());
            let found = server.tools.look_up(name);
            let Some((last, others)) = found.split_last() else {
                base.unlisted(&plain, "tool", server);
                return Ok(base);
            };
            let resource = |listed: &Listed| match &listed.resource {
                Some(template) => template.fill(message.arguments()),
                None => Ok(Fact::Absent),
            };
            for listed in others {
                base.listed(plain.clone().with_resource(resource(listed)?), listed, None);
            }
            base.listed(plain.with_resource(resource(last)?), last, None);
        }
        Target::Prompt(name) => {
            base.look_up(plain.with_label("mcp.prompt", name.clone()), "prompt", name, &server.prompts, server, None);
        }
        Target::Completion(CompletionRef::Prompt(name)) => {
            let plain = plain.with_label("mcp.prompt", name.clone());
            base.look_up(plain, "prompt", name, &server.prompts, server, action);
        }
        Target::Resource(uri) => {
            base.look_up(about(&plain, uri), "resource", uri, &server.resources, server, None);
        }
        Target::Completion(CompletionRef::Resource(uri)) => {
            base.look_up(about(&plain, uri), "resource", uri, &server.resources, server, action);
        }
        Target::Subscription { uris, .. } if !uris.is_empty() => {
            for uri in uris {
                base.look_up(about(&plain, uri), "resource", uri, &server.resources, server, None);
            }
        }
        Target::Subscription { .. } | Target::Task(_) | Target::None => {
            base.readings.push(plain.with_action(action));
        }
    }
    Ok(base)
}

impl BaseReadings {
    /// One reading for each entry that is equally specific, or those of what is unlisted. `action` is what the method
    /// itself does, where that is less than the target allows.
    fn look_up(
        &mut self,
        plain: Reading,
        kind: &str,
        name: &str,
        listing: &Listing,
        server: &CatalogueServer,
        action: Option<ActionClass>,
    ) {
        let found = listing.look_up(name);
        if found.is_empty() {
            self.unlisted(&plain, kind, server);
        }
        for listed in found {
            self.listed(plain.clone(), listed, action);
        }
    }

    fn listed(&mut self, plain: Reading, listed: &Listed, action: Option<ActionClass>) {
        self.catalogue_parts.push(listed.digest);
        self.readings.push(plain.listed(listed).with_action(Some(action.unwrap_or(listed.action))));
    }

    /// Nobody has said what it does, so it is judged as each thing it might do.
    fn unlisted(&mut self, plain: &Reading, kind: &str, server: &CatalogueServer) {
        self.catalogue_parts.push(server.unlisted_digest);
        self.readings.extend(plain.as_unlisted(kind, server));
    }
}

fn about(reading: &Reading, uri: &str) -> Reading {
    reading.clone().with_resource(Fact::Known(uri.to_owned()))
}
