//! A client of the official SDK under the suite: what the suite's servers see of it directly, they see through the filter.

use crate::server::stack_for;
use crate::suite::{Known, Suite, Verdicts, compare, script, shortcomings};
use crate::switch::Switch;

/// Every scenario of both releases whose server lives under one address. Those of authorization name their own address in
/// their metadata, which a client rightly refuses when it reached them under another one.
const SCENARIOS: &[(&str, &str)] = &[
    ("2025-11-25", "initialize"),
    ("2025-11-25", "tools_call"),
    ("2025-11-25", "sse-retry"),
    ("2025-11-25", "elicitation-sep1034-client-defaults"),
    ("2026-07-28", "tools_call"),
    ("2026-07-28", "request-metadata"),
    ("2026-07-28", "sep-2322-client-request-state"),
    ("2026-07-28", "http-standard-headers"),
    ("2026-07-28", "http-custom-headers"),
    ("2026-07-28", "http-invalid-tool-headers"),
    ("2026-07-28", "json-schema-ref-no-deref"),
];

async fn run(suite: &Suite, command: &str) -> anyhow::Result<Verdicts> {
    let mut all = Verdicts::new();
    for (version, scenario) in SCENARIOS {
        let arguments = ["client", "--command", command, "--scenario", scenario, "--spec-version", version];
        let checks = suite.run(&arguments).await?.into_values().flatten().collect();
        all.insert(format!("{scenario} ({version})"), checks);
    }
    Ok(all)
}

#[tokio::test]
async fn client_is_judged_alike_directly_and_through_the_filter() -> anyhow::Result<()> {
    let Some(suite) = Suite::bring().await? else { return Ok(()) };
    let client = format!("{} {}", suite.node.binary().display(), script("client.mjs").display());
    let switch = Switch::start().await?;
    let stack = stack_for(switch.port).await?;
    let direct = run(&suite, &client).await?;
    let through = run(&suite, &format!("{client} {} {}", stack.port(), switch.control)).await?;
    let unmet: &[Known] = &[];
    let is_listed = |line: &String| unmet.iter().any(|unmet| line.starts_with(&format!("{}: ", unmet.scenario)));
    let unlisted: Vec<String> = shortcomings(&direct).into_iter().filter(|line| !is_listed(line)).collect();
    anyhow::ensure!(unlisted.is_empty(), "the client itself falls short:\n{}", unlisted.join("\n"));
    compare(&direct, &through, &[])
}
