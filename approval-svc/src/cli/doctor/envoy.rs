//! What an Envoy says about itself on its admin interface, brought into one shape whatever way it got its configuration.

use std::collections::BTreeMap;

use reqwest::{Client, Url};
use serde_json::Value;

use super::{Finding, Findings, Wanted, gateway};
use crate::cli::client::root_cause;

/// First version that the filter is tested on.
const VERSION_MIN: (u64, u64) = (1, 36);
/// First version that tells a filter whether a client's certificate was validated.
pub(super) const VERSION_MIN_CERTIFICATES: (u64, u64) = (1, 40);

/// One Envoy as it stands.
#[derive(Debug, Default)]
pub(super) struct Dump {
    pub(super) admin: Value,
    /// Major and minor; `None` where it is not known.
    pub(super) version: Option<(u64, u64)>,
    /// Which of its statistics it keeps.
    pub(super) stats_matcher: Value,
    /// How long after an update a listener that it replaces may still finish its calls.
    pub(super) drain_ms: Option<u64>,
    pub(super) listeners: Vec<Value>,
    pub(super) clusters: Vec<Value>,
    /// Route configurations that came apart from their listener.
    pub(super) routes: Vec<Value>,
    /// Filters that came apart from their listener, by name.
    pub(super) filters: BTreeMap<String, Value>,
    pub(super) stats: BTreeMap<String, u64>,
    /// Secrets that come from elsewhere, by name: whether each is there.
    pub(super) secrets: BTreeMap<String, bool>,
}

pub(super) async fn look(http: &Client, admin: &Url, wanted: &Wanted) -> Vec<Finding> {
    let mut seen = Findings::new(format!("envoy {}", admin.as_str().trim_end_matches('/')));
    match read(http, admin, &mut seen).await {
        Ok(dump) => gateway::examine(&dump, wanted, &mut seen),
        Err(why) => {
            let mend = "name the admin interface as Envoy's `admin.address` has it, reachable from here";
            seen.failed("admin", why, mend);
        }
    }
    seen.all
}

async fn read(http: &Client, admin: &Url, seen: &mut Findings) -> Result<Dump, String> {
    let get = async |path: &str| -> Result<String, String> {
        let url = admin.join(path).map_err(|error| error.to_string())?;
        let answer = http.get(url).send().await.map_err(|error| root_cause(&error))?;
        match answer.status() {
            status if status.is_success() => answer.text().await.map_err(|error| root_cause(&error)),
            status => Err(format!("`{path}` answered {status}")),
        }
    };
    let json =
        |text: String| serde_json::from_str::<Value>(&text).map_err(|_| "that is no Envoy admin interface".to_owned());
    let info = json(get("/server_info").await?)?;
    let number = version(&info, seen).ok_or("that is no Envoy admin interface")?;
    let mut dump = sorted(&json(get("/config_dump").await?)?);
    dump.version = Some(number);
    dump.drain_ms = gateway::ms(&info["command_line_options"]["drain_time"]);
    for line in get("/stats?usedonly").await?.lines() {
        if let Some((name, value)) = line.split_once(": ")
            && let Ok(value) = value.parse()
        {
            dump.stats.insert(name.to_owned(), value);
        }
    }
    Ok(dump)
}

/// Which version it is, if it says so, and whether it is one for the filter.
pub(super) fn version(info: &Value, seen: &mut Findings) -> Option<(u64, u64)> {
    let version = info["version"].as_str()?;
    // `<commit>/<version>/<build>/<flags>`
    let version = version.split('/').nth(1).unwrap_or(version);
    let mut parts = version.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let state = info["state"].as_str().unwrap_or("in an unknown state");
    if number < VERSION_MIN {
        seen.failed(
            "version",
            format!("Envoy {version}"),
            "use Envoy 1.36 or later: the filter is tested on no older one",
        );
    } else if state == "LIVE" {
        seen.ok("version", format!("Envoy {version}, live"));
    } else {
        seen.warning("version", format!("Envoy {version}, {state}"), "it takes no calls just now");
    }
    Some(number)
}

/// The parts of a configuration dump.
pub(super) fn sorted(dump: &Value) -> Dump {
    let mut sorted = Dump::default();
    for part in list(&dump["configs"]) {
        if let Some(admin) = part.pointer("/bootstrap/admin") {
            sorted.admin = admin.clone();
        }
        if let Some(matcher) = part.pointer("/bootstrap/stats_config/stats_matcher") {
            sorted.stats_matcher = matcher.clone();
        }
        sorted.listeners.extend(list(&part["static_listeners"]).map(|one| one["listener"].clone()));
        sorted.listeners.extend(list(&part["dynamic_listeners"]).map(|one| one["active_state"]["listener"].clone()));
        for kind in ["static_clusters", "dynamic_active_clusters"] {
            sorted.clusters.extend(list(&part[kind]).map(|one| one["cluster"].clone()));
        }
        for kind in ["static_route_configs", "dynamic_route_configs"] {
            sorted.routes.extend(list(&part[kind]).map(|one| one["route_config"].clone()));
        }
        for (kind, is_there) in [("dynamic_warming_secrets", false), ("dynamic_active_secrets", true)] {
            let names = list(&part[kind]).filter_map(|one| one["name"].as_str());
            sorted.secrets.extend(names.map(|name| (name.to_owned(), is_there)));
        }
        for one in list(&part["ecds_filters"]) {
            let filter = &one["ecds_filter"];
            if let Some(name) = filter["name"].as_str() {
                sorted.filters.insert(name.to_owned(), filter["typed_config"].clone());
            }
        }
    }
    sorted
}

/// The elements of a list; of anything else, none.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
