//! `holdpoint keys`: the key that gateways trust, and how another takes its place without a call being lost.

use std::process::ExitCode;

use clap::Subcommand;
use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::{AuditEntry, EntryKind, KEY_RETIRED, KEY_ROTATED};
use serde_json::json;

use super::{DataDir, Form, Output};
use crate::data_dir;
use crate::keys::{KeyError, NextKey, ServiceSigner, remove_previous};
use crate::store::{Change, Store};

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
    /// Print every key that signs, and the log's name
    #[command(after_help = "Example:
  holdpoint keys list --data-dir /var/lib/holdpoint")]
    List {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
    /// Make a new key current; the one before it signs beside it until it is retired
    #[command(after_help = "Example:
  holdpoint keys rotate --data-dir /var/lib/holdpoint

Then let every gateway trust both, `approval: {service_key: [\"ed25519:new\", \"ed25519:old\"]}`, or the new one alone; `holdpoint \
doctor` says which gateways still lack it. A running service takes the new key up within a second. The log keeps its name, and \
`holdpoint audit verify` goes on to accept either key.")]
    Rotate {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
    /// Let the key before the current one sign no longer, and remove it
    #[command(after_help = "Example:
  holdpoint keys retire --data-dir /var/lib/holdpoint

Gateways that trust the old key alone let nothing run that needs an approval from here on.")]
    Retire {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: &KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Show { data_dir, output } => {
            data_dir::create(&data_dir.data_dir)?;
            let key = ServiceSigner::load_or_create(&data_dir.data_dir)?.public();
            match output.output {
                Form::Text => println!("{key}"),
                Form::Json => println!("{}", json!({ "service_key": key })),
            }
        }
        KeysCommand::List { data_dir, output } => list(&ServiceSigner::load(&data_dir.data_dir)?, *output),
        KeysCommand::Rotate { data_dir, output } => {
            let next = NextKey::make(&data_dir.data_dir)?;
            record(data_dir, KEY_ROTATED, &[&next.new, &next.old]).await?;
            next.put_in_place()?;
            list(&ServiceSigner::load(&data_dir.data_dir)?, *output);
        }
        KeysCommand::Retire { data_dir, output } => {
            let signer = ServiceSigner::load(&data_dir.data_dir)?;
            let old = signer.previous_key().ok_or(KeyError::NotRotating)?;
            record(data_dir, KEY_RETIRED, &[&old]).await?;
            remove_previous(&data_dir.data_dir)?;
            list(&ServiceSigner::load(&data_dir.data_dir)?, *output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the step down before it is done: an entry too many does no harm, a key that nobody has introduced would.
async fn record(data_dir: &DataDir, status: &str, keys: &[&ServiceKey]) -> anyhow::Result<()> {
    let store = data_dir.open().await?;
    let mut entry = AuditEntry::new(EntryKind::KeyChanged, store.now_ms().await?);
    entry.status = Some(status.to_owned());
    entry.keys = keys.iter().map(ToString::to_string).collect();
    store.commit(Change { writes: Vec::new(), entries: vec![entry] }).await?;
    Ok(())
}

fn list(signer: &ServiceSigner, output: Output) {
    let (current, previous, origin) = (signer.public(), signer.previous_key(), signer.origin());
    match output.output {
        Form::Text => {
            println!("{current}  signs");
            if let Some(previous) = previous {
                println!("{previous}  signs beside it until `holdpoint keys retire`");
            }
            println!("{origin}  is the name of the log");
        }
        Form::Json => println!(
            "{}",
            json!({ "service_key": current, "previous_key": previous.map(|key| key.to_string()), "origin": origin })
        ),
    }
}
