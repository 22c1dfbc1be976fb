//! `holdpoint keys`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{DataDir, Form, Output};
use crate::data_dir;
use crate::keys::ServiceSigner;

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Print the public key; makes the key pair if there is none yet
    #[command(after_help = "Example:
  holdpoint keys show --data-dir /var/lib/holdpoint

Put it into the filter's configuration as `approval.service_key`.")]
    Show {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
}

pub fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    let KeysCommand::Show { data_dir, output } = command;
    data_dir::create(&data_dir.data_dir)?;
    let key = ServiceSigner::load_or_create(&data_dir.data_dir)?.public();
    match output.output {
        Form::Text => println!("{key}"),
        Form::Json => println!("{}", json!({ "service_key": key })),
    }
    Ok(ExitCode::SUCCESS)
}
