//! `holdpoint`: the approval and audit service and its command line. Steps 8 and 12.

mod cli;

mod replicas;
mod router;
mod serve;

mod http;
mod web;

mod approvals;
mod candidates;
mod delegations;
mod fleet;
mod freezes;
mod inventory;
mod leases;
mod ledger;
mod oidc;
mod once;
mod otlp;
mod policies;
mod revocations;

mod sessions;
mod store;
mod tokens;
mod trail;
mod waiters;

mod data_dir;
mod keys;
mod limits;
mod metrics;
mod notify;
mod settings;
mod supervise;
mod text;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // Whoever started us may have closed its end already.
            let _ = writeln!(std::io::stderr(), "holdpoint: {error:#}");
            ExitCode::FAILURE
        }
    }
}
