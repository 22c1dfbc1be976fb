//! Step 8: the file of `holdpoint serve --notify`, as written → [`NotifySettings`], checked. Everything wrong is said at
//! once, with its place. Secrets stand in files or in the environment, never in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use holdpoint_core::policy::Glob;
use holdpoint_core::yaml::{self, Cursor, Fields, Problem, Problems};
use reqwest::Url;

use super::guard::{Guard, system_lookup};
use super::notice::{EVENTS, EventKind};
use super::slack::{Buttons, Slack, SlackPerson};
use super::webhook::{Secret, Webhook};
use crate::tokens::ISSUER_LOCAL;

/// Most channels and most routes.
const CHANNELS_MAX: usize = 64;
const ROUTES_MAX: usize = 256;
/// A key and the one that replaces it.
const SECRETS_MAX: usize = 2;
const DAY_MS: u64 = 86_400_000;
const SLACK_API: &str = "https://slack.com/api";

/// Who is told what, and how often it is tried.
#[derive(Clone, Debug, Default)]
pub struct NotifySettings {
    pub channels: BTreeMap<String, Channel>,
    pub routes: Vec<Route>,
    pub delivery: Delivery,
}

/// One place where notices arrive.
#[derive(Clone, Debug)]
pub enum Channel {
    Webhook(Webhook),
    Slack(Slack),
}

/// Which notices go to which channels. A list that is empty narrows nothing.
#[derive(Clone, Debug)]
pub struct Route {
    pub channels: BTreeSet<String>,
    pub events: BTreeSet<EventKind>,
    /// Groups whose people are asked.
    pub groups: BTreeSet<String>,
    pub servers: Vec<Glob>,
    pub tenants: BTreeSet<String>,
    pub risk_tags: BTreeSet<String>,
}

/// How hard a delivery is tried.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Tries after which a notice is given up.
    pub tries_max: u32,
    /// Pause after the first failure; each further one is four times as long.
    pub pause_ms_first: u64,
    pub pause_ms_max: u64,
    /// How long a receiver may take to answer.
    pub answer_ms_max: u64,
}

impl Default for Delivery {
    /// Ten tries within about 20 hours: 5 s, 20 s, 80 s, 5 min, 21 min, 85 min, then 6 h each.
    fn default() -> Self {
        Self { tries_max: 10, pause_ms_first: 5_000, pause_ms_max: 6 * 3_600_000, answer_ms_max: 15_000 }
    }
}

/// Why the file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotifySettingsError {
    #[error("cannot read `{}`: {error}", file.display())]
    File { file: PathBuf, error: std::io::Error },
    #[error("`{}` is not taken:\n{text}", file.display())]
    Problems { file: PathBuf, text: String },
}

impl NotifySettings {
    /// Reads a file and the secrets that it points at.
    pub fn load(file: &Path) -> Result<Self, NotifySettingsError> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| NotifySettingsError::File { file: file.to_owned(), error })?;
        Self::read(&text).map_err(|problems| {
            let lines = problems.iter().map(|problem| format!("  {problem}"));
            NotifySettingsError::Problems { file: file.to_owned(), text: lines.collect::<Vec<_>>().join("\n") }
        })
    }

    /// Reads the text of such a file.
    pub fn read(text: &str) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let node = match yaml::read(text, &yaml::Limits::default()) {
            Ok(node) => node,
            Err(located) => {
                for error in located {
                    problems.push(Problem { at: error.at, path: String::new(), message: error.message });
                }
                return Err(problems);
            }
        };
        let settings = settings(&Cursor::root(&node), &mut problems);
        problems.or(settings)
    }

    /// Whether somebody is told of every request that asks this group: by a route that nothing else narrows.
    pub fn covers(&self, event: EventKind, group: &str) -> bool {
        let is_any = group == crate::approvals::quorum::ANY_GROUP;
        self.routes.iter().any(|route| {
            let is_narrow = !route.servers.is_empty() || !route.tenants.is_empty() || !route.risk_tags.is_empty();
            let is_ours = is_any || route.groups.is_empty() || route.groups.contains(group);
            route.events.contains(&event) && is_ours && !is_narrow
        })
    }
}

fn settings(root: &Cursor<'_>, problems: &mut Problems) -> Option<NotifySettings> {
    let sections = root.fields(&["channels", "routes", "delivery"], problems)?;
    let channels = sections.require("channels", problems).and_then(|section| channels(&section, problems));
    let routes = sections.require("routes", problems).and_then(|section| {
        let items = section.one_or_more(problems)?;
        if items.len() > ROUTES_MAX {
            section.problem(format!("{} routes, at most {ROUTES_MAX} are taken", items.len()), problems);
            return None;
        }
        let known = channels.as_ref();
        items.iter().map(|item| route(item, known, problems)).collect::<Option<Vec<_>>>()
    });
    let delivery = match sections.get("delivery") {
        Some(section) => delivery(&section, problems),
        None => Some(Delivery::default()),
    };
    let (channels, routes) = (channels?, routes?);
    for name in channels.keys().filter(|name| !routes.iter().any(|route| route.channels.contains(*name))) {
        root.problem(format!("channel `{name}` is named by no route: nothing would ever arrive there"), problems);
    }
    Some(NotifySettings { channels, routes, delivery: delivery? })
}

fn channels(section: &Cursor<'_>, problems: &mut Problems) -> Option<BTreeMap<String, Channel>> {
    let entries = section.entries(problems)?;
    if entries.is_empty() || entries.len() > CHANNELS_MAX {
        section.problem(format!("1 to {CHANNELS_MAX} channels are taken, here are {}", entries.len()), problems);
        return None;
    }
    let mut channels = BTreeMap::new();
    let mut is_whole = true;
    for (name, entry) in entries {
        match channel(&entry, problems) {
            Some(channel) => drop(channels.insert(name.to_owned(), channel)),
            None => is_whole = false,
        }
    }
    is_whole.then_some(channels)
}

fn channel(entry: &Cursor<'_>, problems: &mut Problems) -> Option<Channel> {
    let kinds = entry.fields(&["webhook", "slack"], problems)?;
    match (kinds.get("webhook"), kinds.get("slack")) {
        (Some(webhook), None) => read_webhook(&webhook, problems).map(Channel::Webhook),
        (None, Some(slack)) => read_slack(&slack, problems).map(Channel::Slack),
        (None, None) | (Some(_), Some(_)) => {
            entry.problem("a channel is either a `webhook` or a `slack`", problems);
            None
        }
    }
}

fn read_webhook(section: &Cursor<'_>, problems: &mut Problems) -> Option<Webhook> {
    let fields = section.fields(&["url", "secrets", "allow_private"], problems)?;
    let allow_private = boolean(&fields, "allow_private", problems);
    let url = fields.require("url", problems).and_then(|field| address(&field, allow_private?, problems));
    let secrets = fields.require("secrets", problems).and_then(|field| {
        let items = field.one_or_more(problems)?;
        if items.len() > SECRETS_MAX {
            field.problem(
                "two secrets at most: the new one, and the old one until its receiver has the new one",
                problems,
            );
            return None;
        }
        let secret = |item: &Cursor<'_>, problems: &mut Problems| {
            let text = secret(item, problems)?;
            Secret::parse(&text).map_err(|shape| item.problem(format!("the secret {shape}"), problems)).ok()
        };
        items.iter().map(|item| secret(item, problems)).collect::<Option<Vec<_>>>()
    });
    Some(Webhook { url: url?, secrets: secrets?, allow_private: allow_private? })
}

fn read_slack(section: &Cursor<'_>, problems: &mut Problems) -> Option<Slack> {
    let fields = section.fields(&["channel", "token", "api", "allow_private", "buttons"], problems)?;
    let allow_private = boolean(&fields, "allow_private", problems);
    let channel = fields.require("channel", problems).and_then(|field| field.string(problems)).map(str::to_owned);
    let token = fields.require("token", problems).and_then(|field| secret(&field, problems));
    let api = match fields.get("api") {
        Some(field) => address(&field, allow_private?, problems),
        None => Url::parse(SLACK_API).ok(),
    };
    let buttons = match fields.get("buttons") {
        Some(field) => read_buttons(&field, problems).map(Some),
        None => Some(None),
    };
    Some(Slack {
        channel: channel?,
        token: super::slack::Token::new(token?),
        api: api?,
        allow_private: allow_private?,
        buttons: buttons?,
    })
}

fn read_buttons(section: &Cursor<'_>, problems: &mut Problems) -> Option<Buttons> {
    let fields = section.fields(&["signing_secret", "people", "except_risk_tags"], problems)?;
    let signing_secret = fields.require("signing_secret", problems).and_then(|field| secret(&field, problems));
    let people = fields.require("people", problems).and_then(|field| {
        let entries = field.entries(problems)?;
        let person = |entry: &Cursor<'_>, problems: &mut Problems| {
            let fields = entry.fields(&["subject", "issuer", "groups", "tenant"], problems)?;
            let text = |name: &str, problems: &mut Problems| match fields.get(name) {
                Some(field) => field.string(problems).map(|text| Some(text.to_owned())),
                None => Some(None),
            };
            let subject = fields.require("subject", problems).and_then(|field| field.string(problems));
            let groups = strings(&fields, "groups", problems);
            let (issuer, tenant) = (text("issuer", problems), text("tenant", problems));
            Some(SlackPerson {
                subject: subject?.to_owned(),
                issuer: issuer?.unwrap_or_else(|| ISSUER_LOCAL.to_owned()),
                groups,
                tenant: tenant?,
            })
        };
        let people = entries.iter().map(|(id, entry)| Some(((*id).to_owned(), person(entry, problems)?)));
        people.collect::<Option<BTreeMap<_, _>>>()
    });
    let except_risk_tags = strings(&fields, "except_risk_tags", problems);
    Some(Buttons { signing_secret: super::slack::Token::new(signing_secret?), people: people?, except_risk_tags })
}

fn route(item: &Cursor<'_>, known: Option<&BTreeMap<String, Channel>>, problems: &mut Problems) -> Option<Route> {
    let fields = item.fields(&["channels", "events", "groups", "servers", "tenants", "risk_tags"], problems)?;
    let channels = fields.require("channels", problems).and_then(|field| {
        let names = field.one_or_more(problems)?;
        for name in &names {
            let text = name.string(problems)?;
            if let Some(known) = known.filter(|known| !known.contains_key(text)) {
                let words: Vec<&str> = known.keys().map(String::as_str).collect();
                name.unknown("channel", text, &words, problems);
            }
        }
        Some(names.iter().filter_map(|name| name.node().as_str().map(str::to_owned)).collect())
    });
    let events = match fields.get("events") {
        Some(field) => {
            let items = field.one_or_more(problems)?;
            items.iter().map(|item| item.one_of("event", &EVENTS, problems)).collect::<Option<BTreeSet<_>>>()
        }
        None => Some(EVENTS.iter().map(|(_, event)| *event).collect()),
    };
    let servers = match fields.get("servers") {
        Some(field) => {
            let items = field.one_or_more(problems)?;
            let glob = |item: &Cursor<'_>, problems: &mut Problems| {
                Glob::parse(item.string(problems)?).map_err(|error| item.problem(error, problems)).ok()
            };
            items.iter().map(|item| glob(item, problems)).collect::<Option<Vec<_>>>()
        }
        None => Some(Vec::new()),
    };
    Some(Route {
        groups: strings(&fields, "groups", problems),
        tenants: strings(&fields, "tenants", problems),
        risk_tags: strings(&fields, "risk_tags", problems),
        channels: channels?,
        events: events?,
        servers: servers?,
    })
}

fn delivery(section: &Cursor<'_>, problems: &mut Problems) -> Option<Delivery> {
    let fields = section.fields(&["tries_max", "pause_ms_first", "pause_ms_max", "answer_ms_max"], problems)?;
    let default = Delivery::default();
    let mut take = |name, default, bounds| match fields.get(name) {
        Some(field) => field.whole_number(bounds, problems),
        None => Some(default),
    };
    let tries_max = take("tries_max", default.tries_max.into(), 1..=100);
    let pause_ms_first = take("pause_ms_first", default.pause_ms_first, 10..=DAY_MS);
    let pause_ms_max = take("pause_ms_max", default.pause_ms_max, 10..=DAY_MS);
    let answer_ms_max = take("answer_ms_max", default.answer_ms_max, 100..=60_000);
    Some(Delivery {
        tries_max: u32::try_from(tries_max?).ok()?,
        pause_ms_first: pause_ms_first?,
        pause_ms_max: pause_ms_max?,
        answer_ms_max: answer_ms_max?,
    })
}

/// `https`, or `http` where private addresses are meant, without a name and a password in it.
fn address(field: &Cursor<'_>, allow_private: bool, problems: &mut Problems) -> Option<Url> {
    let url = match Url::parse(field.string(problems)?) {
        Ok(url) => url,
        Err(error) => {
            field.problem(format!("this is no address: {error}"), problems);
            return None;
        }
    };
    let guard = Guard { allow_private, lookup: system_lookup() };
    let trouble = match url.scheme() {
        "https" => guard.check(&url).err(),
        "http" if allow_private => None,
        _ => Some("the address must begin with https:// (or http:// with `allow_private: true`)".to_owned()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        field.problem("an address with a name or password in it is not taken: notices are signed", problems);
        return None;
    }
    if let Some(trouble) = trouble {
        field.problem(trouble, problems);
        return None;
    }
    Some(url)
}

/// The text that `{file: …}` or `{env: …}` points at.
fn secret(field: &Cursor<'_>, problems: &mut Problems) -> Option<String> {
    if field.node().as_str().is_some() {
        field.problem("a secret does not stand here itself: say `{file: PATH}` or `{env: NAME}`", problems);
        return None;
    }
    let fields = field.fields(&["file", "env"], problems)?;
    let text = match (fields.get("file"), fields.get("env")) {
        (Some(file), None) => {
            let path = file.string(problems)?;
            std::fs::read_to_string(path)
                .map_err(|error| file.problem(format!("cannot read `{path}`: {error}"), problems))
        }
        (None, Some(env)) => {
            let name = env.string(problems)?;
            std::env::var(name).map_err(|_| env.problem(format!("`{name}` is not in the environment"), problems))
        }
        (None, None) | (Some(_), Some(_)) => {
            field.problem("say either `{file: PATH}` or `{env: NAME}`", problems);
            return None;
        }
    };
    let text = text.ok()?.trim().to_owned();
    if text.is_empty() {
        field.problem("the secret is empty", problems);
        return None;
    }
    Some(text)
}

fn strings(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> BTreeSet<String> {
    fields.get(name).map(|field| field.strings(problems)).unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn boolean(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<bool> {
    fields.get(name).map_or(Some(false), |field| field.boolean(problems))
}
