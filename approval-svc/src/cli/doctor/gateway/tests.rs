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
