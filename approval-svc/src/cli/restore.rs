//! `holdpoint restore`: puts a copy of the database in place, once it is proven whole.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use holdpoint_core::approval::ServiceKey;
use holdpoint_core::audit::verify::{GivenCheckpoint, Verified};
use serde_json::json;

use super::{DataDir, Form, Output};
use crate::keys::ServiceSigner;
use crate::ledger::verify::verify;
use crate::store::Store;
use crate::store::sql::machine_clock;
use crate::store::sqlite::{self, backup};
use crate::text::visible;
use crate::{data_dir, freezes, keys};

/// Folder in the data directory in which a copy is looked at before it counts.
const WORKSHOP: &str = "restoring";

/// Put a copy in place, once it is proven whole
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint restore holdpoint-2026-11-26.db --data-dir /var/lib/holdpoint --keys /media/safe
  holdpoint restore holdpoint-2026-11-26.db --data-dir /tmp/drill --keys /media/safe --checkpoint kept.note

The whole record in the copy is verified first, as `holdpoint audit verify` does; a copy that was changed is not put in place \
(exit code 1). A data directory with a database is not touched. Start the service afterwards: what was approved, stopped or \
revoked after the copy was made is not in it. Stop again what must be stopped, revoke again what was revoked, and expect that \
checkpoints kept from after the copy say that the end was cut off: it was, and the record says so from here on.")]
pub struct RestoreArgs {
    /// A file that `holdpoint backup` made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    data_dir: DataDir,
    /// Folder with the service's key files, if they are not in the data directory yet
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// A checkpoint that you kept: the copy must hold what it was signed for
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    args.data_dir.database.refuse_server("it is restored with `pg_restore`")?;
    let dir = args.data_dir.data_dir;
    ensure!(args.file.is_file(), "there is no file `{}`", args.file.display());
    let database = data_dir::database(&dir);
    ensure!(
        !database.exists(),
        "`{}` has a database, which this would overwrite: name an empty folder, or move the old database away",
        dir.display()
    );
    let _unserved = data_dir::keep_unserved(&dir)?;
    let mut kept = Vec::new();
    for file in &args.checkpoint {
        let note = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        kept.push(GivenCheckpoint { name: format!("checkpoint `{}`", file.display()), note, size: None });
    }
    let signer = ServiceSigner::load(args.keys.as_deref().unwrap_or(&dir))
        .context("name the folder with the key files of this record with `--keys`")?;
    data_dir::create(&dir)?;
    let workshop = dir.join(WORKSHOP);
    data_dir::create(&workshop)?;
    let verified = put_in_place(&args.file, &workshop, &database, &signer.public_keys(), kept).await;
    fs::remove_dir_all(&workshop).with_context(|| format!("cannot remove `{}`", workshop.display()))?;
    let verified = verified?;
    let is_whole = verified.findings.is_empty();
    if let (true, Some(from)) = (is_whole, &args.keys) {
        // A database without its key does not start; a key without a database would begin another record.
        keys::copy(from, &dir).context("the database is in place, its key is not: copy the key files by hand")?;
    }
    tell(&verified, &dir, args.output.output);
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Looks at a copy in the workshop; only one that is whole comes to be `database`.
async fn put_in_place(
    file: &Path,
    workshop: &Path,
    database: &Path,
    keys: &[ServiceKey],
    kept: Vec<GivenCheckpoint>,
) -> anyhow::Result<Verified> {
    let draft = data_dir::database(workshop);
    // A restoration that was broken off may have left one.
    if draft.exists() {
        fs::remove_dir_all(workshop)?;
        data_dir::create(workshop)?;
    }
    let unusable = || format!("`{}` is no copy of a database of this service", file.display());
    let copied = backup::copy(file, &draft).await.with_context(unusable)?;
    let store = sqlite::open(&draft, machine_clock()).await.with_context(unusable)?;
    let mut verified = verify(&store, keys, kept, |_, _| ()).await?;
    if verified.entries > 0 && verified.checkpoints == 0 {
        // Whole, but by whose word? Any key would do, and the wrong one would be put beside it.
        verified.findings.push(
            "nothing in this copy was ever signed: take copies of a service that has run for a second".to_owned(),
        );
    }
    if verified.findings.is_empty() {
        let detail = format!("the database was put back from a copy that ends before entry {}", copied.entries);
        let at_ms = store.now_ms().await?;
        store.commit(freezes::restored(at_ms, &detail)).await?;
        // Once more, so that it is one file without a log beside it; its name is the last thing that it gets.
        let ready = workshop.join("ready.db");
        backup::copy(&draft, &ready).await?;
        // The folder of the database, not the workshop, says whose it is.
        let handed = File::open(&ready).and_then(|file| data_dir::hand_over(&file, database, None));
        handed.with_context(|| format!("cannot give `{}` to the user of the service", database.display()))?;
        fs::rename(&ready, database).with_context(|| format!("cannot make `{}`", database.display()))?;
    }
    Ok(verified)
}

fn tell(verified: &Verified, dir: &Path, form: Form) {
    let Verified { entries, checkpoints, root, findings, .. } = verified;
    let restored = findings.is_empty();
    match form {
        Form::Json => println!(
            "{}",
            json!({
                "restored": restored, "data_dir": dir, "entries": entries, "checkpoints": checkpoints, "root": root,
                "findings": findings,
            })
        ),
        Form::Text if restored => println!(
            "the record is whole: {entries} entries, {checkpoints} signed checkpoints, root {root}\n\
             restored into `{}`: start the service, then stop and revoke again what was stopped or revoked since",
            dir.display()
        ),
        Form::Text => {
            for finding in findings {
                println!("{}", visible(finding));
            }
            println!("nothing was put in place: this copy was changed, or another key signed it");
        }
    }
}
