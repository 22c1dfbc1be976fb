//! A stand-in OpenID provider on the network: authorization endpoint, token endpoint, keys. Signs people in for step 8.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use bytes::Bytes;
use holdpoint_core::digest::{Digest, hex_encode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::idp::Idp;

/// The client that Envoy is, and its secret.
pub const CLIENT_ID: &str = "holdpoint-page";
pub const CLIENT_SECRET: &str = "replace-by-the-secret-of-your-client";
/// The audience of the approval service.
pub const AUDIENCE: &str = "holdpoint";

/// Who signs in next, as whom the provider's own login page would take them.
#[derive(Debug, Clone)]
pub struct Person {
    pub subject: String,
    pub groups: Vec<String>,
}

/// A provider with an [`Idp`]'s key. Ended when dropped.
pub struct OidcProvider {
    port: u16,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

struct State {
    idp: Idp,
    person: Option<Person>,
    /// Code → who it is for, where it may be taken to, and the digest that its taker must know the text of.
    codes: HashMap<String, (Person, String, Option<String>)>,
    /// What each token was asked for with.
    refused: Vec<String>,
}

impl OidcProvider {
    /// Starts one on a free port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let idp = Idp::new()?;
        let state = Arc::new(Mutex::new(State { idp, person: None, codes: HashMap::new(), refused: Vec::new() }));
        let served = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    let connection = auto::Builder::new(TokioExecutor::new());
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { port, state, serving })
    }

    /// The loopback port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of one of its endpoints.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// From now on this person signs in.
    pub fn next(&self, subject: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        lock(&self.state).person = Some(Person { subject: subject.to_owned(), groups });
    }

    /// A token as the token endpoint gives it, for a client of another kind than a browser.
    pub fn token(&self, subject: &str, groups: &[&str]) -> anyhow::Result<String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        access_token(&lock(&self.state).idp, &Person { subject: subject.to_owned(), groups })
    }

    /// Replaces its key, as a rotation does.
    pub fn rotate(&self) -> anyhow::Result<()> {
        lock(&self.state).idp = Idp::with_key_id("rotated")?;
        Ok(())
    }

    /// Why codes were not redeemed.
    pub fn refused(&self) -> Vec<String> {
        lock(&self.state).refused.clone()
    }
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn access_token(idp: &Idp, person: &Person) -> anyhow::Result<String> {
    let claims = idp.claims(&person.subject).with("aud", AUDIENCE).with("azp", CLIENT_ID);
    idp.mint(claims.with("groups", &person.groups))
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let answered = match path.as_str() {
        "/authorize" => authorize(&mut lock(&state), &fields(&query)),
        "/token" => redeem(&mut lock(&state), &fields(&String::from_utf8_lossy(&body))),
        "/jwks" => Ok(Response::new(lock(&state).idp.jwks().to_owned())),
        _ => Err(anyhow::anyhow!("there is no `{path}`")),
    };
    let response = answered.unwrap_or_else(|error| {
        lock(&state).refused.push(format!("{path}: {error:#}"));
        let mut refusal = Response::new(json!({"error": "invalid_grant"}).to_string());
        *refusal.status_mut() = hyper::StatusCode::BAD_REQUEST;
        refusal
    });
    Ok(response.map(|text| Full::new(Bytes::from(text))))
}

/// RFC 6749 §4.1.1, for somebody whom the login page has just let in.
fn authorize(state: &mut State, asked: &HashMap<String, String>) -> anyhow::Result<Response<String>> {
    let field = |name: &str| asked.get(name).with_context(|| format!("`{name}` is missing"));
    anyhow::ensure!(field("client_id")? == CLIENT_ID && field("response_type")? == "code", "another client or flow");
    anyhow::ensure!(field("scope")?.split(' ').any(|scope| scope == "openid"), "no `openid`");
    let person = state.person.clone().context("nobody signs in")?;
    let mut code = [0; 16];
    getrandom::fill(&mut code)?;
    let code = hex_encode(&code);
    let back = field("redirect_uri")?;
    let mut url = reqwest::Url::parse(back)?;
    url.query_pairs_mut().append_pair("code", &code).append_pair("state", field("state")?);
    state.codes.insert(code, (person, back.clone(), asked.get("code_challenge").cloned()));
    Ok(Response::builder().status(302).header("location", url.as_str()).body(String::new())?)
}

/// RFC 6749 §4.1.3 and RFC 7636 §4.5.
fn redeem(state: &mut State, asked: &HashMap<String, String>) -> anyhow::Result<Response<String>> {
    let field = |name: &str| asked.get(name).with_context(|| format!("`{name}` is missing"));
    anyhow::ensure!(field("grant_type")? == "authorization_code", "another grant");
    anyhow::ensure!(field("client_id")? == CLIENT_ID && field("client_secret")? == CLIENT_SECRET, "not the client");
    let (person, back, challenge) = state.codes.remove(field("code")?).context("no such code, or used")?;
    anyhow::ensure!(*field("redirect_uri")? == back, "taken elsewhere");
    if let Some(challenge) = challenge {
        let digest = Digest::of(field("code_verifier")?.as_bytes());
        anyhow::ensure!(URL_SAFE_NO_PAD.encode(digest.as_bytes()) == challenge, "another verifier");
    }
    let token = access_token(&state.idp, &person)?;
    let tokens = json!({"access_token": token, "id_token": token, "token_type": "Bearer", "expires_in": 600});
    Ok(Response::builder().header("content-type", "application/json").body(tokens.to_string())?)
}

/// A query or a form, by name.
fn fields(text: &str) -> HashMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://here/?{text}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}
