//! `holdpoint policy`
use std::process::ExitCode;
use clap::Subcommand;
#[derive(Debug, Subcommand)]
pub enum PolicyCommand { Check }
pub fn run(_c: &PolicyCommand) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
