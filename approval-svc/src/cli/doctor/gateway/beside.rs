//! What stands beside the filter and is easily forgotten: what Envoy counts, who else bears its name, who verifies tokens before
//! it, and whether servers can take all that is released at once.

use std::collections::{BTreeMap, BTreeSet};

use holdpoint_core::config::{FilterConfig, Proof};
use serde_json::Value;

use super::{Findings, Route, breaker, is_passthrough, is_type};
use crate::cli::doctor::envoy::{Dump, list};

/// How Envoy calls one of the filter's own statistics, as its matcher sees it.
const STATISTIC: &str = "wasmcustom.holdpoint.service_unavailable_total";

/// Meshes keep only the statistics that they know: the filter's may be dropped before anybody sees them.
pub(super) fn statistics(matcher: &Value, seen: &mut Findings) {
    let any = |of: &Value| list(&of["patterns"]).any(|pattern| covers(pattern, STATISTIC));
    let hidden = matcher["reject_all"] == true
        || (!matcher["inclusion_list"].is_null() && !any(&matcher["inclusion_list"]))
        || any(&matcher["exclusion_list"]);
    if hidden {
        let mend = "add `wasmcustom` to what it keeps, as `holdpoint policy render` does (in Istio the annotation \
                    `sidecar.istio.io/statsInclusionPrefixes: wasmcustom,wasm,cluster.` on the pod): until then nobody can tell whether \
                    entries are lost or claims refused";
        seen.warning("statistics", "Envoy hides what the filter counts", mend);
    } else {
        seen.ok("statistics", "Envoy shows what the filter counts");
    }
}

/// Whether a matcher of texts takes `name`. Of an expression it is only asked whether it speaks of wasm or begins with anything.
fn covers(pattern: &Value, name: &str) -> bool {
    let ignores_case = pattern["ignore_case"] == true;
    let fold = |text: &str| if ignores_case { text.to_lowercase() } else { text.to_owned() };
    let has = |key: &str, test: fn(&str, &str) -> bool| {
        pattern[key].as_str().is_some_and(|text| test(&fold(name), &fold(text)))
    };
    let expression = pattern["safe_regex"]["regex"].as_str();
    has("exact", |name, text| name == text)
        || has("prefix", |name, text| name.starts_with(text))
        || has("suffix", |name, text| name.ends_with(text))
        || has("contains", |name, text| name.contains(text))
        || expression.is_some_and(|text| text.contains("wasm") || text.trim_start_matches('^').starts_with(".*"))
}

/// Two configurations of the filter under one name replace each other in the VM that they share.
pub(super) fn names<'a>(filters: impl Iterator<Item = &'a Value>, dump: &'a Dump, seen: &mut Findings) {
    let mut texts: BTreeMap<[&str; 3], BTreeSet<String>> = BTreeMap::new();
    for (_, typed) in filters.filter_map(|filter| super::holdpoint(filter, dump)) {
        let plugin = &typed["config"];
        let word = |value: &'a Value| value.as_str().unwrap_or_default();
        let name = [&plugin["vm_config"]["vm_id"], &plugin["name"], &plugin["root_id"]].map(word);
        texts.entry(name).or_default().insert(plugin["configuration"].to_string());
    }
    let replaced = texts.iter().filter(|(_, texts)| texts.len() > 1);
    let replaced: Vec<String> =
        replaced.map(|([_, name, _], texts)| format!("{} configurations are named `{name}`", texts.len())).collect();
    if !replaced.is_empty() {
        let mend = "give each a `name` (or `root_id`) of its own: of those with one name, the last one's policy and service hold for all";
        seen.failed("names", replaced.join("; "), mend);
    }
}

/// The name of a filter that should come by discovery and has not.
pub(super) fn awaited<'a>(filter: &'a Value, dump: &Dump) -> Option<&'a str> {
    let name = filter["name"].as_str()?;
    let is_ours = !filter["config_discovery"].is_null() && name.contains("holdpoint");
    (is_ours && !dump.filters.contains_key(name)).then_some(name)
}

/// Whether somebody before the filter verifies the tokens that it takes callers from.
pub(super) fn tokens(before: &[&Value], dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let wanted = config.identity.iter().filter_map(|source| match &source.proof {
        Proof::Jwt { metadata_key } => Some(metadata_key.as_str()),
        Proof::MtlsUriSan | Proof::Header { .. } => None,
    });
    let wanted: BTreeSet<&str> = wanted.collect();
    let of = |filter: &&Value| {
        let name = filter["name"].as_str().unwrap_or_default();
        if filter["config_discovery"].is_null() {
            Some(filter["typed_config"].clone())
        } else {
            dump.filters.get(name).cloned()
        }
    };
    let verifiers = before.iter().filter_map(of).filter(|typed| is_type(typed, "JwtAuthentication"));
    let mut written = BTreeSet::new();
    for verifier in verifiers {
        let providers = verifier["providers"].as_object().into_iter().flatten();
        written.extend(providers.filter_map(|(_, one)| one["payload_in_metadata"].as_str().map(str::to_owned)));
    }
    let missing: Vec<&str> = wanted.iter().copied().filter(|key| !written.contains(*key)).collect();
    if !missing.is_empty() {
        let found = format!("no `jwt_authn` before the filter writes {}", missing.join(", "));
        let mend = "put `jwt_authn` before it, with the word of `metadata_key` as its `payload_in_metadata`: until then no token says who calls";
        seen.failed("tokens", found, mend);
    } else if !wanted.is_empty() {
        seen.ok("tokens", "they are verified before the filter reads them");
    }
}

/// A listener that is updated ends its calls after a time, held ones among them.
pub(super) fn drain(dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let hold_ms = config.approval.hold_ms_max;
    if let Some(drain_ms) = dump.drain_ms.filter(|drain_ms| *drain_ms < hold_ms) {
        let found = format!(
            "a listener that is replaced ends its calls after {drain_ms} ms, and calls are held for {hold_ms} ms"
        );
        let mend = format!("start Envoy with `--drain-time-s {}` or more", hold_ms.div_ceil(1_000) + 10);
        seen.warning("updates", found, mend);
    }
}

/// What was held together is released together.
pub(super) fn server_clusters(routes: &[Route<'_>], dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let governed = routes.iter().filter(|route| !is_passthrough(route));
    let named: BTreeSet<&str> = governed.filter_map(|route| route.route["route"]["cluster"].as_str()).collect();
    let holds = u64::from(config.limits.holds_max);
    let (mut absent, mut low) = (Vec::new(), Vec::new());
    for name in named {
        let Some(cluster) = dump.clusters.iter().find(|cluster| cluster["name"].as_str() == Some(name)) else {
            absent.push(format!("`{name}`"));
            continue;
        };
        let least = ["max_connections", "max_pending_requests", "max_requests"].map(|what| breaker(cluster, what));
        let least = least.into_iter().min().unwrap_or_default();
        if least < holds {
            low.push(format!("`{name}` takes {least} at once"));
        }
    }
    if !absent.is_empty() {
        let found = format!("there is no cluster {}, to which a route leads", absent.join(", "));
        seen.failed("servers", found, "add it: its calls are answered with 503 until then");
    }
    if low.is_empty() {
        seen.ok("release", format!("servers may be sent {holds} calls that were held together"));
    } else {
        let found = format!("{}, and up to {holds} calls that were held are released together", low.join(", "));
        let mend = "raise its `circuit_breakers` (in Istio the `connectionPool` of a DestinationRule): what is too much is answered with 503";
        seen.warning("release", found, mend);
    }
}
