//! Reads `cases.yaml`, and one call alone. Every problem is told at once, with its place.

use std::collections::{BTreeMap, BTreeSet};

use super::{CallAsSent, Case, CaseFile, Earlier, Expected};
use crate::decision::{AuditLevel, Verdict};
use crate::envelope::{Annotations, RouteFacts};
use crate::identity::{ActorType, Principal};
use crate::json::canonical;
use crate::yaml::{self, Cursor, Fields, Kind, Node, Problems};

const CASES_MAX: usize = 10_000;
/// The protocol version that a case speaks unless its headers say another.
const PROTOCOL_VERSION: &str = "2025-11-25";

const FILE_FIELDS: [&str; 3] = ["policy", "defaults", "cases"];
const CALL_FIELDS: [&str; 6] = ["server", "route", "headers", "principal", "annotations", "definition"];
const CASE_FIELDS: [&str; 10] =
    ["name", "call", "expect", "before", "server", "route", "headers", "principal", "annotations", "definition"];
const EARLIER_FIELDS: [&str; 8] =
    ["call", "ago_ms", "server", "route", "headers", "principal", "annotations", "definition"];
const EARLIER_MAX: usize = 100;
const AGO_MS_MAX: u64 = 7 * 86_400_000;
const ROUTE_FIELDS: [&str; 3] = ["host", "path", "cluster"];
const PRINCIPAL_FIELDS: [&str; 7] = ["issuer", "subject", "agent_id", "actor_type", "tenant", "groups", "scopes"];
const HINTS: [&str; 3] = ["readOnlyHint", "destructiveHint", "openWorldHint"];
const EXPECT_FIELDS: [&str; 9] =
    ["verdict", "rules", "decided_by", "constraints", "approvers", "reason", "conceal", "observed", "audit"];
const AUDIT_LEVELS: [(&str, AuditLevel); 4] = [
    ("metadata", AuditLevel::Metadata),
    ("digest", AuditLevel::Digest),
    ("redacted", AuditLevel::Redacted),
    ("full", AuditLevel::Full),
];
const VERDICTS: [(&str, Option<Verdict>); 5] = [
    ("allow", Some(Verdict::Allow)),
    ("require_approval", Some(Verdict::RequireApproval)),
    ("deny", Some(Verdict::Deny)),
    ("refused", None),
    ("allow_with_constraints", Some(Verdict::Allow)),
];
const ACTOR_TYPES: [(&str, ActorType); 4] = [
    ("human", ActorType::Human),
    ("agent", ActorType::Agent),
    ("service", ActorType::Service),
    ("anonymous", ActorType::Anonymous),
];

/// Reads a file of cases.
pub fn read_cases(text: &str) -> Result<CaseFile, Problems> {
    let root = yaml::read(text, &yaml::Limits::default()).map_err(Problems::from)?;
    let mut problems = Problems::new();
    let file = file(&Cursor::root(&root), &mut problems);
    problems.or(file)
}

/// Reads one call alone: a case without `name` and `expect`, or a JSON-RPC message with its `method` on top, which is
/// then sent by nobody in particular to `server`.
pub fn read_call(text: &str, server: Option<&str>) -> Result<CallAsSent, Problems> {
    let root = yaml::read(text, &yaml::Limits::default()).map_err(Problems::from)?;
    let mut problems = Problems::new();
    let mut around = CallAsSent { body: String::new(), ..defaults() };
    around.route.metadata_server = server.map(str::to_owned);
    let cursor = Cursor::root(&root);
    let call = if root.get("method").is_some() {
        message(&cursor, &mut problems).map(|body| CallAsSent { body, ..around })
    } else {
        let known = ["call", "before", "server", "route", "headers", "principal", "annotations", "definition"];
        cursor.fields(&known, &mut problems).and_then(|fields| {
            let around = surroundings(&fields, &around, &mut problems);
            let before = earlier(&fields, &around, &mut problems);
            let body = message(&fields.require("call", &mut problems)?, &mut problems)?;
            Some(CallAsSent { body, before, ..around })
        })
    };
    problems.or(call)
}

fn file(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<CaseFile> {
    let fields = cursor.fields(&FILE_FIELDS, problems)?;
    let policy = match fields.get("policy") {
        Some(field) => field.string(problems),
        None => Some("policy.yaml"),
    };
    let mut around = defaults();
    if let Some(fields) = fields.get("defaults").and_then(|field| field.fields(&CALL_FIELDS, problems)) {
        around = surroundings(&fields, &around, problems);
    }
    let list = fields.require("cases", problems)?;
    let cursors = list.list(problems)?;
    if cursors.is_empty() || cursors.len() > CASES_MAX {
        list.problem(format!("expected 1 to {CASES_MAX} cases, found {}", cursors.len()), problems);
    }
    let cases = cursors.iter().filter_map(|cursor| case(cursor, &around, problems)).collect();
    Some(CaseFile { policy: policy?.to_owned(), cases })
}

fn case(cursor: &Cursor<'_>, around: &CallAsSent, problems: &mut Problems) -> Option<Case> {
    let fields = cursor.fields(&CASE_FIELDS, problems)?;
    let name = fields.require("name", problems).and_then(|name| name.string(problems));
    let around = surroundings(&fields, around, problems);
    let before = earlier(&fields, &around, problems);
    let body = fields.require("call", problems).and_then(|call| message(&call, problems));
    let expected = fields.require("expect", problems).and_then(|expect| expected(&expect, problems));
    Some(Case {
        at: cursor.place(),
        name: name?.to_owned(),
        call: CallAsSent { body: body?, before, ..around },
        expected: expected?,
    })
}

/// What a call has when nothing says otherwise.
fn defaults() -> CallAsSent {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    CallAsSent {
        body: String::new(),
        headers: vec![
            header("content-type", "application/json"),
            header("accept", "application/json, text/event-stream"),
            header("mcp-protocol-version", PROTOCOL_VERSION),
        ],
        route: RouteFacts { path: "/mcp".to_owned(), ..RouteFacts::default() },
        principal: Principal {
            issuer: "https://idp.example".to_owned(),
            subject: "user-1".to_owned(),
            agent_id: Some("agent-7".to_owned()),
            actor_type: ActorType::Agent,
            tenant: None,
            groups: BTreeSet::new(),
            scopes: BTreeSet::new(),
        },
        annotations: Annotations::default(),
        before: Vec::new(),
        definition: None,
    }
}

/// What ran before a call: by the same principal, on the same server, unless it says otherwise.
fn earlier(fields: &Fields<'_>, around: &CallAsSent, problems: &mut Problems) -> Vec<Earlier> {
    let Some(field) = fields.get("before") else { return Vec::new() };
    let cursors = field.list(problems).unwrap_or_default();
    if cursors.is_empty() || cursors.len() > EARLIER_MAX {
        field.problem(format!("expected 1 to {EARLIER_MAX} earlier calls, found {}", cursors.len()), problems);
    }
    let read = |cursor: &Cursor<'_>, problems: &mut Problems| {
        let fields = cursor.fields(&EARLIER_FIELDS, problems)?;
        let around = surroundings(&fields, around, problems);
        let body = message(&fields.require("call", problems)?, problems)?;
        let ago_ms = fields.get("ago_ms").map_or(Some(0), |field| field.whole_number(0..=AGO_MS_MAX, problems))?;
        Some(Earlier { at: cursor.place(), call: CallAsSent { body, ..around }, ago_ms })
    };
    cursors.iter().filter_map(|cursor| read(cursor, problems)).collect()
}

/// `base` with what the fields say instead.
fn surroundings(fields: &Fields<'_>, base: &CallAsSent, problems: &mut Problems) -> CallAsSent {
    let mut around = base.clone();
    let text = |fields: &Fields<'_>, name: &str, problems: &mut Problems| {
        fields.get(name).and_then(|field| field.string(problems)).map(str::to_owned)
    };
    if let Some(server) = text(fields, "server", problems) {
        around.route.metadata_server = Some(server);
    }
    if let Some(route) = fields.get("route").and_then(|route| route.fields(&ROUTE_FIELDS, problems)) {
        around.route.host = text(&route, "host", problems).or(around.route.host);
        around.route.cluster = text(&route, "cluster", problems).or(around.route.cluster);
        around.route.path = text(&route, "path", problems).unwrap_or(around.route.path);
    }
    for (name, value) in fields.get("headers").and_then(|headers| headers.entries(problems)).unwrap_or_default() {
        if name.contains(|c: char| c.is_ascii_uppercase()) {
            value.problem(format!("header `{name}`: header names are written lower-case here"), problems);
        }
        let Some(value) = value.string(problems) else { continue };
        match around.headers.iter_mut().find(|(one, _)| one == name) {
            Some((_, old)) => value.clone_into(old),
            None => around.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    if let Some(principal) = fields.get("principal") {
        self::principal(&principal, &mut around.principal, problems);
    }
    if let Some(hints) = fields.get("annotations").and_then(|hints| hints.fields(&HINTS, problems)) {
        let mut hint = |name: &str| hints.get(name).and_then(|field| field.boolean(problems));
        let (read_only, destructive, open_world) =
            (hint("readOnlyHint"), hint("destructiveHint"), hint("openWorldHint"));
        around.annotations = Annotations { read_only, destructive, open_world };
    }
    if let Some(field) = fields.get("definition") {
        match field.string(problems).map(str::parse) {
            Some(Ok(digest)) => around.definition = Some(digest),
            Some(Err(_)) => field.problem("expected `sha256:` and 64 lower-case hex digits", problems),
            None => {}
        }
    }
    around
}

fn principal(cursor: &Cursor<'_>, principal: &mut Principal, problems: &mut Problems) {
    let Some(fields) = cursor.fields(&PRINCIPAL_FIELDS, problems) else { return };
    let mut text = |name: &str| fields.get(name).and_then(|field| field.string(problems)).map(str::to_owned);
    let (issuer, subject, agent_id, tenant) = (text("issuer"), text("subject"), text("agent_id"), text("tenant"));
    let mut names = |name: &str| {
        let field = fields.get(name)?;
        Some(field.list(problems)?.iter().filter_map(|one| one.string(problems)).map(str::to_owned).collect())
    };
    let (groups, scopes) = (names("groups"), names("scopes"));
    let actor_type = fields.get("actor_type").and_then(|field| field.one_of("actor type", &ACTOR_TYPES, problems));
    if actor_type == Some(ActorType::Anonymous) {
        *principal = Principal::anonymous();
        return;
    }
    principal.issuer = issuer.unwrap_or(std::mem::take(&mut principal.issuer));
    principal.subject = subject.unwrap_or(std::mem::take(&mut principal.subject));
    principal.actor_type = actor_type.unwrap_or(principal.actor_type);
    principal.agent_id = match principal.actor_type {
        ActorType::Agent => agent_id.or(principal.agent_id.take()),
        // A client that acts for itself; a person without an agent.
        ActorType::Service => Some(principal.subject.clone()),
        ActorType::Human | ActorType::Anonymous => agent_id,
    };
    principal.tenant = tenant.or(principal.tenant.take());
    principal.groups = groups.unwrap_or(std::mem::take(&mut principal.groups));
    principal.scopes = scopes.unwrap_or(std::mem::take(&mut principal.scopes));
}

/// The JSON-RPC message: a text that is sent as it stands, or `method` and `params`.
fn message(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<String> {
    if let Some(text) = cursor.node().as_str() {
        return Some(text.to_owned());
    }
    let fields = cursor.fields(&["jsonrpc", "id", "method", "params"], problems)?;
    let method = fields.require("method", problems)?.string(problems)?;
    let mut body = String::from("{\"jsonrpc\":\"2.0\"");
    match fields.get("id") {
        Some(id) => {
            body.push_str(",\"id\":");
            json(&id, &mut body, problems);
        }
        None if method.starts_with("notifications/") => {}
        None => body.push_str(",\"id\":1"),
    }
    body.push_str(",\"method\":");
    canonical::string(method, &mut body);
    if let Some(params) = fields.get("params") {
        body.push_str(",\"params\":");
        json(&params, &mut body, problems);
    }
    body.push('}');
    Some(body)
}

/// Writes a value as JSON; numbers stay as they are written, for `1` and `1.0` are two things to a server.
fn json(cursor: &Cursor<'_>, out: &mut String, problems: &mut Problems) {
    write_json(cursor.node(), out).unwrap_or_else(|text| {
        cursor.problem(format!("`{text}` is not a number as JSON writes it; quote it or write it plainly"), problems);
    });
}

/// The error is the text of the number that JSON does not know.
fn write_json(node: &Node, out: &mut String) -> Result<(), String> {
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Kind::Int(text) | Kind::Float(text) => {
            serde_json::from_str::<serde_json::Number>(text).map_err(|_| text.clone())?;
            out.push_str(text);
        }
        Kind::Str(text) => canonical::string(text, out),
        Kind::Seq(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_json(item, out)?;
            }
            out.push(']');
        }
        Kind::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical::string(key.as_str().unwrap_or_default(), out);
                out.push(':');
                write_json(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn expected(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<Expected> {
    let fields = cursor.fields(&EXPECT_FIELDS, problems)?;
    let word = fields.require("verdict", problems);
    let verdict = word.as_ref().and_then(|word| word.one_of("verdict", &VERDICTS, problems));
    let constraints = match fields.get("constraints") {
        Some(field) => written(&field, problems),
        None => BTreeMap::new(),
    };
    if let Some(word) = word.filter(|word| word.node().as_str() == Some("allow_with_constraints"))
        && constraints.is_empty()
    {
        word.problem("`allow_with_constraints` needs `constraints`", problems);
    }
    let rules = fields.get("rules").and_then(|field| {
        Some(field.list(problems)?.iter().filter_map(|rule| rule.string(problems)).map(str::to_owned).collect())
    });
    let mut text = |name: &str| fields.get(name).and_then(|field| field.string(problems)).map(str::to_owned);
    let (decided_by, reason) = (text("decided_by"), text("reason"));
    let conceal = fields.get("conceal").and_then(|field| field.boolean(problems));
    let approvers = fields.get("approvers").and_then(|field| approvers(&field, problems));
    let observed = fields.get("observed").and_then(|field| field.one_of("verdict", &VERDICTS, problems)).flatten();
    let audit = fields.get("audit").and_then(|field| field.one_of("level", &AUDIT_LEVELS, problems));
    let verdict = verdict?;
    Some(Expected { verdict, rules, decided_by, constraints, approvers, reason, conceal, observed, audit })
}

fn approvers(cursor: &Cursor<'_>, problems: &mut Problems) -> Option<BTreeMap<String, u32>> {
    let mut groups = BTreeMap::new();
    for entry in cursor.list(problems)? {
        let Some(fields) = entry.fields(&["group", "min"], problems) else { continue };
        let group = fields.require("group", problems).and_then(|group| group.string(problems));
        let min = fields.get("min").map_or(Some(1), |min| min.whole_number(1..=u64::from(u32::MAX), problems));
        let (Some(group), Some(min)) = (group, min.and_then(|min| u32::try_from(min).ok())) else { continue };
        groups.insert(group.to_owned(), min);
    }
    Some(groups)
}

/// Leaves by their path, as [`super::constraints`] writes what was decided.
fn written(cursor: &Cursor<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    fn walk(node: &Node, path: &str, out: &mut BTreeMap<String, String>) -> Result<(), String> {
        if let Kind::Map(entries) = &node.kind {
            for (key, value) in entries {
                let name = key.as_str().unwrap_or_default();
                let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                walk(value, &path, out)?;
            }
            return Ok(());
        }
        let mut text = String::new();
        write_json(node, &mut text)?;
        out.insert(path.to_owned(), text);
        Ok(())
    }
    let mut leaves = BTreeMap::new();
    if !matches!(cursor.node().kind, Kind::Map(_)) {
        cursor.expected("a mapping, as a rule's `constraints`", problems);
    } else if let Err(text) = walk(cursor.node(), "", &mut leaves) {
        cursor.problem(format!("`{text}` is not a number as JSON writes it"), problems);
    }
    leaves
}
