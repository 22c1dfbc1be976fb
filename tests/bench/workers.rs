//! What a further worker costs in memory: each has a VM of its own, while what V8 compiled is there once.

use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::APPROVAL_CLUSTER;
use holdpoint_tests::idp::Idp;
use serde_json::{Value, json};

use crate::gateways::{self, JUDGE_CLUSTER, Variant};
use crate::record_sink;
use crate::served::Served;

/// How many workers are tried.
const WORKERS: [u32; 3] = [1, 2, 4];

/// An Envoy at rest with so many workers.
pub(crate) struct Footprint {
    pub(crate) workers: u32,
    /// Resident memory without our filter, and with it; none where the system does not say.
    pub(crate) none_bytes: Option<u64>,
    pub(crate) holdpoint_bytes: Option<u64>,
    /// Of this, the memory of the largest VM by its own word.
    pub(crate) vm_bytes: u64,
}

/// Starts an Envoy for each number of workers, with and without the filter, one after the other.
pub(crate) async fn footprints() -> anyhow::Result<Vec<Footprint>> {
    let idp = Idp::new()?;
    let sink = Served::start(record_sink::acknowledge)?;
    let start = async |variant: Variant, workers: u32| {
        let mut config = gateways::config(variant)?;
        config.workers(workers);
        config.jwks(idp.jwks())?;
        config.cluster_port(APPROVAL_CLUSTER, sink.port())?;
        config.cluster_port(JUDGE_CLUSTER, sink.port())?;
        Envoy::start(config).await
    };
    let mut found = Vec::new();
    for workers in WORKERS {
        let none_bytes = start(Variant::None, workers).await?.process().rss_bytes();
        let envoy = start(Variant::Holdpoint, workers).await?;
        let vm_bytes = envoy.stat("wasmcustom.holdpoint.vm_memory_bytes").await?;
        found.push(Footprint { workers, none_bytes, holdpoint_bytes: envoy.process().rss_bytes(), vm_bytes });
    }
    Ok(found)
}

/// A table, and what the filter costs of it.
pub(crate) fn markdown(found: &[Footprint]) -> String {
    let mut out =
        "| workers | none, RSS MB | holdpoint, RSS MB | more MB | largest VM MB |\n|---|---|---|---|---|\n".to_owned();
    for Footprint { workers, none_bytes, holdpoint_bytes, vm_bytes } in found {
        let megabytes =
            |bytes: Option<f64>| bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1}", bytes / 1e6));
        let (none, holdpoint) = (none_bytes.map(|bytes| bytes as f64), holdpoint_bytes.map(|bytes| bytes as f64));
        let more = none.zip(holdpoint).map(|(none, holdpoint)| holdpoint - none);
        let cells = [none, holdpoint, more, Some(*vm_bytes as f64)].map(megabytes);
        out += &format!("| {workers} | {} |\n", cells.join(" | "));
    }
    out
}

/// Every number.
pub(crate) fn json(found: &[Footprint]) -> Value {
    let one = |of: &Footprint| {
        json!({
            "workers": of.workers,
            "none_bytes": of.none_bytes,
            "holdpoint_bytes": of.holdpoint_bytes,
            "vm_bytes": of.vm_bytes,
        })
    };
    found.iter().map(one).collect()
}
