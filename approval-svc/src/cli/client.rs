//! Talks to a running service for the commands that need one.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::text::root_cause;
use crate::text::visible;

const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The service sends something every 15 seconds; a line that is quiet for longer is dead.
const QUIET_MAX: Duration = Duration::from_secs(40);

/// Which service, and as whom.
#[derive(Debug, Args)]
pub struct Server {
    /// Address of the service
    #[arg(long, env = "HOLDPOINT_URL", default_value = "http://127.0.0.1:7437", value_name = "URL", value_parser = address)]
    server: Url,
    /// Your token, made here or given by your identity provider; better in the environment or a file than on the command line
    #[arg(long, env = "HOLDPOINT_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// File that holds your token; read again when it is needed again
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// A service that answers to a token.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// For answers that never end.
    stream: reqwest::Client,
    server: Url,
    token: String,
    /// Read again for each request: tokens of identity providers are short-lived, and a program renews them there.
    token_file: Option<PathBuf>,
}

/// An address with its scheme.
fn address(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        _ if text.contains("://") => Err(format!("`{text}` is no address; one is `http://127.0.0.1:7437`")),
        _ => Err(format!("write `http://{text}`")),
    }
}

impl Server {
    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.server
    }

    /// The token that was given, if one was.
    pub fn token(&self) -> anyhow::Result<Option<String>> {
        let token = match (&self.token_file, &self.token) {
            (Some(file), _) => {
                std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?
            }
            (None, Some(token)) => token.clone(),
            (None, None) => return Ok(None),
        };
        Ok(Some(token.trim().to_owned()))
    }

    pub fn client(&self) -> anyhow::Result<Client> {
        let Some(token) = self.token()? else {
            bail!(
                "no token: set HOLDPOINT_TOKEN or `--token-file`; make one with `holdpoint token create --role approver`"
            )
        };
        // A token must not go to a proxy that the environment names for other traffic.
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).no_proxy().build()?;
        let stream =
            reqwest::Client::builder().connect_timeout(ANSWER_MAX).read_timeout(QUIET_MAX).no_proxy().build()?;
        Ok(Client { http, stream, server: self.server.clone(), token, token_file: self.token_file.clone() })
    }
}

impl Client {
    /// Reads `path`, which may carry a query.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Sends `body` to `path`.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> anyhow::Result<T> {
        self.call(Method::POST, path, Some(body)).await
    }

    fn token(&self) -> String {
        let renewed = self.token_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        renewed.map_or_else(|| self.token.clone(), |token| token.trim().to_owned())
    }

    /// Where the service is.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// Opens the stream of events, after the one with this number.
    pub async fn events(&self, last_seen: Option<u64>) -> Result<Response, EventsError> {
        let url = self.server.join("/v1/events").map_err(|error| EventsError::Refused(error.to_string()))?;
        let mut request = self.stream.get(url).bearer_auth(self.token());
        if let Some(seq) = last_seen {
            request = request.header("last-event-id", seq);
        }
        let response = request.send().await.map_err(|error| EventsError::Lost(root_cause(&error)))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(EventsError::Refused(refusal(response).await)),
            status => Err(EventsError::Lost(format!("the service answered {status}"))),
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let url = self.server.join(path).with_context(|| format!("`{}` is no address of a service", self.server))?;
        let mut request = self.http.request(method, url).bearer_auth(self.token());
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| {
            format!("cannot reach {}: is `holdpoint serve` running there? say where with `--server`", self.server)
        })?;
        if !response.status().is_success() {
            bail!(refusal(response).await);
        }
        response.json().await.with_context(|| {
            format!(
                "the answer of {} is not what this command reads: is the token's role the right one (a gateway's is \
                 not), and the service of this version?",
                self.server
            )
        })
    }
}

/// Why there is no stream of events.
#[derive(Debug)]
pub enum EventsError {
    /// Not now: worth trying again.
    Lost(String),
    /// Not with this token.
    Refused(String),
}

/// What the service says is wrong, in its own sentence.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let problem: Value = response.json().await.unwrap_or_default();
    match problem.get("detail").and_then(Value::as_str) {
        Some(detail) => visible(detail),
        None => format!("the service answered {status}"),
    }
}
