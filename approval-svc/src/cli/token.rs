//! `holdpoint token`: straight to the database, whether the service runs or not.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{DataDir, Form, Output, length_ms};
use crate::data_dir;
use crate::keys::ServiceSigner;
use crate::store::sql::SqlStore;
use crate::store::{CommitError, Conflict, Store};
use crate::text::{time, visible};
use crate::tokens::{self, ISSUER_LOCAL, NewToken, Role};

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, this once
    #[command(after_help = "Examples:
  holdpoint token create --data-dir data --role enforcer --subject edge-gateway
  holdpoint token create --data-dir data --role approver --subject alice --group sre --group oncall
  holdpoint token create --data-dir data --role auditor --subject visitor --expires-in 14d")]
    Create {
        #[command(flatten)]
        data_dir: DataDir,
        /// What its holder may do
        #[arg(long, value_enum)]
        role: Role,
        /// Who its holder is: nobody approves a call of the same subject
        #[arg(long, value_name = "NAME")]
        subject: String,
        /// Who vouches for the subject
        #[arg(long, default_value = ISSUER_LOCAL, value_name = "ISSUER")]
        issuer: String,
        /// A group its holder is in; may be repeated
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
        /// Show its holder only what belongs to this tenant; not for enforcers and administrators
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// How long it is good for, such as `12h` or `90d`; without it, until it is revoked
        #[arg(long, value_name = "TIME", value_parser = lasting)]
        expires_in: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// List tokens, without their secrets
    #[command(after_help = "Example:
  holdpoint token list --data-dir data")]
    List {
        #[command(flatten)]
        data_dir: DataDir,
        #[command(flatten)]
        output: Output,
    },
    /// Make a token useless
    #[command(after_help = "Example:
  holdpoint token revoke --data-dir data 019ac3f2b1d87cc0a3e46f1c2ab90d55")]
    Revoke {
        #[command(flatten)]
        data_dir: DataDir,
        /// Its id, as `token list` shows it
        id: String,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Create { data_dir, role, subject, issuer, groups, tenant, expires_in, output } => {
            for (option, name) in [("--subject", &subject), ("--issuer", &issuer)]
                .into_iter()
                .chain(groups.iter().map(|one| ("--group", one)))
                .chain(tenant.iter().map(|one| ("--tenant", one)))
            {
                // A name that only looks like another one would be another person who looks like that one.
                let is_plain = !name.is_empty() && name.trim() == name && visible(name) == *name;
                anyhow::ensure!(
                    is_plain,
                    "`{option}` must be a name without blanks around it or hidden characters in it"
                );
            }
            // It narrows what people see and decide; these act for everybody, and must not look as if they did not.
            anyhow::ensure!(
                tenant.is_none() || !matches!(role, Role::Enforcer | Role::Admin),
                "a token of the role {role} acts for all tenants: leave `--tenant` away"
            );
            let new =
                NewToken { role, issuer, subject, groups: groups.into_iter().collect(), tenant, lasts_ms: expires_in };
            if role == Role::Approver && new.groups.is_empty() {
                eprintln!("{}", super::NO_GROUP);
            }
            let created = async { anyhow::Ok(tokens::create(&open_or_create(&data_dir).await?, new).await?) };
            let (token, text) = data_dir.patiently(created).await?;
            match output.output {
                Form::Text => {
                    println!("{text}");
                    eprintln!("token {} for {}: keep it now, it is not shown again", token.id, visible(&token.subject));
                }
                Form::Json => {
                    println!("{}", json!({ "id": token.id, "token": text, "expires_at_ms": token.expires_at_ms }));
                }
            }
        }
        TokenCommand::List { data_dir, output } => {
            let store = data_dir.open().await?;
            let (tokens, now_ms) = (store.tokens().await?, store.now_ms().await?);
            match output.output {
                Form::Text => {
                    for token in tokens {
                        let groups: Vec<&str> = token.groups.iter().map(String::as_str).collect();
                        let state = match (token.revoked_at_ms, token.expires_at_ms) {
                            (Some(at_ms), _) => format!("revoked {}", time(at_ms)),
                            (None, Some(at_ms)) if at_ms <= now_ms => format!("ended {}", time(at_ms)),
                            (None, Some(at_ms)) => format!("since {} until {}", time(token.created_at_ms), time(at_ms)),
                            (None, None) => format!("since {}", time(token.created_at_ms)),
                        };
                        let name = visible(&format!("{} {}", token.issuer, token.subject));
                        println!("{}  {:<8}  {name}  [{}]  {state}", token.id, token.role, visible(&groups.join(", ")));
                    }
                }
                Form::Json => {
                    let rows = tokens.into_iter().map(|token| {
                        json!({
                            "id": token.id, "role": token.role, "issuer": token.issuer, "subject": token.subject,
                            "groups": token.groups, "tenant": token.tenant, "created_at_ms": token.created_at_ms,
                            "expires_at_ms": token.expires_at_ms, "revoked_at_ms": token.revoked_at_ms,
                        })
                    });
                    println!("{}", json!({ "tokens": rows.collect::<Vec<_>>() }));
                }
            }
        }
        TokenCommand::Revoke { data_dir, id, output } => match data_dir.patiently(revoke(&data_dir, &id)).await? {
            Ok(()) => match output.output {
                Form::Text => println!("token {id} is revoked"),
                Form::Json => println!("{}", json!({ "id": id, "revoked": true })),
            },
            Err(CommitError::Conflict(Conflict::Missing)) => {
                anyhow::bail!("no valid token has the id `{id}`: see `holdpoint token list`")
            }
            Err(error) => return Err(error.into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// How long a token is good for, in milliseconds.
fn lasting(text: &str) -> Result<u64, String> {
    let length = length_ms(text).filter(|ms| *ms > 0);
    length.ok_or_else(|| format!("`{text}` is no length of time: write `90m`, `12h` or `90d`"))
}

async fn revoke(data_dir: &DataDir, id: &str) -> anyhow::Result<Result<(), CommitError>> {
    Ok(tokens::revoke(&data_dir.open().await?, id).await)
}

/// The first token may be made before the service has ever run: then the key is made too, and before the database.
async fn open_or_create(dir: &DataDir) -> anyhow::Result<SqlStore> {
    data_dir::create(&dir.data_dir)?;
    if dir.database.server()?.is_some() {
        let store = dir.open().await?;
        // Whoever makes the first token makes the key; of a record that is there, the key is elsewhere.
        if store.head().await?.frontier.size() == 0 {
            ServiceSigner::load_or_create(&dir.data_dir)?;
        }
        return Ok(store);
    }
    ServiceSigner::load_or_create(&dir.data_dir)?;
    let is_new = !data_dir::database(&dir.data_dir).exists();
    data_dir::create_database(&dir.data_dir)?;
    let store = dir.open().await?;
    if is_new {
        // Whoever mistyped the directory of a service would look for the token there.
        eprintln!("made a new database in `{}`: no service has run there yet", dir.data_dir.display());
    }
    Ok(store)
}
