//! Reads the catalogue: `servers:` with what they expose.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{globs, set, set_or_none};
use super::rules::{self, AUDIT_LEVELS};
use super::{ActionClass, Credential, Entry, Pin, Recognition, Server};
use crate::decision::{ApprovalRequirement, Verdict};
use crate::digest::Digest;
use crate::order;
use crate::policy::glob::Glob;
use crate::policy::template::Template;
use crate::yaml::{Cursor, Kind, Problems};

const SERVER_FIELDS: [&str; 11] = [
    "match",
    "requires",
    "risk_tags",
    "labels",
    "unlisted",
    "bind_headers",
    "tools",
    "resources",
    "prompts",
    "credential",
    "audit",
];
/// Headers that hold credentials whatever the catalogue says.
pub(crate) const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
const MATCH_FIELDS: [&str; 4] = ["route_metadata", "hosts", "path_prefixes", "clusters"];
const ENTRY_FIELDS: [&str; 9] =
    ["action", "capability", "resource", "risk_tags", "requires", "labels", "definition", "audit", "credential"];
pub(super) const ACTIONS: [(&str, ActionClass); 3] =
    [("read", ActionClass::Read), ("write", ActionClass::Write), ("admin", ActionClass::Admin)];
const ON_CHANGE: [(&str, Verdict); 2] = [("deny", Verdict::Deny), ("require_approval", Verdict::RequireApproval)];
const ON_UNSEEN: [(&str, Verdict); 3] =
    [("deny", Verdict::Deny), ("require_approval", Verdict::RequireApproval), ("allow", Verdict::Allow)];
const NAME_BYTES_MAX: usize = 128;

pub(super) fn read(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for (name, cursor) in cursor.entries(problems).unwrap_or_default() {
        let cursor = cursor.about(&format!("server `{name}`"));
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(|c: char| c.is_control() || c == '*') {
            cursor.problem(
                format!("a server name has 1 to {NAME_BYTES_MAX} bytes, no `*`, no control characters"),
                problems,
            );
        }
        if let Some(server) = server(name, &cursor, problems) {
            servers.insert(name.to_owned(), server);
        }
    }
    servers
}

fn server(name: &str, cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Server> {
    let fields = cursor.fields(&SERVER_FIELDS, problems)?;
    let recognised_by = match fields.get("match") {
        Some(cursor) => recognition(&cursor, problems),
        None => Recognition { route_metadata: order::set([name.to_owned()]), ..Recognition::default() },
    };
    let unlisted_risk_tags = fields.get("unlisted").and_then(|unlisted| {
        let fields = unlisted.fields(&["risk_tags"], problems)?;
        fields.get("risk_tags").map(|tags| set_or_none(&tags, problems))
    });
    let mut sets = |name: &str| fields.get(name).map_or_else(BTreeSet::new, |field| set_or_none(&field, problems));
    let (requires, risk_tags) = (sets("requires"), sets("risk_tags"));
    let credential =
        fields.get("credential").map_or_else(Credential::default, |field| credential(&field, true, problems));
    let bind_headers = fields.get("bind_headers").map_or_else(BTreeSet::new, |field| headers(&field, problems));
    for name in bind_headers.iter().filter(|name| holds_credentials(name, &credential)) {
        let why = format!("header `{name}` holds credentials; bound, it would be shown to approvers and kept");
        fields.cursor().problem(why, problems);
    }
    Some(Server {
        at: cursor.place(),
        recognised_by,
        requires,
        risk_tags,
        labels: fields.get("labels").map_or_else(BTreeMap::new, |field| labels(&field, problems)),
        unlisted_risk_tags: unlisted_risk_tags.unwrap_or_default(),
        audit: fields.get("audit").and_then(|field| field.one_of("level", &AUDIT_LEVELS, problems)),
        bind_headers,
        credential,
        tools: fields.get("tools").map_or_else(BTreeMap::new, |field| entries(&field, true, problems)),
        resources: fields.get("resources").map_or_else(BTreeMap::new, |field| entries(&field, false, problems)),
        prompts: fields.get("prompts").map_or_else(BTreeMap::new, |field| entries(&field, false, problems)),
    })
}

fn recognition(cursor: &Cursor<'_>, problems: &mut Problems) -> Recognition {
    let Some(fields) = cursor.fields(&MATCH_FIELDS, problems) else {
        return Recognition::default();
    };
    if MATCH_FIELDS.iter().all(|name| fields.get(name).is_none()) {
        cursor.problem("expected at least one of route_metadata, hosts, path_prefixes, clusters", problems);
    }
    let recognition = Recognition {
        route_metadata: fields.get("route_metadata").map_or_else(BTreeSet::new, |field| set(&field, problems)),
        hosts: fields.get("hosts").map_or_else(BTreeSet::new, |field| globs(&field, problems)),
        path_prefixes: fields.get("path_prefixes").map_or_else(BTreeSet::new, |field| set(&field, problems)),
        clusters: fields.get("clusters").map_or_else(BTreeSet::new, |field| set(&field, problems)),
    };
    for host in &recognition.hosts {
        if host.as_str().contains(|c: char| c.is_ascii_uppercase() || matches!(c, ':' | '/')) {
            let message = format!("host `{}`: hosts are lower-case, without scheme, port and path", host.as_str());
            cursor.problem(message, problems);
        }
    }
    for prefix in &recognition.path_prefixes {
        if !prefix.starts_with('/') || prefix.contains(['?', '*', '#']) {
            let message = format!("path prefix `{prefix}`: a prefix starts with `/` and has no `?`, `#` or `*`");
            cursor.problem(message, problems);
        }
    }
    recognition
}

fn headers(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeSet<String> {
    let names = set_or_none(cursor, problems);
    for name in &names {
        let is_token =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if !name.bytes().all(is_token) {
            cursor.problem(format!("header `{name}`: header names are written lower-case here"), problems);
        }
    }
    names
}

/// Reads `credential` of a server or of one of its entries.
fn credential(cursor: &Cursor<'_>, is_server: bool, problems: &mut Problems) -> Credential {
    let known: &[&str] =
        if is_server { &["forward", "required_scopes", "headers"] } else { &["forward", "required_scopes"] };
    let Some(fields) = cursor.fields(known, problems) else { return Credential::default() };
    let required_scopes =
        fields.get("required_scopes").map_or_else(BTreeSet::new, |field| set_or_none(&field, problems));
    for scope in &required_scopes {
        // RFC 6749, section 3.3: a scope is what stands between the spaces.
        if scope.contains(|character: char| character.is_whitespace() || character.is_control()) {
            cursor.problem(format!("scope `{scope}`: one scope has no spaces; write a list of several"), problems);
        }
    }
    Credential {
        // For a server, false is what is said by saying nothing.
        forward: fields
            .get("forward")
            .and_then(|field| field.boolean(problems))
            .filter(|forward| *forward || !is_server),
        required_scopes,
        headers: fields.get("headers").map_or_else(BTreeSet::new, |field| headers(&field, problems)),
    }
}

fn holds_credentials(name: &str, credential: &Credential) -> bool {
    CREDENTIAL_HEADERS.contains(&name) || credential.headers.contains(name)
}

/// Labels of the author's choice. `mcp.` is ours: those come from the message, never from the catalogue.
fn labels(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in cursor.entries(problems).unwrap_or_default() {
        if name.is_empty() || name.starts_with("mcp.") {
            value.problem("label names must not be empty and not start with `mcp.`", problems);
        }
        if let Some(text) = value.string(problems) {
            labels.insert(name.to_owned(), text.to_owned());
        }
    }
    labels
}

fn entries(cursor: &Cursor<'_>, is_tools: bool, problems: &mut Problems) -> BTreeMap<Glob, Entry> {
    let mut entries = BTreeMap::new();
    for (pattern, cursor) in cursor.entries(problems).unwrap_or_default() {
        let glob = Glob::parse(pattern).map_err(|message| cursor.problem(message, problems)).ok();
        let is_literal = glob.as_ref().is_none_or(Glob::is_literal);
        let entry = entry(&cursor, is_tools, is_literal, problems);
        if let (Some(glob), Some(entry)) = (glob, entry) {
            entries.insert(glob, entry);
        }
    }
    entries
}

fn entry(cursor: &Cursor<'_>, is_tool: bool, is_literal: bool, problems: &mut Problems) -> Option<Entry> {
    let fields = cursor.fields(&ENTRY_FIELDS, problems)?;
    let pin = fields.get("definition").and_then(|field| {
        if !is_tool {
            field.problem("only tools are pinned by their definition", problems);
        } else if !is_literal {
            field.problem("a pin is for one tool: give it an entry under its exact name", problems);
        }
        pin(&field, problems)
    });
    let action = fields.require("action", problems);
    let action = action.and_then(|action| action.one_of("action", &ACTIONS, problems));
    let resource = fields.get("resource").and_then(|resource| {
        if !is_tool {
            resource.problem("only tools have a resource template; a resource is its own URI", problems);
        }
        let text = resource.string(problems)?;
        Template::parse(text).map_err(|message| resource.problem(message, problems)).ok()
    });
    let capability = fields.get("capability").and_then(|capability| capability.string(problems));
    let mut sets = |name: &str| fields.get(name).map_or_else(BTreeSet::new, |field| set_or_none(&field, problems));
    let (risk_tags, requires) = (sets("risk_tags"), sets("requires"));
    Some(Entry {
        at: cursor.place(),
        action: action?,
        capability: capability.map(str::to_owned),
        resource,
        risk_tags,
        requires,
        labels: fields.get("labels").map_or_else(BTreeMap::new, |field| labels(&field, problems)),
        audit: fields.get("audit").and_then(|field| field.one_of("level", &AUDIT_LEVELS, problems)),
        credential: fields
            .get("credential")
            .map_or_else(Credential::default, |field| credential(&field, false, problems)),
        pin,
    })
}

/// Reads `definition`: a digest or several, or a mapping that also says what becomes of calls under another definition.
fn pin(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Pin> {
    if !matches!(cursor.node().kind, Kind::Map(_)) {
        let digests = digests(cursor, problems)?;
        let (on_change, on_unseen) = (Verdict::Deny, Verdict::Deny);
        return Some(Pin { digests, on_change, on_unseen, approval: ApprovalRequirement::default() });
    }
    let fields = cursor.fields(&["digest", "on_change", "on_unseen", "approval"], problems)?;
    let digests = fields.require("digest", problems).and_then(|field| digests(&field, problems));
    let on_change = fields.get("on_change").and_then(|field| field.one_of("word", &ON_CHANGE, problems));
    let on_change = on_change.unwrap_or(Verdict::Deny);
    // What was never seen may be anything, so it is no better than what has changed.
    let on_unseen = fields.get("on_unseen").and_then(|field| field.one_of("word", &ON_UNSEEN, problems));
    let on_unseen = on_unseen.unwrap_or(on_change);
    let approval = fields.get("approval").and_then(|field| {
        if on_change != Verdict::RequireApproval && on_unseen != Verdict::RequireApproval {
            field.problem(
                "`approval` belongs to `on_change: require_approval` or `on_unseen: require_approval`",
                problems,
            );
        }
        rules::requirement(&field, problems)
    });
    Some(Pin { digests: digests?, on_change, on_unseen, approval: approval.unwrap_or_default() })
}

fn digests(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<BTreeSet<Digest>> {
    let mut digests = BTreeSet::new();
    for item in cursor.one_or_more(problems)? {
        match item.string(problems)?.parse() {
            Ok(digest) => _ = digests.insert(digest),
            Err(_) => item.problem(
                "expected `sha256:` and 64 lower-case hex digits (print it with `holdpoint inventory pin`)",
                problems,
            ),
        }
    }
    (!digests.is_empty()).then_some(digests)
}
