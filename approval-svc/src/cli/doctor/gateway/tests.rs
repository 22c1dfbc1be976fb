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
