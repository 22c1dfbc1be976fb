//! The public keys of one identity provider: fetched, kept when they cannot be had again, and never more than a bound.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Certificate, Client, Url, redirect};
use serde::Deserialize;
use serde_json::Value;

use super::IssuerStanding;
use super::settings::{Jwks, JwksSource, key_url};

/// Most keys of one provider, and the longest text they come in.
const KEYS_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 262_144;
const FETCH_MAX: Duration = Duration::from_secs(5);
/// Between two attempts: an unknown key id, which anybody can make up, does not make us ask more often.
const RETRY_MIN: Duration = Duration::from_secs(10);
/// How long keys are believed that cannot be had again.
const KEPT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The keys, and how they came.
pub struct Keys {
    source: JwksSource,
    ca_file: Option<PathBuf>,
    refresh_every: Duration,
    retry_min: Duration,
    state: Mutex<State>,
    /// One fetch at a time: whoever else wants the same waits for it.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Vec<Key>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
    problem: Option<String>,
    clock_ahead_s: Option<i64>,
}

#[derive(Clone)]
struct Key {
    id: Option<String>,
    kind: KeyKind,
    /// What the provider itself says that this key is for.
    algorithm: Option<String>,
    key: DecodingKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub fn new(jwks: Jwks) -> Self {
        let Jwks { source, ca_file, refresh_every } = jwks;
        let retry_min = RETRY_MIN.min(refresh_every);
        Self {
            source,
            ca_file,
            refresh_every,
            retry_min,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        }
    }

    /// The key of this id that fits the algorithm; of a token without an id, the only one that fits. Asks the provider
    /// again, not too often, for one that is not known: it may have a new key.
    pub async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, String> {
        match self.known(id, algorithm) {
            Ok(key) => Ok(key),
            Err(_) => {
                self.refresh_if(|state| state.tried_at.is_none_or(|at| at.elapsed() >= self.retry_min)).await;
                self.known(id, algorithm)
            }
        }
    }

    /// Fetches the keys where they are due: never had, old, or not had the last time.
    pub async fn refresh_if_due(&self) {
        self.refresh_if(|state| {
            let pause = if state.problem.is_some() { self.retry_min } else { self.refresh_every };
            state.tried_at.is_none_or(|at| at.elapsed() >= pause)
        })
        .await;
    }

    async fn refresh_if(&self, is_due: impl Fn(&State) -> bool) {
        if !is_due(&self.state()) {
            return;
        }
        let _turn = self.fetching.lock().await;
        // Whoever had the turn before may have fetched what is wanted.
        if !is_due(&self.state()) {
            return;
        }
        self.state().tried_at = Some(Instant::now());
        let fetched = match &self.source {
            JwksSource::File(file) => read(file).map(|text| (text, None)),
            JwksSource::Url(url) => fetch(url, self.ca_file.as_deref()).await,
            JwksSource::Discovered { description, issuer } => {
                discover(description, issuer, self.ca_file.as_deref()).await
            }
        };
        let taken = fetched.and_then(|(text, ahead)| Ok((parse(&text)?, ahead)));
        let mut state = self.state();
        match taken {
            Ok((keys, ahead)) => {
                *state =
                    State { keys, fetched_at: Some(Instant::now()), problem: None, clock_ahead_s: ahead, ..*state };
            }
            Err(problem) => {
                // The last good ones stay: a provider that is away for an hour locks nobody out.
                tracing::warn!(%problem, "the keys of an identity provider cannot be had");
                state.problem = Some(problem);
            }
        }
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, String> {
        let state = self.state();
        if state.fetched_at.is_none_or(|at| at.elapsed() > KEPT_MAX) {
            return Err(state.problem.clone().unwrap_or_else(|| "they have not been fetched yet".to_owned()));
        }
        let fits = |key: &&Key| {
            is_for(key.kind, algorithm) && key.algorithm.as_ref().is_none_or(|named| *named == format!("{algorithm:?}"))
        };
        let mut fitting = state.keys.iter().filter(|key| id.is_none() || key.id.as_deref() == id).filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key.key.clone()),
            (None, _) => Err("it has none of that id and kind".to_owned()),
            (Some(_), Some(_)) => Err("several fit: the token must name one by `kid`".to_owned()),
        }
    }

    /// How it stands with the keys of `issuer`.
    pub fn standing(&self, issuer: &str) -> IssuerStanding {
        let state = self.state();
        IssuerStanding {
            issuer: issuer.to_owned(),
            keys: u64::try_from(state.keys.len()).unwrap_or(u64::MAX),
            age_s: state.fetched_at.map(|at| at.elapsed().as_secs()),
            problem: state.problem.clone(),
            clock_ahead_s: state.clock_ahead_s,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_for(kind: KeyKind, algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512 => kind == KeyKind::Rsa,
        Algorithm::ES256 => kind == KeyKind::P256,
        Algorithm::ES384 => kind == KeyKind::P384,
        Algorithm::EdDSA => kind == KeyKind::Ed25519,
        _ => false,
    }
}

/// The keys of a set that can check signatures. One that cannot is passed over; a set without any is an error.
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let set: KeySet = serde_json::from_str(text).map_err(|error| format!("what came is no set of keys: {error}"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(format!("{} keys came, at most {KEYS_MAX} are taken", set.keys.len()));
    }
    let keys: Vec<Key> = set.keys.into_iter().filter_map(key).collect();
    if keys.is_empty() {
        return Err("what came has no public key for signatures".to_owned());
    }
    Ok(keys)
}

fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let is_for_signatures = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
        (Some(PublicKeyUse::Signature) | None, None) => true,
        (Some(PublicKeyUse::Signature) | None, Some(operations)) => operations.contains(&KeyOperations::Verify),
        (Some(_), _) => false,
    };
    let kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => KeyKind::Rsa,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => KeyKind::P256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P384 => KeyKind::P384,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => KeyKind::Ed25519,
        // A shared secret in a public place, or what we cannot check.
        _ => return None,
    };
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| is_for_signatures)?;
    let algorithm = jwk.common.key_algorithm.map(|algorithm| algorithm.to_string());
    Some(Key { id: jwk.common.key_id, kind, algorithm, key })
}

fn read(file: &Path) -> Result<String, String> {
    let problem = |error: std::io::Error| format!("`{}` cannot be read: {error}", file.display());
    let bytes = std::fs::metadata(file).map_err(problem)?.len();
    if bytes > TEXT_BYTES_MAX as u64 {
        return Err(format!("`{}` has {bytes} bytes, at most {TEXT_BYTES_MAX} are read", file.display()));
    }
    std::fs::read_to_string(file).map_err(problem)
}

/// What a provider says of itself, as far as it concerns us.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// The keys from where the provider says that they are.
async fn discover(description: &Url, issuer: &str, ca_file: Option<&Path>) -> Result<(String, Option<i64>), String> {
    let (text, _) = fetch(description, ca_file).await?;
    let Description { issuer: named, jwks_uri } = serde_json::from_str(&text)
        .map_err(|error| format!("{description} is no description of a provider: {error}"))?;
    // OpenID Connect Discovery §4.3: a description of somebody else would bring somebody else's keys.
    if named != issuer {
        return Err(format!("{description} describes `{named}`, not `{issuer}`"));
    }
    fetch(&key_url("jwks_uri", &jwks_uri)?, ca_file).await
}

/// The text at `url`, and how far ahead the clock of whoever answers is.
async fn fetch(url: &Url, ca_file: Option<&Path>) -> Result<(String, Option<i64>), String> {
    let problem = |error: reqwest::Error| format!("{url}: {}", root_cause(&error));
    // Keys come from where the operator said, by no way that an environment or an answer names.
    let http = Client::builder().timeout(FETCH_MAX).no_proxy().redirect(redirect::Policy::none());
    let http = match ca_file {
        None => http,
        // Read each time: certificates are replaced, too.
        Some(file) => {
            let no_certificates = |why: String| format!("`{}` holds no certificates: {why}", file.display());
            let found = Certificate::from_pem_bundle(read(file)?.as_bytes());
            let found = found.map_err(|error| no_certificates(root_cause(&error)))?;
            if found.is_empty() {
                return Err(no_certificates("there is no PEM block `CERTIFICATE` in it".to_owned()));
            }
            http.tls_certs_only(found)
        }
    };
    let http = http.build().map_err(problem)?;
    let mut answer = http.get(url.clone()).send().await.map_err(problem)?;
    if !answer.status().is_success() {
        return Err(format!("{url} answered {}", answer.status()));
    }
    let date = answer.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    let ahead = date.and_then(clock_ahead_s);
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(problem)? {
        if bytes.len() + chunk.len() > TEXT_BYTES_MAX {
            return Err(format!("{url} sent more than {TEXT_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("{url} sent no text"))?;
    Ok((text, ahead))
}

/// How many seconds a clock that says `date` (RFC 9110 §5.6.7) is ahead of this machine's.
pub fn clock_ahead_s(date: &str) -> Option<i64> {
    let there = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second();
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(there - i64::try_from(here).ok()?)
}

/// The innermost cause: "connection refused" rather than that a request was not sent.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
