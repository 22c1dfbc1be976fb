//! Step 11: servers as people see them: what they offer under which definition, who calls it, and what changed.

use std::collections::BTreeMap;

use askama::Template;
use holdpoint_core::definition::DefinitionKind;
use holdpoint_core::digest::Digest;

use super::{CallText, Difference, Frame, Shown, When, short, shown};
use crate::inventory::difference;
use crate::inventory::view::{ItemView, ServerLine, ServerView, ServersView};
use crate::store::inventory::{DefinitionRow, DriftChange, IntroductionRow};

/// Callers and changes on one page.
const ROWS_MAX: usize = 100;
/// Callers that are named beside one tool.
const CALLERS_NAMED_MAX: usize = 3;

/// `GET /inventory`
#[derive(Debug, Template)]
#[template(path = "inventory.html")]
pub struct InventoryPage {
    pub frame: Frame,
    pub servers: Vec<ServerRow>,
}

/// One server in the list.
#[derive(Debug)]
pub struct ServerRow {
    pub name: Shown,
    pub address: String,
    pub introduced: Option<Shown>,
    /// `3 tools, 1 prompt`
    pub offers: String,
    pub unclassified: usize,
    pub changed: usize,
    pub first: When,
    pub last: When,
}

/// `GET /inventory/{server}`
#[derive(Debug, Template)]
#[template(path = "server.html")]
pub struct ServerPage {
    pub frame: Frame,
    pub server: ServerRow,
    pub introductions: Vec<Introduced>,
    pub groups: Vec<Group>,
    pub drift: Vec<Drift>,
    pub callers: Vec<Caller>,
    /// Whether any gateway has said which policy it has in force.
    pub has_policy: bool,
}

/// How a server introduced itself.
#[derive(Debug)]
pub struct Introduced {
    pub words: Shown,
    pub first: When,
    pub last: When,
}

/// Tools, or resources, or prompts.
#[derive(Debug)]
pub struct Group {
    pub id: &'static str,
    pub title: &'static str,
    pub items: Vec<Item>,
}

/// One thing that a server offers.
#[derive(Debug)]
pub struct Item {
    pub name: Shown,
    pub address: String,
    pub digest: String,
    pub short: String,
    pub pills: Vec<Pill>,
    pub first: When,
    pub last: When,
    pub changed: Option<When>,
    /// Who called it, in words.
    pub callers: Option<Shown>,
}

/// How something stands, in a word.
#[derive(Debug)]
pub struct Pill {
    pub tone: &'static str,
    pub words: &'static str,
}

/// One change.
#[derive(Debug)]
pub struct Drift {
    pub words: &'static str,
    pub tone: &'static str,
    pub name: Shown,
    pub address: String,
    pub at: When,
}

/// Who called what.
#[derive(Debug)]
pub struct Caller {
    pub who: Shown,
    pub tenant: Option<Shown>,
    pub target: Option<Shown>,
    pub calls: u64,
    pub last: When,
}

/// `GET /inventory/{server}/definition`
#[derive(Debug, Template)]
#[template(path = "definition.html")]
pub struct DefinitionPage {
    pub frame: Frame,
    pub server: Shown,
    pub back: String,
    pub item: Item,
    pub kind: &'static str,
    pub versions: Vec<Version>,
    /// What is pinned and was never seen, or is kept no longer.
    pub pinned_elsewhere: Vec<String>,
}

/// One definition, the latest first.
#[derive(Debug)]
pub struct Version {
    pub digest: String,
    pub pills: Vec<Pill>,
    pub first: When,
    pub last: When,
    /// Of the latest: how it differs, and from which.
    pub difference: Option<(&'static str, Difference)>,
    /// Absent where it was too long to be kept.
    pub text: Option<CallText>,
}

impl InventoryPage {
    pub fn new(frame: Frame, view: &ServersView) -> Self {
        let now_ms = frame.now_ms;
        Self { servers: view.servers.iter().map(|line| ServerRow::new(line, now_ms)).collect(), frame }
    }
}

impl ServerRow {
    fn new(line: &ServerLine, now_ms: u64) -> Self {
        let count = |count: usize, one: &str, many: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {many}")),
        };
        let offers: Vec<String> = [
            count(line.tools, "tool", "tools"),
            count(line.resources, "resource", "resources"),
            count(line.prompts, "prompt", "prompts"),
        ]
        .into_iter()
        .flatten()
        .collect();
        Self {
            name: shown(&line.server),
            address: address(&line.server, None),
            introduced: line.introduced.as_ref().map(|one| shown(&introduction(one))),
            offers: if offers.is_empty() { "nothing listed".to_owned() } else { offers.join(", ") },
            unclassified: line.unclassified,
            changed: line.changed,
            first: When::new(line.first_seen_ms, now_ms),
            last: When::new(line.last_seen_ms, now_ms),
        }
    }
}

/// A server's own words for itself: name, version, protocol.
fn introduction(row: &IntroductionRow) -> String {
    let said = &row.introduction;
    let speaks = if said.protocol.is_empty() { String::new() } else { format!("MCP {}", said.protocol) };
    let can: Vec<&str> = said.capabilities.iter().map(String::as_str).collect();
    let parts = [format!("{} {}", said.name, said.version).trim().to_owned(), speaks, can.join(", ")];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

impl ServerPage {
    pub fn new(frame: Frame, view: &ServerView) -> Self {
        let now_ms = frame.now_ms;
        let server = &view.line.server;
        let mut called: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for row in &view.callers {
            called.entry(&row.target).or_default().push(&row.caller.subject);
        }
        let group = |id: &'static str, title: &'static str, kinds: &[DefinitionKind]| {
            let items = view.items.iter().filter(|item| kinds.contains(&item.kind));
            let items: Vec<Item> =
                items.map(|item| Item::new(server, item, called.get(item.name.as_str()), now_ms)).collect();
            (!items.is_empty()).then_some(Group { id, title, items })
        };
        let groups = [
            group("tools", "Tools", &[DefinitionKind::Tool]),
            group("resources", "Resources", &[DefinitionKind::Resource, DefinitionKind::ResourceTemplate]),
            group("prompts", "Prompts", &[DefinitionKind::Prompt]),
        ];
        let drift = view.drift.iter().take(ROWS_MAX).map(|row| {
            let (words, tone) = match row.change {
                DriftChange::New => ("new", "plain"),
                DriftChange::Changed => ("changed", "warn"),
                DriftChange::Removed => ("no longer listed", "plain"),
            };
            let address = address(server, Some((row.kind, &row.name)));
            Drift { words, tone, name: shown(&row.name), address, at: When::new(row.at_ms, now_ms) }
        });
        let introduced = |row: &IntroductionRow| Introduced {
            words: shown(&introduction(row)),
            first: When::new(row.first_seen_ms, now_ms),
            last: When::new(row.last_seen_ms, now_ms),
        };
        let callers = view.callers.iter().take(ROWS_MAX).map(|row| {
            let agent =
                Some(row.caller.agent.as_str()).filter(|agent| !agent.is_empty() && *agent != row.caller.subject);
            let who = match agent {
                Some(agent) => format!("{agent} for {}", row.caller.subject),
                None => row.caller.subject.clone(),
            };
            let some = |text: &str| Some(text).filter(|text| !text.is_empty()).map(shown);
            Caller {
                who: shown(&who),
                tenant: some(&row.caller.tenant),
                target: some(&row.target),
                calls: row.calls,
                last: When::new(row.last_seen_ms, now_ms),
            }
        });
        Self {
            server: ServerRow::new(&view.line, now_ms),
            introductions: view.introductions.iter().map(introduced).collect(),
            groups: groups.into_iter().flatten().collect(),
            drift: drift.collect(),
            callers: callers.collect(),
            has_policy: view.items.iter().any(|item| item.is_classified.is_some()),
            frame,
        }
    }
}

impl Item {
    fn new(server: &str, item: &ItemView, callers: Option<&Vec<&str>>, now_ms: u64) -> Self {
        let mut pills = Vec::new();
        let mut pill = |holds: bool, tone: &'static str, words: &'static str| {
            pills.extend(holds.then_some(Pill { tone, words }));
        };
        pill(item.is_removed, "plain", "no longer listed");
        pill(item.is_pin_broken(), "bad", "not as pinned");
        pill(!item.pinned.is_empty() && !item.is_pin_broken(), "good", "as pinned");
        pill(item.is_classified == Some(false), "warn", "unclassified");
        let callers = callers.map(|names| {
            let mut named: Vec<&str> = names.iter().copied().take(CALLERS_NAMED_MAX).collect();
            named.dedup();
            let more = names.len().saturating_sub(CALLERS_NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{}{more}", named.join(", "))
        });
        let digest = item.definition.to_string();
        Self {
            name: shown(&item.name),
            address: address(server, Some((item.kind, &item.name))),
            short: short(&digest),
            digest,
            pills,
            first: When::new(item.first_seen_ms, now_ms),
            last: When::new(item.last_seen_ms, now_ms),
            changed: item.changed_at_ms.map(|at_ms| When::new(at_ms, now_ms)),
            callers: callers.as_deref().map(shown),
        }
    }
}

impl DefinitionPage {
    pub fn new(frame: Frame, server: &str, item: &ItemView, rows: &[DefinitionRow]) -> Self {
        let now_ms = frame.now_ms;
        let version = |(at, row): (usize, &DefinitionRow)| {
            let mut pills = Vec::new();
            if row.digest == item.definition {
                pills.push(Pill { tone: "plain", words: "the latest" });
            }
            if item.pinned.contains(&row.digest) {
                pills.push(Pill { tone: "good", words: "pinned" });
            }
            // With the pinned one, for that is what people vouched for; else with the one before.
            let pinned = rows.iter().find(|row| item.pinned.contains(&row.digest));
            let (words, other) = match pinned.filter(|pinned| pinned.digest != row.digest) {
                Some(pinned) => ("the pinned one", Some(pinned)),
                None => ("the one before", rows.get(1)),
            };
            let texts = other.and_then(|other| other.text.as_deref()).zip(row.text.as_deref()).filter(|_| at == 0);
            let difference = texts.map(|(before, after)| (words, Difference::new(&difference::lines(before, after))));
            Version {
                digest: row.digest.to_string(),
                pills,
                first: When::new(row.first_seen_ms, now_ms),
                last: When::new(row.last_seen_ms, now_ms),
                difference,
                text: row.text.as_deref().map(CallText::new),
            }
        };
        let is_kept = |digest: &&Digest| rows.iter().any(|row| row.digest == **digest);
        Self {
            server: shown(server),
            back: address(server, None),
            item: Item::new(server, item, None, now_ms),
            kind: match item.kind {
                DefinitionKind::Tool => "tool",
                DefinitionKind::Resource => "resource",
                DefinitionKind::ResourceTemplate => "resource template",
                DefinitionKind::Prompt => "prompt",
            },
            versions: rows.iter().enumerate().map(version).collect(),
            pinned_elsewhere: item.pinned.iter().filter(|digest| !is_kept(digest)).map(Digest::to_string).collect(),
            frame,
        }
    }
}

/// Where a server, or one thing of it, has its page.
pub(super) fn address(server: &str, of: Option<(DefinitionKind, &str)>) -> String {
    // Only the part behind the host is kept.
    let Ok(mut url) = reqwest::Url::parse("http://here/inventory") else { return "/inventory".to_owned() };
    if let Ok(mut path) = url.path_segments_mut() {
        path.push(server);
        if of.is_some() {
            path.push("definition");
        }
    }
    if let Some((kind, name)) = of {
        url.query_pairs_mut().append_pair("kind", kind.as_str()).append_pair("name", name);
    }
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}
