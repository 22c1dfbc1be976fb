//! The corpus on a real Envoy: nothing reaches the server unjudged, no connection gets out of step, no VM dies; and what
//! Envoy's own filters do with the same bytes.

use holdpoint_tests::corpus;

use crate::gateway::{Gateway, Variant, complaint, http2_call};
use crate::table;

#[tokio::test]
async fn nothing_that_lies_reaches_the_server_and_the_table_says_so() -> anyhow::Result<()> {
    let cases = corpus::cases()?;
    let mut columns = Vec::new();
    let mut complaints = Vec::new();
    for variant in Variant::ALL {
        let mut gateway = Gateway::start(variant).await?;
        let mut outcomes = Vec::new();
        for case in &cases {
            let outcome = gateway.play(case).await?;
            if variant == Variant::Holdpoint {
                complaints.extend(complaint(case, &outcome));
            }
            outcomes.push(outcome);
        }
        if variant == Variant::Holdpoint {
            assert_vm_lives(&gateway).await?;
        }
        columns.push((variant, outcomes));
    }
    anyhow::ensure!(complaints.is_empty(), "{} cases:\n{}", complaints.len(), complaints.join("\n"));
    table::check(&table::render(&cases, &columns))
}

#[tokio::test]
async fn nothing_that_lies_reaches_the_server_over_http_2_on_both_sides() -> anyhow::Result<()> {
    let mut gateway = Gateway::holdpoint(true).await?;
    let mut complaints = Vec::new();
    let mut played = 0;
    for case in corpus::cases()? {
        let Some(call) = http2_call(&case) else { continue };
        let outcome = gateway.play_http2(&case, call).await?;
        complaints.extend(complaint(&case, &outcome));
        played += 1;
    }
    anyhow::ensure!(complaints.is_empty(), "{} cases:\n{}", complaints.len(), complaints.join("\n"));
    assert!(played >= 200, "only {played} cases can be sent over HTTP/2");
    assert_vm_lives(&gateway).await
}

async fn assert_vm_lives(gateway: &Gateway) -> anyhow::Result<()> {
    for name in ["vm_reload_success", "vm_reload_backoff", "vm_reload_failure"] {
        let count = gateway.envoy().stat(&format!("wasm.holdpoint.{name}")).await?;
        anyhow::ensure!(count == 0, "the VM died: {name} is {count}: {}", gateway.envoy().log());
    }
    Ok(())
}
