//! What `holdpoint serve` is told, checked before anything is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::ledger::payloads::PayloadsKeep;
use crate::limits::Rates;
use crate::notify::settings::NotifySettings;
use crate::oidc::settings::IssuerSettings;
use crate::otlp::push::OtlpSettings;
use crate::store::postgres::server::Server;

const DAY_MS: u64 = 86_400_000;

/// Checked settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    /// Pending approvals that one principal may have.
    pub pending_per_principal_max: u64,
    /// How long arguments are kept after their approval has ended.
    pub arguments_keep_ms: u64,
    /// How long what stands beside entries of the record is kept.
    pub payloads_keep: PayloadsKeep,
    /// Where browsers reach the service, without a slash at the end.
    pub public_url: Option<String>,
    /// Requests in a time, by who sends them.
    pub rates: Rates,
    /// Connections open at once.
    pub connections_max: usize,
    /// Who is told what.
    pub notify: NotifySettings,
    /// Identity providers whose tokens are taken.
    pub issuers: Vec<IssuerSettings>,
    /// The collector that is sent the record.
    pub otlp: Option<OtlpSettings>,
    /// The server that keeps the state, instead of a file in the data directory.
    pub database: Option<DatabaseSettings>,
}

/// A database that other replicas of the service may share.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    pub server: Server,
    /// Connections for reads; one more writes, and one listens.
    pub connections_max: u32,
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "`--listen {0}` can be reached from other machines, and this version speaks plain HTTP, which would show \
         tokens and arguments to the network: listen on 127.0.0.1 and put a TLS proxy in front, or say \
         `--insecure-listen` where the network itself encrypts"
    )]
    Exposed(SocketAddr),
    #[error("`--pending-per-principal-max` must be at least 1: with 0, nothing could ever ask for approval")]
    PendingMax,
    #[error("`{0}` must be at least 1: with 0, nobody could be answered")]
    NoRoom(&'static str),
    #[error("`--public-url` must begin with https:// (or http:// for a test): it is given to the users of agents")]
    PublicUrl,
}

impl Settings {
    /// Refuses what would expose the service by accident.
    #[expect(clippy::too_many_arguments, reason = "one for each option of the command line, and only it calls this")]
    pub fn new(
        listen: SocketAddr,
        insecure_listen: bool,
        data_dir: PathBuf,
        pending_per_principal_max: u64,
        arguments_keep_days: u32,
        public_url: Option<&str>,
        rates: Rates,
        connections_max: usize,
        issuers: Vec<IssuerSettings>,
    ) -> Result<Self, SettingsError> {
        if !listen.ip().is_loopback() && !insecure_listen {
            return Err(SettingsError::Exposed(listen));
        }
        if pending_per_principal_max == 0 {
            return Err(SettingsError::PendingMax);
        }
        for (option, value) in [
            ("--person-requests-per-s-max", rates.person_per_s_max),
            ("--gateway-requests-per-s-max", rates.gateway_per_s_max),
            ("--stranger-requests-per-s-max", rates.stranger_per_s_max),
            ("--connections-max", u32::try_from(connections_max).unwrap_or(u32::MAX)),
        ] {
            if value == 0 {
                return Err(SettingsError::NoRoom(option));
            }
        }
        let arguments_keep_ms = u64::from(arguments_keep_days).saturating_mul(DAY_MS);
        let public_url = public_url.map(|url| url.trim_end_matches('/').to_owned());
        if public_url.as_ref().is_some_and(|url| !url.starts_with("https://") && !url.starts_with("http://")) {
            return Err(SettingsError::PublicUrl);
        }
        Ok(Self {
            listen,
            data_dir,
            pending_per_principal_max,
            arguments_keep_ms,
            payloads_keep: PayloadsKeep::default(),
            public_url,
            rates,
            connections_max,
            notify: NotifySettings::default(),
            issuers,
            otlp: None,
            database: None,
        })
    }
}
