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
