//! Which PostgreSQL server and database: a URL as libpq has it, checked before anything is opened.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::store::sql::db::Way;

/// What may stand behind the `?` of a URL: anything else would be a setting that nobody keeps.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// A server, and who connects to which of its databases.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    direct: Option<PgConnectOptions>,
}

/// Why a URL is not taken. Never shows it: there may be a password in it.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("`{0}` must begin with postgres:// and look like postgres://user@host:5432/database")]
    Shape(&'static str),
    #[error("`{option}` has a parameter `{name}`, which nothing here keeps: use {}", PARAMETERS.join(", "))]
    Parameter { option: &'static str, name: String },
    #[error("`{option}`: {why}")]
    Value { option: &'static str, why: String },
    #[error(
        "`{option}` reaches another machine, and `sslmode={mode}` does not make sure of it: say `sslmode=verify-full` \
         (and `sslrootcert=FILE` for an authority of your own), or `sslmode=disable` where the network itself encrypts"
    )]
    Unsafe { option: &'static str, mode: &'static str },
}

impl Server {
    /// Reads `--database-url`, and `--database-direct-url` where the first one leads to a pooler.
    pub fn new(url: &str, direct_url: Option<&str>) -> Result<Self, ServerError> {
        let direct = direct_url.map(|url| options("--database-direct-url", url)).transpose()?;
        let mut options = options("--database-url", url)?;
        if direct.is_some() {
            // Nothing here reads a float, and a pooler refuses what it does not know.
            options = options.extra_float_digits(None);
        }
        Ok(Self { options, direct })
    }

    /// Whether `--database-url` leads to a pooler.
    pub(super) fn way(&self) -> Way {
        if self.direct.is_some() { Way::Pooled } else { Way::Direct }
    }

    /// How to connect for statements and transactions.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// How to connect for what a connection keeps: the lock of migrations, and hearing notifications.
    pub(super) fn direct(&self) -> &PgConnectOptions {
        self.direct.as_ref().unwrap_or(&self.options)
    }

    /// Who connects.
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// The database's name; a server takes the user's where there is none.
    pub fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.user())
    }

    /// The same of the way past a pooler.
    pub(super) fn direct_database(&self) -> &str {
        let direct = self.direct();
        direct.get_database().unwrap_or(direct.get_username())
    }
}

/// Where it is, without who connects and how.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.options.get_socket() {
            Some(socket) => write!(f, "the PostgreSQL server at `{}`", socket.display()),
            None => write!(f, "the PostgreSQL server at `{}:{}`", self.options.get_host(), self.options.get_port()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({}, database {})", self, self.database())
    }
}

fn options(option: &'static str, url: &str) -> Result<PgConnectOptions, ServerError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(ServerError::Shape(option));
    }
    let parsed = reqwest::Url::parse(url).map_err(|_| ServerError::Shape(option))?;
    if let Some((name, _)) = parsed.query_pairs().find(|(name, _)| !PARAMETERS.contains(&name.as_ref())) {
        return Err(ServerError::Parameter { option, name: name.into_owned() });
    }
    let options = PgConnectOptions::from_str(url);
    let mut options = options.map_err(|error| ServerError::Value { option, why: error.to_string() })?;
    if options.get_application_name().is_none() {
        options = options.application_name("holdpoint");
    }
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let is_here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let mode = match options.get_ssl_mode() {
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        // Keeps from listening, not from somebody who answers in the server's place; asked for by name, it is known.
        PgSslMode::Require | PgSslMode::Disable | PgSslMode::VerifyCa | PgSslMode::VerifyFull => return Ok(options),
    };
    if is_here { Ok(options) } else { Err(ServerError::Unsafe { option, mode }) }
}
