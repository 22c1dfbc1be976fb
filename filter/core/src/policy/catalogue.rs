//! Step 5: the compiled catalogue: which server a route leads to, and what it says of a tool, resource or prompt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::canonical;
use super::document::{ActionClass, Credential, Entry, Pin, PolicyDocument, Recognition, Server};
use super::glob::Glob;
use super::template::Template;
use crate::decision::AuditLevel;
use crate::digest::Digest;
use crate::envelope::RouteFacts;
use crate::json::canonical::ObjectWriter;
use crate::order;

const PART_TAG: &str = "holdpoint/policy-part/v1";

/// Every server of a policy, by name.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    servers: Vec<CatalogueServer>,
    /// Whether any of them is recognised by its cluster.
    pub(super) reads_cluster: bool,
}

/// One server, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) struct CatalogueServer {
    pub(crate) name: String,
    recognised_by: Recognition,
    pub(crate) requires: BTreeSet<String>,
    pub(crate) risk_tags: BTreeSet<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) unlisted_risk_tags: BTreeSet<String>,
    pub(crate) bind_headers: BTreeSet<String>,
    pub(crate) audit: Option<AuditLevel>,
    pub(crate) credential: Credential,
    pub(crate) tools: Listing,
    pub(crate) resources: Listing,
    pub(crate) prompts: Listing,
    /// Over what it says of every call to it; part of each basis.
    pub(crate) digest: Digest,
    /// Over what it says of what it does not name.
    pub(crate) unlisted_digest: Digest,
}

/// The tools, the resources or the prompts of one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    exact: BTreeMap<String, Listed>,
    /// The most specific first.
    globs: Vec<(Glob, Listed)>,
}

/// What the catalogue says of one tool, resource or prompt.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) action: ActionClass,
    pub(crate) capability: Option<String>,
    pub(crate) resource: Option<Template>,
    pub(crate) risk_tags: BTreeSet<String>,
    pub(crate) requires: BTreeSet<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) audit: Option<AuditLevel>,
    pub(crate) credential: Credential,
    pub(crate) pin: Option<Pin>,
    /// Over the entry and the name or pattern it stands under; part of each basis it took part in.
    pub(crate) digest: Digest,
}

/// Why a route leads to no one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerError {
    /// No server of the catalogue is recognised.
    None,
    /// More than one is; their names.
    Several(Vec<String>),
    /// The route names a server, and the one recognised is not recognised by that name.
    NotNamed { metadata: String, recognised: String },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("this route leads to no server of the catalogue; add it under `servers`"),
            Self::Several(names) => {
                write!(
                    f,
                    "this route leads to several servers of the catalogue ({}); narrow their `match`",
                    names.join(", ")
                )
            }
            Self::NotNamed { metadata, recognised } => write!(
                f,
                "the route names server `{metadata}` and the catalogue recognises `{recognised}`; name it in `match.route_metadata`"
            ),
        }
    }
}

impl std::error::Error for ServerError {}

impl Catalogue {
    pub(super) fn compile(document: &PolicyDocument) -> Self {
        let servers = document.servers.iter();
        Self {
            reads_cluster: servers.clone().any(|(_, server)| !server.recognised_by.clusters.is_empty()),
            servers: servers.map(|(name, server)| CatalogueServer::compile(name, server)).collect(),
        }
    }

    /// The server of that name.
    pub(crate) fn server(&self, name: &str) -> Option<&CatalogueServer> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The one server that `route` leads to.
    pub(crate) fn recognise(&self, route: &RouteFacts) -> Result<&CatalogueServer, ServerError> {
        let mut found = self.servers.iter().filter(|server| recognises(&server.recognised_by, route));
        let server = match (found.next(), found.next()) {
            (None, _) => return Err(ServerError::None),
            (Some(server), None) => server,
            (Some(one), Some(two)) => {
                let several = [one, two].into_iter().chain(found);
                return Err(ServerError::Several(several.map(|server| server.name.clone()).collect()));
            }
        };
        // Route metadata is the one fact that no client can bend, so nothing weaker may contradict it.
        match &route.metadata_server {
            Some(metadata) if !server.recognised_by.route_metadata.contains(metadata) => {
                Err(ServerError::NotNamed { metadata: metadata.clone(), recognised: server.name.clone() })
            }
            Some(_) | None => Ok(server),
        }
    }
}

impl CatalogueServer {
    fn compile(name: &str, server: &Server) -> Self {
        let part = |kind: &str, written: String| {
            let text = ObjectWriter::new().string("server", name).fragment(kind.to_owned(), written).finish();
            Digest::tagged(PART_TAG, text.as_bytes())
        };
        Self {
            name: name.to_owned(),
            recognised_by: server.recognised_by.clone(),
            requires: server.requires.clone(),
            risk_tags: server.risk_tags.clone(),
            labels: server.labels.clone(),
            unlisted_risk_tags: server.unlisted_risk_tags.clone(),
            bind_headers: server.bind_headers.clone(),
            audit: server.audit,
            credential: server.credential.clone(),
            tools: Listing::compile(name, "tool", &server.tools),
            resources: Listing::compile(name, "resource", &server.resources),
            prompts: Listing::compile(name, "prompt", &server.prompts),
            digest: part("facts", canonical::server_facts(server).finish()),
            unlisted_digest: part("unlisted", canonical::unlisted(server)),
        }
    }
}

impl Listing {
    fn compile(server: &str, kind: &str, entries: &BTreeMap<Glob, Entry>) -> Self {
        let mut listing = Self::default();
        for (glob, entry) in entries {
            let text = ObjectWriter::new()
                .string("server", server)
                .string(kind.to_owned(), glob.as_str())
                .fragment("entry", canonical::entry(entry))
                .finish();
            let listed = Listed {
                action: entry.action,
                capability: entry.capability.clone(),
                resource: entry.resource.clone(),
                risk_tags: entry.risk_tags.clone(),
                requires: entry.requires.clone(),
                labels: entry.labels.clone(),
                audit: entry.audit,
                credential: entry.credential.clone(),
                pin: entry.pin.clone(),
                digest: Digest::tagged(PART_TAG, text.as_bytes()),
            };
            if glob.is_literal() {
                listing.exact.insert(glob.as_str().to_owned(), listed);
            } else {
                listing.globs.push((glob.clone(), listed));
            }
        }
        listing.globs = order::sorted(listing.globs, |(one, _), (two, _)| {
            two.literal_bytes().cmp(&one.literal_bytes()).then_with(|| one.cmp(two))
        });
        listing
    }

    /// Every entry, with the name or pattern it stands under.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Glob, &Listed)> {
        let named = self.exact.iter().filter_map(|(name, listed)| Some((Glob::parse(name).ok()?, listed)));
        named.chain(self.globs.iter().map(|(glob, listed)| (glob.clone(), listed)))
    }

    /// The entry of that very name.
    pub(crate) fn named(&self, name: &str) -> Option<&Listed> {
        self.exact.get(name)
    }

    /// What the catalogue says of `name`: the entry of that very name, else the most specific pattern, which is the one
    /// with most fixed characters. Patterns equally specific are all returned, and each becomes a reading. Empty when
    /// it is unlisted.
    pub(crate) fn look_up(&self, name: &str) -> Vec<&Listed> {
        if let Some(listed) = self.exact.get(name) {
            return vec![listed];
        }
        let mut matching = self.globs.iter().filter(|(glob, _)| glob.matches(name));
        let Some((first, listed)) = matching.next() else {
            return Vec::new();
        };
        let tied = matching.take_while(|(glob, _)| glob.literal_bytes() == first.literal_bytes());
        std::iter::once(listed).chain(tied.map(|(_, listed)| listed)).collect()
    }
}

fn recognises(by: &Recognition, route: &RouteFacts) -> bool {
    let metadata = by.route_metadata.is_empty()
        || route.metadata_server.as_ref().is_some_and(|name| by.route_metadata.contains(name));
    let host = by.hosts.is_empty()
        || route.host.as_deref().map(plain_host).is_some_and(|host| by.hosts.iter().any(|glob| glob.matches(&host)));
    let path = by.path_prefixes.is_empty() || by.path_prefixes.iter().any(|prefix| is_under(prefix, &route.path));
    let cluster = by.clusters.is_empty() || route.cluster.as_ref().is_some_and(|name| by.clusters.contains(name));
    metadata && host && path && cluster
}

/// The host in lower case, without port and without the final dot of an absolute name.
fn plain_host(host: &str) -> String {
    let lower = host.to_ascii_lowercase();
    let name = match lower.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => &lower,
    };
    name.strip_suffix('.').unwrap_or(name).to_owned()
}

/// Whether `path` lies under `prefix`, on a segment boundary. A path that a server could resolve to another place (dot
/// segments, encoded slashes or dots, backslashes, empty segments) lies under nothing.
fn is_under(prefix: &str, path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    let slippery = ["//", "\\", "%2f", "%5c", "%2e", "%25"].iter().any(|part| lower.contains(part))
        || path.split('/').any(|segment| {
            let name = segment.split(';').next().unwrap_or_default();
            matches!(name, "." | "..")
        });
    if slippery {
        return false;
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
