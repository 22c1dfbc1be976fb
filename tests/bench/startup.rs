//! How long Envoy takes to load: a `--mode validate` run, which compiles the module and reads the policy.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::bail;

use holdpoint_tests::envoy_binary;

use crate::gateways::{self, Variant};
use crate::samples::median;

/// Median wall time of loading each variant's configuration `times` times in turns, in milliseconds.
pub(crate) fn load_ms(times: u32) -> anyhow::Result<BTreeMap<Variant, f64>> {
    let dir = tempfile::Builder::new().prefix("holdpoint-bench-").tempdir()?;
    let mut written = BTreeMap::new();
    for variant in Variant::with_envoy() {
        let home = dir.path().join(variant.as_str());
        std::fs::create_dir(&home)?;
        written.insert(variant, gateways::config(variant)?.write(&home)?.bootstrap);
    }
    let mut taken_ms: BTreeMap<Variant, Vec<f64>> = BTreeMap::new();
    for _ in 0..times {
        for (variant, bootstrap) in &written {
            let began = Instant::now();
            let output = Command::new(envoy_binary::envoy()?)
                .args(["--mode", "validate", "--config-path"])
                .arg(bootstrap)
                .stdin(Stdio::null())
                .output()?;
            if !output.status.success() {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                bail!("Envoy refuses the configuration of `{}`:\n{why}", variant.as_str());
            }
            taken_ms.entry(*variant).or_default().push(began.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(taken_ms.into_iter().map(|(variant, taken)| (variant, median(&taken))).collect())
}
