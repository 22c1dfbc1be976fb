//! Whether an Envoy keeps what the filter in it promises: every check names the setting and what happens without it.

use std::collections::BTreeSet;

use holdpoint_core::config::FilterConfig;
use serde_json::Value;

use super::envoy::{Dump, VERSION_MIN_CERTIFICATES, list};
use super::{Findings, Wanted};

mod beside;
mod buffers;

#[cfg(test)]
mod tests;

/// What Envoy waits where nothing is configured.
const IDLE_MS_DEFAULT: u64 = 300_000;
/// The margin by which an idle timeout should outlast the longest hold.
const IDLE_MARGIN_MS: u64 = 5_000;
/// What Envoy allows where no threshold is configured.
const BREAKER_DEFAULT: u64 = 1_024;
/// Causes for which the server cannot have seen the call.
const SAFE_RETRIES: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];

/// One HTTP connection manager with its listener's name.
struct Manager<'a> {
    listener: &'a str,
    /// Most bytes of one message that Envoy keeps where no route says otherwise.
    buffer_bytes: u64,
    config: &'a Value,
}

/// Looks at everything that the filter relies on.
pub(super) fn examine(dump: &Dump, wanted: &Wanted, seen: &mut Findings) {
    admin(dump, seen);
    let managers: Vec<Manager<'_>> = dump.listeners.iter().flat_map(managers_of).collect();
    beside::names(managers.iter().flat_map(|manager| list(&manager.config["http_filters"])), dump, seen);
    let mut governed = 0;
    for manager in &managers {
        let filters: Vec<&Value> = list(&manager.config["http_filters"]).collect();
        let wasm = filters.iter().enumerate().find_map(|(at, filter)| Some((at, holdpoint(filter, dump)?)));
        let Some((at, (name, typed))) = wasm else {
            if let Some(missing) = filters.iter().find_map(|filter| beside::awaited(filter, dump)) {
                let mend = "see Envoy's log and its source of configuration: until it is there every call is refused";
                let found = format!("listener `{}` waits for the configuration of `{missing}`", manager.listener);
                seen.failed("filter", found, mend);
                governed += 1;
                continue;
            }
            seen.warning(
                "filter",
                format!("listener `{}` does not run it", manager.listener),
                "what comes through this listener is not governed: add the filter, or make sure that no MCP server is behind it",
            );
            continue;
        };
        governed += 1;
        seen.ok("filter", format!("listener `{}` runs it", manager.listener));
        let refused = refused_updates(name, dump);
        let Some(config) = settings(&typed["config"], refused, wanted, seen) else { continue };
        in_force(refused, wanted, &config, seen);
        trust(manager.config, seen);
        certificates(dump, &config, seen);
        beside::tokens(filters.get(..at).unwrap_or_default(), dump, &config, seen);
        let routes = routes_of(manager.config, dump);
        idle(manager.config, &routes, &config, seen);
        guard(filters.get(at + 1..).unwrap_or_default(), &routes, seen);
        route_settings(&routes, seen);
        buffers::examine(&routes, manager.buffer_bytes, &config, seen);
        beside::drain(dump, &config, seen);
        beside::server_clusters(&routes, dump, &config, seen);
        approval_cluster(dump, &config, seen);
        counters(name, dump, &config, seen);
    }
    if governed > 0 {
        beside::statistics(&dump.stats_matcher, seen);
    } else {
        seen.failed("filter", "no listener runs the filter", "add it as envoy/envoy.yaml shows, before the router");
    }
}

/// Before, the filter cannot tell a certificate that was validated from one that was only shown, and refuses both.
fn certificates(dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let reads = config.identity.iter().any(|source| source.proof.reads_certificate());
    if let Some((major, minor)) = dump.version.filter(|version| reads && *version < VERSION_MIN_CERTIFICATES) {
        let found = format!(
            "`identity` reads client certificates, and Envoy {major}.{minor} does not say which were validated"
        );
        seen.failed(
            "certificates",
            found,
            "use Envoy 1.40 or later, or take callers from tokens: until then they are refused",
        );
    }
}

fn managers_of(listener: &Value) -> Vec<Manager<'_>> {
    let name = listener["name"].as_str().unwrap_or("unnamed");
    let buffer_bytes = number(&listener["per_connection_buffer_limit_bytes"]).unwrap_or(buffers::BYTES_DEFAULT);
    let chains = list(&listener["filter_chains"]).chain(std::iter::once(&listener["default_filter_chain"]));
    let filters = chains.flat_map(|chain| list(&chain["filters"]));
    filters
        .map(|filter| &filter["typed_config"])
        .filter(|typed| is_type(typed, "HttpConnectionManager"))
        .map(|config| Manager { listener: name, buffer_bytes, config })
        .collect()
}

fn is_type(typed: &Value, name: &str) -> bool {
    typed["@type"].as_str().is_some_and(|full| full.ends_with(&format!(".{name}")))
}

/// Name and configuration of a filter, if it is ours: a wasm filter whose plugin calls itself so, or is configured so.
fn holdpoint<'a>(filter: &'a Value, dump: &'a Dump) -> Option<(&'a str, &'a Value)> {
    let name = filter["name"].as_str().unwrap_or_default();
    let typed = if filter["config_discovery"].is_null() { &filter["typed_config"] } else { dump.filters.get(name)? };
    let plugin = &typed["config"];
    let calls_itself = [&plugin["name"], &plugin["root_id"]].into_iter().filter_map(Value::as_str);
    let ours = calls_itself.chain([name]).any(|word| word.contains("holdpoint"));
    (is_type(typed, "Wasm") && ours).then_some((name, typed))
}

fn admin(dump: &Dump, seen: &mut Findings) {
    let Some(address) = dump.admin.pointer("/address/socket_address/address").and_then(Value::as_str) else { return };
    if address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        seen.ok("admin", "only this machine reaches it");
    } else {
        let found = format!("it listens on {address}");
        seen.warning(
            "admin",
            found,
            "the whole policy and /quitquitquit are open to that network: bind it to loopback",
        );
    }
}

/// The plugin itself; what it is configured with, if the filter can read that.
fn settings(plugin: &Value, refused: u64, wanted: &Wanted, seen: &mut Findings) -> Option<FilterConfig> {
    if plugin["allow_on_headers_stop_iteration"] == true {
        seen.ok("body before head", "`allow_on_headers_stop_iteration` is set");
    } else {
        let mend = "set `allow_on_headers_stop_iteration: true` beside `vm_config`: without it nothing can be judged before the head has left";
        seen.failed("body before head", "`allow_on_headers_stop_iteration` is not set", mend);
    }
    match plugin["failure_policy"].as_str() {
        Some("FAIL_RELOAD") => seen.ok("failure policy", "FAIL_RELOAD"),
        Some("FAIL_OPEN") => {
            seen.failed(
                "failure policy",
                "FAIL_OPEN lets every call through once a VM has died",
                "set `failure_policy: FAIL_RELOAD`",
            );
        }
        other => {
            let found = format!("{} refuses for ever once a VM has died", other.unwrap_or("the default"));
            seen.failed("failure policy", found, "set `failure_policy: FAIL_RELOAD`");
        }
    }
    if plugin["fail_open"] == true {
        seen.failed("failure policy", "`fail_open` lets every call through once a VM has died", "remove it");
    }
    let Some(text) = plugin["configuration"]["value"].as_str() else {
        let mend = "write it as a `google.protobuf.StringValue` with a `value: |` block, as envoy/envoy.yaml shows";
        seen.failed("configuration", "it is not a text", mend);
        return None;
    };
    let config = match FilterConfig::read(text.as_bytes()) {
        Ok(config) => config,
        Err(problems) => {
            let problem = problems.iter().next().map_or_else(String::new, ToString::to_string);
            let found = match refused {
                0 => problem,
                _ => format!("the last update was refused, the one before is still in force: {problem}"),
            };
            seen.failed("configuration", found, "`holdpoint policy check` tells everything that is wrong with it");
            return None;
        }
    };
    seen.ok("configuration", "the filter reads it");
    let trusted = config.approval.service_keys.to_string();
    let trusts = |key: &Option<String>| {
        key.as_ref().is_some_and(|key| config.approval.service_keys.iter().any(|one| one.to_string() == *key))
    };
    match &wanted.service_key {
        None => seen.skipped(
            "service key",
            format!("it trusts {trusted}"),
            "give a token, so that the service can be asked for its key",
        ),
        Some(_) if trusts(&wanted.service_key) => seen.ok("service key", "it trusts the key of this service"),
        Some(key) if trusts(&wanted.previous_key) => seen.warning(
            "service key",
            "it trusts only the key that is being retired".to_owned(),
            format!("add {key} to `approval.service_key` before `holdpoint keys retire`"),
        ),
        Some(key) => seen.failed(
            "service key",
            format!("it trusts {trusted}, and this service signs with {key}"),
            "put the service's key into `approval.service_key`: until then no approval lets anything run",
        ),
    }
    Some(config)
}

/// How many updates by discovery were refused since Envoy started.
fn refused_updates(name: &str, dump: &Dump) -> u64 {
    let stat = |end: &str| {
        dump.stats.get(&format!("extension_config_discovery.http_filter.{name}.{end}")).copied().unwrap_or(0)
    };
    stat("update_rejected").max(stat("config_fail"))
}

/// The policy in force, and whether what is shown is what is in force: Envoy shows a refused update too.
fn in_force(refused: u64, wanted: &Wanted, config: &FilterConfig, seen: &mut Findings) {
    let id = config.policy.id();
    if refused > 0 {
        let found = format!("{refused} updates were refused since Envoy started; what it shows may be one of them");
        let mend = "see Envoy's log for the reason, send a policy that `holdpoint policy check` accepts, and restart to be sure";
        seen.warning("snapshot", found, mend);
        return;
    }
    match wanted.snapshot_id {
        None => seen.ok("snapshot", format!("{id} is in force")),
        Some(file) if file == id => seen.ok("snapshot", format!("{id} is in force, as in the file")),
        Some(file) => seen.failed(
            "snapshot",
            format!("{id} is in force, and the file is {file}"),
            "deploy the file, or look at the one that was deployed",
        ),
    }
}

fn trust(manager: &Value, seen: &mut Findings) {
    if manager["use_remote_address"] == true {
        seen.ok("caller's headers", "`use_remote_address` is set");
    } else {
        let mend = "set `use_remote_address: true`: else a caller chooses request ids, timeouts and retries";
        seen.warning("caller's headers", "`use_remote_address` is not set", mend);
    }
    match manager["forward_client_cert_details"].as_str() {
        None | Some("SANITIZE" | "SANITIZE_SET") => seen.ok("client certificates", "a caller's own header is dropped"),
        Some(other) => {
            let mend = "set `forward_client_cert_details: SANITIZE_SET`: else a caller claims any mTLS identity";
            seen.failed("client certificates", format!("{other} believes a caller's header"), mend);
        }
    }
}

/// A route of a manager, with the virtual host that it is in.
struct Route<'a> {
    name: String,
    host: &'a Value,
    route: &'a Value,
}

fn routes_of<'a>(manager: &'a Value, dump: &'a Dump) -> Vec<Route<'a>> {
    let apart = manager["rds"]["route_config_name"].as_str();
    let inline = Some(&manager["route_config"]).filter(|config| !config.is_null());
    let config = inline.or_else(|| dump.routes.iter().find(|config| config["name"].as_str() == apart));
    let hosts = config.into_iter().flat_map(|config| list(&config["virtual_hosts"]));
    let routes = hosts.flat_map(|host| list(&host["routes"]).enumerate().map(move |(at, route)| (host, at, route)));
    let named = |(host, at, route): (&'a Value, usize, &'a Value)| {
        let of = host["name"].as_str().unwrap_or("unnamed");
        let name = route["name"].as_str().map_or_else(|| format!("{of}, number {}", at + 1), str::to_owned);
        Route { name, host, route }
    };
    routes.map(named).collect()
}

/// The catalogue's server that a route leads to; `None` where it says so of none.
fn server_of<'a>(route: &Route<'a>) -> Option<&'a str> {
    route.route.pointer("/metadata/filter_metadata/holdpoint/server").and_then(Value::as_str)
}

fn is_passthrough(route: &Route<'_>) -> bool {
    route.route.pointer("/metadata/filter_metadata/holdpoint/passthrough") == Some(&Value::Bool(true))
}

fn idle(manager: &Value, routes: &[Route<'_>], config: &FilterConfig, seen: &mut Findings) {
    let hold_ms = config.approval.hold_ms_max;
    let stream_ms = ms(&manager["stream_idle_timeout"]).unwrap_or(IDLE_MS_DEFAULT);
    let mut bad = Vec::new();
    let mut tight = Vec::new();
    let mut judge = |what: String, limit_ms: u64| match limit_ms {
        0 => {}
        limit_ms if limit_ms <= hold_ms => bad.push(format!("{what} is {limit_ms} ms")),
        limit_ms if limit_ms < hold_ms + IDLE_MARGIN_MS => tight.push(format!("{what} is {limit_ms} ms")),
        _ => {}
    };
    if routes.is_empty() {
        judge("stream_idle_timeout".to_owned(), stream_ms);
    }
    for route in routes.iter().filter(|route| !is_passthrough(route)) {
        let name = &route.name;
        match ms(&route.route["route"]["idle_timeout"]) {
            Some(own_ms) => judge(format!("idle_timeout of route `{name}`"), own_ms),
            None => judge(format!("stream_idle_timeout, which holds for route `{name}`,"), stream_ms),
        }
        if let Some(limit_ms) = ms(&route.route["route"]["max_stream_duration"]["max_stream_duration"]) {
            judge(format!("max_stream_duration of route `{name}`"), limit_ms);
        }
    }
    if let Some(limit_ms) = ms(&manager["common_http_protocol_options"]["max_stream_duration"]) {
        judge("max_stream_duration".to_owned(), limit_ms);
    }
    let mend = format!("it fires during a hold: make it {} ms, which is hold_ms_max and 10 s", hold_ms + 10_000);
    if !bad.is_empty() {
        seen.failed("time to hold", format!("{}, and calls are held for {hold_ms} ms", bad.join(", ")), mend);
    } else if !tight.is_empty() {
        seen.warning("time to hold", format!("{}, and calls are held for {hold_ms} ms", tight.join(", ")), mend);
    } else {
        seen.ok("time to hold", format!("nothing of Envoy's ends a hold of {hold_ms} ms"));
    }
}

/// The filter behind ours that has the last word on where a call goes.
fn guard(behind: &[&Value], routes: &[Route<'_>], seen: &mut Findings) {
    const KEY: &str = "wasm.holdpoint.server";
    let rules = behind
        .iter()
        .map(|filter| &filter["typed_config"])
        .filter(|typed| is_type(typed, "RBAC"))
        .map(|typed| &typed["rules"])
        .find(|rules| rules.to_string().contains(KEY));
    let Some(rules) = rules else {
        let mend = "add the `rbac` filter of envoy/envoy.yaml behind it: else a header that changes may lead a judged call to another server";
        seen.failed("route guard", "no `rbac` filter behind the filter asks where the call was judged for", mend);
        return;
    };
    let policies: Vec<String> =
        rules["policies"].as_object().into_iter().flatten().map(|(_, policy)| policy.to_string()).collect();
    let named = |server: &str| {
        let exact = format!("\"exact\":{}", Value::from(server));
        policies.iter().any(|policy| policy.contains(KEY) && policy.contains(&exact))
    };
    let servers: BTreeSet<&str> = routes.iter().filter_map(server_of).collect();
    let missing: Vec<&str> = servers.into_iter().filter(|server| !named(server)).collect();
    if missing.is_empty() {
        seen.ok("route guard", "it covers every server that a route names");
    } else {
        let found = format!("no policy of it names {}", missing.join(", "));
        seen.failed("route guard", found, "add one policy for each: until then their calls are refused");
    }
}

fn route_settings(routes: &[Route<'_>], seen: &mut Findings) {
    let mut unsafe_retries = Vec::new();
    let mut unnamed = Vec::new();
    let mut copied = Vec::new();
    for route in routes.iter().filter(|route| !is_passthrough(route)) {
        let own = &route.route["route"]["retry_policy"];
        let policy = if own.is_null() { &route.host["retry_policy"] } else { own };
        let causes = policy["retry_on"].as_str().unwrap_or_default().split(',').map(str::trim);
        let risky: Vec<&str> = causes.filter(|cause| !cause.is_empty() && !SAFE_RETRIES.contains(cause)).collect();
        if !risky.is_empty() {
            unsafe_retries.push(format!("route `{}` on {}", route.name, risky.join(", ")));
        }
        if server_of(route).is_none() {
            unnamed.push(route.name.clone());
        }
        for (setting, what) in [("request_mirror_policies", "mirrored"), ("hedge_policy", "hedged")] {
            let places = [&route.route["route"][setting], &route.host[setting]];
            if places.into_iter().any(|place| !place.is_null() && !place.as_array().is_some_and(Vec::is_empty)) {
                copied.push(format!("route `{}` is {what}", route.name));
            }
        }
    }
    if unsafe_retries.is_empty() {
        seen.ok("retries", "nothing repeats a call that a server may have seen");
    } else {
        let mend = "keep `retry_on: connect-failure,refused-stream`: anything more may run a write twice";
        seen.failed("retries", unsafe_retries.join("; "), mend);
    }
    if unnamed.is_empty() {
        seen.ok("routes", "each names its server");
    } else {
        let mend = "set `metadata: {filter_metadata: {holdpoint: {server: …}}}`: a server that is not recognised is refused, and hosts and paths are what callers say";
        seen.warning("routes", format!("no server is named by {}", unnamed.join(", ")), mend);
    }
    if !copied.is_empty() {
        let mend = "take `request_mirror_policies` and `hedge_policy` off it: a copy of a write is a second write that nobody approved";
        seen.failed("copies", copied.join("; "), mend);
    }
}

fn approval_cluster(dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let name = &config.approval.cluster;
    let Some(cluster) = dump.clusters.iter().find(|cluster| cluster["name"].as_str() == Some(name)) else {
        let mend = "add it, or name the right one as `approval.cluster`: until then every call that needs an approval is refused";
        seen.failed("approval cluster", format!("there is no cluster `{name}`"), mend);
        return;
    };
    let allowed = |what: &str| breaker(cluster, what);
    let options =
        &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    let http2 = !options["explicit_http_config"]["http2_protocol_options"].is_null()
        || !cluster["http2_protocol_options"].is_null();
    let holds = u64::from(config.limits.holds_max);
    let mut wanted = vec!["max_requests", "max_pending_requests"];
    if !http2 {
        wanted.push("max_connections");
    }
    let low: Vec<String> = wanted
        .into_iter()
        .filter(|what| allowed(what) < holds)
        .map(|what| format!("{what} is {}", allowed(what)))
        .collect();
    if low.is_empty() {
        seen.ok("circuit breakers", format!("room for {holds} held calls"));
    } else {
        let found = format!("cluster `{name}`: {}, and up to {holds} calls are held per worker", low.join(", "));
        let mend = format!("set them to {holds} at least: each held call keeps one request open");
        seen.failed("circuit breakers", found, mend);
    }
    if http2 {
        seen.ok("approval cluster", format!("`{name}`, over HTTP/2"));
    } else {
        let mend = "use `http2_protocol_options`: over HTTP/1 each held call keeps a connection of its own";
        seen.warning("approval cluster", format!("`{name}`, over HTTP/1"), mend);
    }
    let injector = list(&options["http_filters"]).find(|filter| {
        filter["typed_config"]["@type"].as_str().is_some_and(|full| full.contains("credential_injector"))
    });
    if let Some(injector) = injector {
        credential(&injector["typed_config"], dump, seen);
    } else if !cluster["transport_socket"].is_null() {
        seen.ok("credential", "Envoy shows one to the service");
    } else {
        let mend = "add the `credential_injector` of envoy/envoy.yaml with an enforcer's token, or mTLS";
        seen.failed("credential", format!("cluster `{name}` shows the service none"), mend);
    }
}

/// How much a cluster takes at once.
fn breaker(cluster: &Value, what: &str) -> u64 {
    let threshold = list(&cluster["circuit_breakers"]["thresholds"])
        .find(|threshold| threshold["priority"].as_str().is_none_or(|priority| priority == "DEFAULT"));
    threshold.and_then(|threshold| number(&threshold[what])).unwrap_or(BREAKER_DEFAULT)
}

/// The token that Envoy puts in, and whether it could be read: a file that is broken leaves every question to the service
/// without one, and nothing but a line in Envoy's log says so.
fn credential(injector: &Value, dump: &Dump, seen: &mut Findings) {
    let secret = &injector["credential"]["typed_config"]["credential"];
    let Some(name) = secret["name"].as_str().filter(|_| !secret["sds_config"].is_null()) else {
        seen.ok("credential", "Envoy shows one to the service");
        return;
    };
    let path = secret.pointer("/sds_config/path_config_source/path").and_then(Value::as_str);
    let from = path.map_or_else(|| "its secret service".to_owned(), |path| format!("`{path}`"));
    let stat = |end: &str| {
        let own = dump.stats.iter().filter(|(key, _)| key.ends_with(&format!("sds.{name}.{end}")));
        own.map(|(_, count)| count).sum::<u64>()
    };
    let refused = stat("update_rejected") + stat("update_failure");
    let mend = format!(
        "{from} must hold one `Secret` named `{name}` with a `generic_secret`, as envoy/README.md shows; Envoy's log says \
         what is wrong with it"
    );
    if dump.secrets.get(name) == Some(&false) {
        let found = format!("Envoy could not read the secret `{name}` from {from}: it shows the service none");
        seen.failed("credential", found, mend);
    } else if refused > 0 {
        let found =
            format!("{refused} times since Envoy started, {from} could not be read; Envoy shows the one from before");
        seen.warning("credential", found, mend);
    } else {
        seen.ok("credential", "Envoy shows one to the service");
    }
}

/// What went wrong since Envoy started, as far as it counts.
fn counters(name: &str, dump: &Dump, config: &FilterConfig, seen: &mut Findings) {
    let stat = |name: &str| dump.stats.get(name).copied().unwrap_or(0);
    let cluster = &config.approval.cluster;
    let refused =
        stat(&format!("cluster.{cluster}.upstream_rq_401")) + stat(&format!("cluster.{cluster}.upstream_rq_403"));
    let answered = stat(&format!("cluster.{cluster}.upstream_rq_2xx"));
    let mend = "give Envoy a token of role enforcer: `holdpoint token create --role enforcer`";
    match (refused, answered) {
        (0, _) => {}
        (_, 0) => seen.failed("gateway's token", format!("the service refused it {refused} times"), mend),
        (_, _) => seen.warning("gateway's token", format!("the service has refused it {refused} times"), mend),
    }
    let counted = |counter: &str| stat(&format!("wasmcustom.holdpoint.{counter}"));
    let found = [
        (
            "claims",
            "claims_refused_total",
            "claims were not signed by the trusted key",
            "find out who answers in the service's place, or mend `approval.service_key`",
        ),
        (
            "service from here",
            "service_unavailable_total",
            "questions to the service got no usable answer",
            "see `cluster` statistics and the service's log",
        ),
        (
            "record",
            "audit_lost_total",
            "entries of the record were lost",
            "see why the service was away or slow; each loss stands in the record as a gap",
        ),
    ];
    for (check, counter, what, mend) in found {
        match counted(counter) {
            0 => {}
            count if check == "claims" => seen.failed(check, format!("{count} {what}"), mend),
            count => seen.warning(check, format!("{count} {what} since Envoy started"), mend),
        }
    }
    for (end, what) in [("vm_reload_failure", "could not be replaced"), ("vm_reload_success", "died and were replaced")]
    {
        match stat(&format!("wasm.{name}.{end}")) {
            0 => {}
            count => seen.warning(
                "filter's VMs",
                format!("{count} {what} since Envoy started"),
                "calls that they held hung until their timeout: see Envoy's log",
            ),
        }
    }
}

/// A duration as Envoy writes it: `55s`, `0.250s`.
pub(super) fn ms(value: &Value) -> Option<u64> {
    let (whole, part) = value.as_str()?.strip_suffix('s').map(|text| text.split_once('.').unwrap_or((text, "")))?;
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    Some(whole.parse::<u64>().ok()?.saturating_mul(1_000).saturating_add(part.parse().ok()?))
}

/// A count as Envoy writes it: 64-bit ones are texts.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
