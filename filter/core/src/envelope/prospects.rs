//! Step 11: how a call of a listed tool, resource or prompt would be read, before anybody has made it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::readings::{Reading, plain};
use super::topic::Topic;
use crate::digest::Digest;
use crate::policy::{ActionClass, CatalogueServer, Fact, Glob, Listed, Listing};

/// One entry of a list that a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered<'n> {
    Tool(&'n str),
    /// A URI.
    Resource(&'n str),
    /// A URI template (RFC 6570).
    ResourceTemplate(&'n str),
    Prompt(&'n str),
}

/// One way to use what is offered. It can be called that way if each of `readings` can be, as any of its variants:
/// which one it is depends on the arguments.
#[derive(Clone)]
pub(crate) struct Prospect {
    pub(crate) topic: Topic,
    pub(crate) readings: Vec<Vec<Reading>>,
}

/// How calls of what one server offers would be read.
pub(crate) struct Prospects<'s> {
    server: &'s CatalogueServer,
    /// By the catalogue's entries that a tool falls under: tools under the same entries differ in their names alone, so
    /// that a long list makes few readings.
    tools: BTreeMap<Vec<Digest>, Prospect>,
}

impl<'s> Prospects<'s> {
    pub(crate) fn new(server: &'s CatalogueServer) -> Self {
        Self { server, tools: BTreeMap::new() }
    }

    /// Every way to use `offered`; none when every call of it would be refused before any rule.
    pub(crate) fn of(&mut self, offered: Offered<'_>) -> Cow<'_, [Prospect]> {
        let server = self.server;
        let made = match offered {
            Offered::Tool(name) => return Cow::Borrowed(std::slice::from_ref(self.of_tool(name))),
            Offered::Prompt(name) => {
                let base = plain(server, "prompts/get").with_label("mcp.prompt", name.to_owned());
                let readings = of_listing(&base, "prompt", name, &server.prompts, server);
                vec![Prospect { topic: Topic::Prompt, readings }]
            }
            Offered::Resource(uri) if !super::seal::is_plain(uri) => Vec::new(),
            Offered::Resource(uri) => WAYS_TO_RESOURCES
                .into_iter()
                .map(|(topic, method)| {
                    let base = plain(server, method).with_resource(Fact::Known(uri.to_owned()));
                    Prospect { topic, readings: of_listing(&base, "resource", uri, &server.resources, server) }
                })
                .collect(),
            Offered::ResourceTemplate(template) => match expansions(template) {
                // Too long a pattern to be judged by: not hidden, and each call of it is judged by itself.
                None => vec![Prospect { topic: Topic::Resource, readings: Vec::new() }],
                Some(texts) => WAYS_TO_RESOURCES
                    .into_iter()
                    .flat_map(|(topic, method)| of_template(&plain(server, method), topic, &texts, server))
                    .collect(),
            },
        };
        Cow::Owned(made)
    }

    fn of_tool(&mut self, name: &str) -> &Prospect {
        let server = self.server;
        let found = server.tools.look_up(name);
        let entries = found.iter().map(|listed| listed.digest).collect();
        let prospect = self.tools.entry(entries).or_insert_with(|| {
            let base = plain(server, "tools/call");
            let readings = match found.is_empty() {
                true => base.as_unlisted("tool", server).into_iter().map(|reading| vec![reading]).collect(),
                false => found.iter().map(|listed| about_resources(&base, listed)).collect(),
            };
            Prospect { topic: Topic::Tool, readings }
        });
        prospect.readings.iter_mut().flatten().for_each(|reading| reading.rename("mcp.tool", name));
        prospect
    }
}

const WAYS_TO_RESOURCES: [(Topic, &str); 2] =
    [(Topic::Resource, "resources/read"), (Topic::Subscription, "resources/subscribe")];

fn of_listing(
    base: &Reading,
    kind: &str,
    name: &str,
    listing: &Listing,
    server: &CatalogueServer,
) -> Vec<Vec<Reading>> {
    let found = listing.look_up(name);
    let readings: Vec<Reading> = match found.is_empty() {
        true => base.as_unlisted(kind, server),
        false => found.into_iter().map(|listed| as_listed(base, listed)).collect(),
    };
    readings.into_iter().map(|reading| vec![reading]).collect()
}

fn as_listed(base: &Reading, listed: &Listed) -> Reading {
    base.clone().listed(listed).with_action(Some(listed.action))
}

/// The reading of a listed tool, for every way in which its arguments may name a resource.
fn about_resources(base: &Reading, listed: &Listed) -> Vec<Reading> {
    let resources = match &listed.resource {
        None => vec![Fact::Absent],
        Some(template) => match template.as_glob() {
            Some(texts) if texts.is_literal() => vec![Fact::Known(texts.as_str().to_owned())],
            Some(texts) => vec![Fact::Absent, Fact::Unknown, Fact::AnyOf(texts)],
            None => vec![Fact::Absent, Fact::Unknown, Fact::AnyOf(Glob::anything())],
        },
    };
    resources.into_iter().map(|resource| as_listed(&base.clone().with_resource(resource), listed)).collect()
}

/// One prospect for each entry of the catalogue that some expansion falls under, and one for those it does not name.
fn of_template(base: &Reading, topic: Topic, texts: &Glob, server: &CatalogueServer) -> Vec<Prospect> {
    let entries: Vec<(Glob, &Listed)> = server.resources.entries().collect();
    let mut prospects = Vec::new();
    for (pattern, listed) in entries.iter().filter(|(pattern, _)| pattern.overlaps(texts)) {
        let both = if texts.covers(pattern) { pattern } else { texts };
        let is_shadowed = entries.iter().any(|(other, _)| other.is_before(pattern) && other.covers(both));
        if !is_shadowed {
            let reading = as_listed(&base.clone().with_resource(Fact::AnyOf(both.clone())), listed);
            prospects.push(Prospect { topic, readings: vec![vec![reading]] });
        }
    }
    if !entries.iter().any(|(pattern, _)| pattern.covers(texts)) {
        let base = base.clone().with_resource(Fact::AnyOf(texts.clone()));
        let readings = base.as_unlisted("resource", server).into_iter().map(|reading| vec![reading]).collect();
        prospects.push(Prospect { topic, readings });
    }
    prospects
}

/// What a URI template expands to. Clients and servers differ in what they put in for an expression, so it may be
/// anything.
fn expansions(template: &str) -> Option<Glob> {
    let mut pattern = String::new();
    let mut rest = template;
    while let Some((fixed, after)) = rest.split_once('{') {
        let (_, tail) = after.split_once('}')?;
        pattern.push_str(&fixed.replace('*', "**"));
        pattern.push_str("**");
        rest = tail;
    }
    pattern.push_str(&rest.replace('*', "**"));
    Glob::parse(&pattern).ok()
}

impl Reading {
    /// What nobody has classed, as each thing it might do.
    pub(super) fn as_unlisted(&self, kind: &str, server: &CatalogueServer) -> Vec<Self> {
        let unlisted = ActionClass::ALL.into_iter().map(|action| {
            let mut reading = self.clone().with_action(Some(action));
            reading.risk_tags.extend(server.unlisted_risk_tags.iter().cloned());
            reading.told_apart_by = format!("as a {kind} the catalogue does not name, read as {}", action.as_str());
            reading
        });
        unlisted.collect()
    }
}
