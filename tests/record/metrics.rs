//! The figures that operators look at: all there from the beginning, and as many under a flood of names as before it.

use std::collections::BTreeSet;

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpCall, tools_call};
use holdpoint_tests::repository;
use holdpoint_tests::stack::Stack;
use serde_json::Value;

/// Distinct names of each kind in the flood.
const NAMES: usize = 150;

/// What filter and service show to a scraper.
async fn scraped(stack: &Stack) -> anyhow::Result<String> {
    let service = reqwest::get(stack.service.url("/metrics")).await?.error_for_status()?.text().await?;
    Ok(stack.envoy.prometheus().await? + &service)
}

/// Every series of ours: name and labels, without the value. Those of Envoy's own statistics are Envoy's matter.
fn series(scraped: &str) -> BTreeSet<&str> {
    let lines = scraped.lines().filter(|line| !line.starts_with('#') && line.contains("holdpoint_"));
    let ours = lines.filter(|line| !line.starts_with("envoy_") || line.starts_with("envoy_wasmcustom"));
    ours.filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series)).collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_finds_its_metrics_where_nothing_has_happened_yet() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let scraped = scraped(&stack).await?;
    let dashboard: Value = serde_json::from_str(&repository::text("envoy/grafana.json")?)?;
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            asked.extend(names.filter(|name| name.contains("holdpoint_")).map(str::to_owned));
        }
    }
    assert!(asked.len() > 12, "{asked:?}");
    // A family without a sample yet is announced by its type; its name there has none of the endings of its samples.
    let is_there = |name: &str| {
        let bare = name.trim_end_matches("_total").trim_end_matches("_bucket");
        scraped.lines().any(|line| line.starts_with(name) || line.starts_with(&format!("# TYPE {bare} ")))
    };
    let missing: Vec<&String> = asked.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "neither Envoy nor the service shows {missing:?}");
    Ok(())
}

#[tokio::test]
async fn a_flood_of_names_makes_no_series() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-0")?;
    // One of each kind first: what happens for the first time may show for the first time.
    let one_of_each = async |name: usize| -> anyhow::Result<()> {
        let agent = stack.agent(&format!("agent-{name}"))?;
        for tool in ["list_issues".to_owned(), format!("tool_{name}")] {
            tools_call(&tool, &format!(r#"{{"title":"{name}"}}"#), &agent).send(stack.port()).await?;
        }
        let odd = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"odd/{name}","params":{{}}}}"#);
        HttpCall::post(odd).bearer(&agent).send(stack.port()).await?;
        HttpCall::post(format!(r#"{{"jsonrpc":"2.0","id":{name}"#)).bearer(&agent).send(stack.port()).await?;
        HttpCall::post("{}").bearer(&format!("nobody-{name}")).send(stack.port()).await?;
        let path = stack.service.url(&format!("/v1/approvals/none-{name}"));
        reqwest::get(path).await?;
        Ok(())
    };
    one_of_each(0).await?;
    let held = tools_call("create_issue", "{}", &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    held.answer().await?;
    let before = scraped(&stack).await?;
    for name in 1..=NAMES {
        one_of_each(name).await?;
    }
    let after = scraped(&stack).await?;
    let (before, shown) = (series(&before), series(&after));
    assert!(before.len() > 30, "{}", before.len());
    let new: Vec<&&str> = shown.difference(&before).take(5).collect();
    assert!(new.is_empty(), "new series: {new:?}");
    assert!(!after.contains(&format!("agent-{NAMES}")) && !after.contains(&format!("tool_{NAMES}")));
    Ok(())
}
