//! `holdpoint serve`

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::{DataDir, Form, Output};
use crate::limits::Rates;
use crate::notify::settings::NotifySettings;
use crate::oidc;
use crate::otlp::push::OtlpSettings;
use crate::settings::{DatabaseSettings, Settings};

const DATABASE_CONNECTIONS_DEFAULT: u32 = 8;

/// Run the service until it is told to stop (SIGTERM or Ctrl-C).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint serve --listen 127.0.0.1:7437 --data-dir /var/lib/holdpoint
  holdpoint serve --data-dir /etc/holdpoint/key --database-url postgres://holdpoint@db.example/holdpoint?sslmode=verify-full

The first start makes the database and the service key. Put the key that is printed into the filter's \
configuration as `approval.service_key`. RUST_LOG sets how much is logged.")]
pub struct ServeArgs {
    /// Address and port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7437", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    data_dir: DataDir,
    /// Connections to the PostgreSQL server for reads; one more writes, and one listens [default: 8]
    #[arg(long, requires = "database_url", value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    database_connections_max: Option<u32>,
    /// Allow an address that other machines can reach, without TLS
    #[arg(long)]
    insecure_listen: bool,
    /// Pending approvals that one principal may have; more are refused
    #[arg(long, default_value_t = 100, value_name = "N")]
    pending_per_principal_max: u64,
    /// Days after which the arguments of a call are erased once its approval has ended; 0 erases them at once
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    arguments_keep_days: u32,
    /// Days that arguments and results beside the record are kept, by level: `full=7`, `redacted=30`, `digest=365` (its
    /// salts), or `full=forever`; may be repeated. Unless said, 30 for full and redacted, for ever for digest
    #[arg(long, value_name = "LEVEL=DAYS")]
    payloads_keep_days: Vec<KeepDays>,
    /// Where browsers reach this service: requesters are given a page that shows where their call stands
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Requests per second of one person's credential; bursts of four seconds' worth pass
    #[arg(long, default_value_t = Rates::default().person_per_s_max, value_name = "N")]
    person_requests_per_s_max: u32,
    /// Requests per second of one gateway's token
    #[arg(long, default_value_t = Rates::default().gateway_per_s_max, value_name = "N")]
    gateway_requests_per_s_max: u32,
    /// Requests per second of one address that shows no valid credential
    #[arg(long, default_value_t = Rates::default().stranger_per_s_max, value_name = "N")]
    stranger_requests_per_s_max: u32,
    /// Connections open at once; more are closed at once
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    connections_max: usize,
    /// Who is told of what waits: a file of channels and routes
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// File that says whose tokens people may sign in with (OpenID Connect)
    #[arg(long, value_name = "FILE")]
    oidc: Option<PathBuf>,
    /// Collector that is sent the record as it grows, as OTLP traces and logs: `http://localhost:4318`
    #[arg(long, env = "HOLDPOINT_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// File with headers for the collector, a `name: value` a line
    #[arg(long, value_name = "FILE", requires = "otlp_endpoint")]
    otlp_headers: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// How long what stands beside entries of one level is kept.
#[derive(Clone, Copy, Debug)]
struct KeepDays {
    level: KeptLevel,
    /// `None` for as long as the entries.
    keep: Option<Duration>,
}

/// Levels at which anything stands beside entries.
#[derive(Clone, Copy, Debug)]
enum KeptLevel {
    Digest,
    Redacted,
    Full,
}

impl FromStr for KeepDays {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no time to keep: write `full=7`, `redacted=30`, `digest=365` or `full=forever`");
        let (level, days) = text.split_once('=').ok_or_else(expected)?;
        let level = match level {
            "digest" => KeptLevel::Digest,
            "redacted" => KeptLevel::Redacted,
            "full" => KeptLevel::Full,
            _ => return Err(expected()),
        };
        let keep = match days {
            "forever" => None,
            days => Some(Duration::from_secs(u64::from(days.parse::<u32>().map_err(|_| expected())?) * 86_400)),
        };
        Ok(Self { level, keep })
    }
}

pub async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let server = args.data_dir.database.server()?;
    let mut settings = Settings::new(
        args.listen,
        args.insecure_listen,
        args.data_dir.data_dir,
        args.pending_per_principal_max,
        args.arguments_keep_days,
        args.public_url.as_deref(),
        Rates {
            person_per_s_max: args.person_requests_per_s_max,
            gateway_per_s_max: args.gateway_requests_per_s_max,
            stranger_per_s_max: args.stranger_requests_per_s_max,
        },
        args.connections_max,
        args.oidc.as_deref().map(oidc::settings::read).transpose()?.unwrap_or_default(),
    )?;
    let connections_max = args.database_connections_max.unwrap_or(DATABASE_CONNECTIONS_DEFAULT);
    settings.database = server.map(|server| DatabaseSettings { server, connections_max });
    for KeepDays { level, keep } in args.payloads_keep_days {
        let kept = &mut settings.payloads_keep;
        *match level {
            KeptLevel::Full => &mut kept.full,
            KeptLevel::Redacted => &mut kept.redacted,
            KeptLevel::Digest => &mut kept.digest,
        } = keep;
    }
    if let Some(file) = &args.notify {
        settings.notify = NotifySettings::load(file)?;
    }
    if let Some(endpoint) = &args.otlp_endpoint {
        settings.otlp = Some(OtlpSettings::new(endpoint, args.otlp_headers.as_deref())?);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    // A log that cannot be written (a full disk) must not take the task down that wanted to write it.
    let log = log.log_internal_errors(false);
    log.init();
    let data_dir = settings.data_dir.clone();
    let place = match &settings.database {
        Some(database) => format!("{} (database `{}`)", database.server, database.server.database()),
        None => data_dir.display().to_string(),
    };
    crate::serve::serve(settings, |address, key| {
        let line = match args.output.output {
            Form::Text => {
                format!("holdpoint serves http://{address} · data in {place} · service key {key}")
            }
            Form::Json => {
                json!({ "url": format!("http://{address}"), "data_dir": data_dir, "data": place, "service_key": key })
                    .to_string()
            }
        };
        // Nobody has to read it, and the service does not end because nobody does.
        let _ = writeln!(std::io::stdout(), "{line}");
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}
