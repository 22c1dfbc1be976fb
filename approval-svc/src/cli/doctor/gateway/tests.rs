//! Words of Envoy's, read as it writes them. What a whole one says is tested on a real one, in `tests/terminal`.

use serde_json::json;

use super::*;

#[test]
fn durations_and_counts_are_read_as_envoy_writes_them() {
    let read = |text: &str| ms(&json!(text));
    assert_eq!(
        [read("55s"), read("0.250s"), read("1.5s"), read("0s")],
        [Some(55_000), Some(250), Some(1_500), Some(0)]
    );
    assert_eq!([read("55"), read("xs"), ms(&json!(55))], [None, None, None]);
    assert_eq!([number(&json!(7)), number(&json!("2097152")), number(&json!("x"))], [Some(7), Some(2_097_152), None]);
}

#[test]
fn envoy_without_the_filter_is_told_so() {
    let dump =
        super::super::envoy::sorted(&json!({"configs": [{"static_listeners": [{"listener": {"name": "web"}}]}]}));
    let mut seen = Findings::new("envoy");
    examine(&dump, &Wanted::default(), &mut seen);
    let found: Vec<_> = seen.all.iter().map(|one| (one.check, one.level)).collect();
    assert_eq!(found, [("filter", crate::cli::doctor::Level::Failed)]);
}

/// What an Envoy 1.40 says of the secret of its credential injector, and what doctor makes of that.
fn credential_of(secrets: &serde_json::Value, stats: &[(&str, u64)]) -> (crate::cli::doctor::Level, String) {
    let injector = json!({"credential": {"typed_config": {"credential": {
        "name": "approval-token", "sds_config": {"path_config_source": {"path": "/etc/token.yaml"}},
    }}}});
    let mut dump = super::super::envoy::sorted(&json!({"configs": [secrets]}));
    dump.stats.extend(stats.iter().map(|(name, count)| ((*name).to_owned(), *count)));
    let mut seen = Findings::new("envoy");
    credential(&injector, &dump, &mut seen);
    let [only] = &seen.all[..] else { panic!("{}", seen.all.len()) };
    (only.level, only.found.clone())
}

#[test]
fn secret_file_that_envoy_could_not_read_is_named() {
    use crate::cli::doctor::Level;
    let warming = json!({"dynamic_warming_secrets": [{"name": "approval-token", "version_info": "uninitialized"}]});
    let active = json!({"dynamic_active_secrets": [{"name": "approval-token"}]});
    let (level, found) = credential_of(&warming, &[("sds.approval-token.update_failure", 1)]);
    assert_eq!(level, Level::Failed);
    assert!(found.contains("`approval-token` from `/etc/token.yaml`"), "{found}");
    let (level, found) = credential_of(&active, &[("sds.approval-token.update_rejected", 2)]);
    assert!(level == Level::Warning && found.contains("2 times"), "{level:?} {found}");
    assert_eq!(credential_of(&active, &[("sds.approval-token.update_success", 1)]).0, Level::Ok);
}

/// What is found about an Envoy that waits for the filter, or whose settings Envoy itself would not load.
fn found(configs: serde_json::Value, drain_ms: Option<u64>) -> Vec<(&'static str, crate::cli::doctor::Level, String)> {
    let mut dump = super::super::envoy::sorted(&json!({ "configs": configs }));
    dump.drain_ms = drain_ms;
    let mut seen = Findings::new("envoy");
    examine(&dump, &Wanted::default(), &mut seen);
    seen.all.into_iter().map(|one| (one.check, one.level, one.found)).collect()
}

fn listener(filter: serde_json::Value, routes: serde_json::Value) -> serde_json::Value {
    json!({"static_listeners": [{"listener": {"name": "web", "filter_chains": [{"filters": [{"typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "http_filters": [filter],
        "route_config": {"virtual_hosts": [{"name": "all", "routes": routes}]},
    }}]}]}}]})
}

fn plugin() -> serde_json::Value {
    let text = "approval: {cluster: holdpoint, service_key: \"ed25519:\
                7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f\", hold_ms_max: 45000}\n\
                identity: {sources: [{jwt: {metadata_key: jwt}}]}\n\
                policy: {version: \"2026-01-27\", rules: []}\n";
    json!({"name": "holdpoint", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {"name": "holdpoint", "configuration": {"value": text}},
    }})
}

#[test]
fn filter_whose_configuration_has_not_come_is_not_taken_for_none() {
    use crate::cli::doctor::Level;
    let filter = json!({"name": "holdpoint", "config_discovery": {"type_urls": []}});
    let found = found(json!([listener(filter, json!([]))]), None);
    let said = found.iter().find(|(check, ..)| *check == "filter").unwrap();
    assert!(said.1 == Level::Failed && said.2.contains("waits for the configuration of `holdpoint`"), "{found:?}");
}

#[test]
fn pruned_cluster_and_short_drain_are_told() {
    use crate::cli::doctor::Level;
    let routes =
        json!([{"name": "one", "route": {"cluster": "pruned", "hedge_policy": {"hedge_on_per_try_timeout": true}}}]);
    let configs = json!([listener(plugin(), routes)]);
    let all = found(configs.clone(), Some(5_000));
    let of = |check: &str| {
        let one = all.iter().find(|(name, ..)| *name == check).unwrap_or_else(|| panic!("{check}: {all:?}"));
        (one.1, one.2.clone())
    };
    assert!(of("servers").0 == Level::Failed && of("servers").1.contains("no cluster `pruned`"), "{all:?}");
    assert!(of("approval cluster").0 == Level::Failed && of("approval cluster").1.contains("no cluster `holdpoint`"));
    assert!(of("updates").0 == Level::Warning && of("updates").1.contains("after 5000 ms"), "{all:?}");
    assert!(of("copies").1.contains("hedged"), "{all:?}");
    assert!(!found(configs, Some(600_000)).iter().any(|(check, ..)| *check == "updates"));
}

#[test]
fn statistics_that_a_matcher_drops_are_told() {
    let hides = |matcher: serde_json::Value| {
        let mut seen = Findings::new("envoy");
        beside::statistics(&matcher, &mut seen);
        seen.all[0].level != crate::cli::doctor::Level::Ok
    };
    let including =
        |pattern: serde_json::Value| json!({"inclusion_list": {"patterns": [{"prefix": "cluster"}, pattern]}});
    for shown in [
        json!(null),
        including(json!({"prefix": "wasmcustom"})),
        including(json!({"contains": "HOLDPOINT", "ignore_case": true})),
        including(json!({"safe_regex": {"regex": "(wasmcustom|wasm)\\..*"}})),
        including(json!({"safe_regex": {"regex": ".*"}})),
        json!({"exclusion_list": {"patterns": [{"prefix": "http."}]}}),
    ] {
        assert!(!hides(shown.clone()), "{shown}");
    }
    for hidden in [
        json!({"reject_all": true}),
        including(json!({"suffix": "rbac.denied"})),
        including(json!({"contains": "HOLDPOINT"})),
        including(json!({"safe_regex": {"regex": "http\\..*"}})),
        json!({"exclusion_list": {"patterns": [{"prefix": "wasm"}]}}),
    ] {
        assert!(hides(hidden.clone()), "{hidden}");
    }
}

/// One change to an Envoy that runs the filter, and what is then said of one check.
#[test]
fn each_setting_and_counter_by_itself_is_told() {
    use crate::cli::doctor::Level::{self, Failed, Warning};
    let said = |change: &dyn Fn(&mut Dump)| {
        let routes = json!([{"name": "one", "metadata": {"filter_metadata": {"holdpoint": {"server": "one"}}},
                             "route": {"cluster": "one"}}]);
        let mut dump = super::super::envoy::sorted(&json!([]));
        let configs = json!({"configs": [listener(plugin(), routes)]});
        dump.listeners = super::super::envoy::sorted(&configs).listeners;
        change(&mut dump);
        let mut seen = Findings::new("envoy");
        examine(&dump, &Wanted::default(), &mut seen);
        seen.all
    };
    let manager = |dump: &mut Dump, path: &str, value: serde_json::Value| {
        let config = &mut dump.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
        let (parent, key) = path.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value;
    };
    const PLUGIN: &str = "/http_filters/0/typed_config/config";
    let plugin_is = |key: &'static str, value: serde_json::Value| {
        move |dump: &mut Dump| manager(dump, &format!("{PLUGIN}/{key}"), value.clone())
    };
    let counts = |name: &'static str| {
        move |dump: &mut Dump| {
            dump.stats.insert(name.to_owned(), 3);
        }
    };
    let text = |dump: &Dump| {
        let path = "/0/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/configuration/value";
        json!(dump.listeners).pointer(path).and_then(|text| text.as_str().map(str::to_owned)).unwrap()
    };
    let by_certificate = |minor: u64| {
        move |dump: &mut Dump| {
            let text = text(dump).replace("{jwt: {metadata_key: jwt}}", "{mtls: uri_san}");
            manager(dump, &format!("{PLUGIN}/configuration/value"), json!(text));
            dump.version = Some((1, minor));
        }
    };
    let guard = json!({"name": "rbac", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
        "rules": {"policies": {"other": {"principals": [{"filter_state": {"key": "wasm.holdpoint.server"}}]}}},
    }});
    type Change = Box<dyn Fn(&mut Dump)>;
    let changes: [(&str, Level, &str, Change); 16] = [
        (
            "admin",
            Warning,
            "listens on 0.0.0.0",
            Box::new(|dump| {
                dump.admin = json!({"address": {"socket_address": {"address": "0.0.0.0"}}});
            }),
        ),
        (
            "filter",
            Warning,
            "listener `plain` does not run it",
            Box::new(|dump| {
                let mut plain = dump.listeners[0].clone();
                plain["name"] = json!("plain");
                plain["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"] = json!([]);
                dump.listeners.push(plain);
            }),
        ),
        ("failure policy", Failed, "the default refuses for ever", Box::new(plugin_is("failure_policy", json!(null)))),
        ("failure policy", Failed, "FAIL_OPEN lets", Box::new(plugin_is("failure_policy", json!("FAIL_OPEN")))),
        ("failure policy", Failed, "`fail_open` lets", Box::new(plugin_is("fail_open", json!(true)))),
        ("configuration", Failed, "it is not a text", Box::new(plugin_is("configuration", json!({"value": {}})))),
        (
            "time to hold",
            Warning,
            "46000 ms",
            Box::new(move |dump| manager(dump, "/stream_idle_timeout", json!("46s"))),
        ),
        ("time to hold", Failed, "44000 ms", Box::new(move |dump| manager(dump, "/stream_idle_timeout", json!("44s")))),
        (
            "route guard",
            Failed,
            "names one",
            Box::new(move |dump| {
                let filters = &mut dump.listeners[0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
                *filters = json!([filters[0], guard]);
            }),
        ),
        ("gateway's token", Failed, "the service refused it 3", Box::new(counts("cluster.holdpoint.upstream_rq_401"))),
        (
            "gateway's token",
            Warning,
            "the service has refused it 3",
            Box::new(|dump| {
                dump.stats.insert("cluster.holdpoint.upstream_rq_403".to_owned(), 3);
                dump.stats.insert("cluster.holdpoint.upstream_rq_2xx".to_owned(), 1);
            }),
        ),
        ("claims", Failed, "3 ", Box::new(counts("wasmcustom.holdpoint.claims_refused_total"))),
        (
            "record",
            Warning,
            "3 entries of the record were lost",
            Box::new(counts("wasmcustom.holdpoint.audit_lost_total")),
        ),
        ("filter's VMs", Warning, "3 could not be replaced", Box::new(counts("wasm.holdpoint.vm_reload_failure"))),
        ("filter's VMs", Warning, "3 died and were replaced", Box::new(counts("wasm.holdpoint.vm_reload_success"))),
        ("certificates", Failed, "Envoy 1.39 does not say", Box::new(by_certificate(39))),
    ];
    let unchanged = said(&|_| {});
    for (check, level, part, change) in changes {
        let tells = |all: &[crate::cli::doctor::Finding]| {
            all.iter().any(|one| one.check == check && one.level == level && one.found.contains(part))
        };
        let all = said(&*change);
        assert!(tells(&all), "{check} {part}: {all:#?}");
        assert!(!tells(&unchanged) || part.starts_with("the default"), "{check} {part} was so before: {unchanged:#?}");
    }
    assert!(!said(&by_certificate(40)).iter().any(|one| one.check == "certificates"));
}

#[test]
fn key_that_is_being_retired_is_told_apart_from_the_service_s_own_and_from_a_stranger_s() {
    use crate::cli::doctor::Level::{self, Failed, Ok, Skipped, Warning};
    let trusted = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";
    let said = |service_key: Option<&str>, previous_key: Option<&str>| {
        let dump = super::super::envoy::sorted(&json!({"configs": [listener(plugin(), json!([]))]}));
        let (service_key, previous_key) = (service_key.map(str::to_owned), previous_key.map(str::to_owned));
        let mut seen = Findings::new("envoy");
        examine(&dump, &Wanted { service_key, previous_key, ..Wanted::default() }, &mut seen);
        let found: Vec<Level> = seen.all.iter().filter(|one| one.check == "service key").map(|one| one.level).collect();
        found
    };
    assert_eq!(said(None, None), [Skipped]);
    assert_eq!(said(Some(trusted), Some("ed25519:old")), [Ok]);
    assert_eq!(said(Some("ed25519:new"), Some(trusted)), [Warning], "what it trusts signs for a while yet");
    assert_eq!(said(Some("ed25519:new"), Some("ed25519:old")), [Failed]);
}

#[test]
fn version_that_is_too_old_or_takes_no_calls_is_told() {
    use crate::cli::doctor::Level;
    use crate::cli::doctor::envoy::version;
    for (text, state, number, level) in [
        ("1.40.0", "LIVE", (1, 40), Level::Ok),
        ("1.36.4", "LIVE", (1, 36), Level::Ok),
        ("1.35.9", "LIVE", (1, 35), Level::Failed),
        ("1.40.0", "DRAINING", (1, 40), Level::Warning),
    ] {
        let mut seen = Findings::new("envoy");
        let info = json!({"version": format!("abc/{text}/Clean/RELEASE/BoringSSL"), "state": state});
        assert_eq!(version(&info, &mut seen), Some(number));
        assert_eq!(seen.all.iter().map(|one| one.level).collect::<Vec<_>>(), [level], "{text} {state}");
    }
    assert_eq!(version(&json!({}), &mut Findings::new("envoy")), None);
}
