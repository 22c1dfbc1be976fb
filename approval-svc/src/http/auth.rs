//! Who is calling: a bearer token of one of the roles that a route is for.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use holdpoint_core::wire::{PROBLEM_WIRE, WIRE, WIRE_HEADER, WireVersion, apart};

use super::prefer;
use super::problem::Problem;
use crate::limits::{Exceeded, Peer};
use crate::oidc::{self, TokenError};
use crate::router::App;
use crate::tokens::{self, Credential, Role};

/// Lets a request through whose token has one of `roles`; the handler finds its `Credential` as an extension.
pub async fn admit(app: App, roles: &'static [Role], mut request: Request, next: Next) -> Response {
    let peer = peer(&request);
    let Some(token) = request.headers().get(AUTHORIZATION).and_then(bearer) else {
        return unauthorized(
            &app,
            peer,
            "send `Authorization: Bearer <token>`; make one with `holdpoint token create`",
        );
    };
    let revocations = request.headers().contains_key(prefer::PREFER).then(|| app.revocations.listen());
    let credential = match oidc::is_jwt(token) {
        // Elsewhere in memory, and only for as long as it takes: calls wait in the frame of this function.
        false => Box::pin(tokens::authenticate(&*app.store, token)).await,
        true => match Box::pin(app.oidc.authenticate(&*app.store, token)).await {
            Ok(credential) => Ok(Some(credential)),
            Err(TokenError::Store(error)) => Err(error),
            Err(error) if error.is_genuine() => return Problem::from(error).into_response(),
            Err(error) => return unauthorized(&app, peer, &error.to_string()),
        },
    };
    match credential {
        Err(error) => Problem::from(error).into_response(),
        Ok(None) => unauthorized(&app, peer, "the token is unknown or revoked; make one with `holdpoint token create`"),
        Ok(Some(credential)) if !roles.contains(&credential.role) => {
            let needed: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let detail = format!("the token is of role {}; this needs {}", credential.role, needed.join(" or "));
            Problem::new(StatusCode::FORBIDDEN, "role", detail).into_response()
        }
        Ok(Some(credential)) => {
            if let Err(exceeded) = app.limits.admit(&credential) {
                return limited(&app, "credential", exceeded);
            }
            if let Some(why) = too_far(&credential, &request) {
                tracing::warn!(gateway = credential.subject, "{why}");
                return Problem::new(StatusCode::CONFLICT, PROBLEM_WIRE, why).into_response();
            }
            let proof = credential.proof.clone();
            request.extensions_mut().insert(credential);
            let Some(revocations) = revocations else { return next.run(request).await };
            // What is being written is written to its end, whether or not anybody waits for it.
            tokio::select! {
                response = next.run(request) => response,
                ended = revocations.ended(&*app.store, &proof) => match ended {
                    Ok(()) => unauthorized(&app, peer, "the token was revoked, or its time has ended, while you waited"),
                    Err(error) => Problem::from(error).into_response(),
                },
            }
        }
    }
}

/// Why a gateway's filter and this service cannot work together; `None` when they can.
fn too_far(credential: &Credential, request: &Request) -> Option<String> {
    if credential.role != Role::Enforcer {
        return None;
    }
    let Some(said) = request.headers().get(WIRE_HEADER) else { return apart(WireVersion::UNSAID, WIRE) };
    match WireVersion::read(said.as_bytes()) {
        Some(filter) => apart(filter, WIRE),
        None => Some(format!("`{WIRE_HEADER}` is no version such as {WIRE}: only the filter says it")),
    }
}

/// Says with every answer which version of the wire is spoken here.
pub async fn say_wire(mut response: Response) -> Response {
    let version = HeaderValue::from_str(&WIRE.to_string());
    if let Ok(version) = version {
        response.headers_mut().insert(HeaderName::from_static(WIRE_HEADER), version);
    }
    response
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Store(error) => error.into(),
            error if error.is_genuine() => Self::new(StatusCode::FORBIDDEN, "token-unfit", error.to_string()),
            error => Self::new(StatusCode::UNAUTHORIZED, "token", error.to_string()),
        }
    }
}

pub(super) fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Around what needs no credential: so much for one address.
pub async fn admit_stranger(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.limits.admit_stranger(peer(&request)) {
        Ok(()) => next.run(request).await,
        Err(exceeded) => limited(&app, "address", exceeded),
    }
}

/// Where a request comes from.
pub fn peer(request: &Request) -> Peer {
    request.extensions().get().copied().unwrap_or(Peer::unknown())
}

/// The answer to a request over a limit.
pub fn limited(app: &App, limit: &'static str, exceeded: Exceeded) -> Response {
    app.metrics.refused(limit);
    Problem::limited(limit, exceeded).into_response()
}

fn unauthorized(app: &App, peer: Peer, detail: &str) -> Response {
    // Only those whose credential is no good are held against their address, so that guessing wears out.
    if let Err(exceeded) = app.limits.admit_stranger(peer) {
        return limited(app, "address", exceeded);
    }
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "token", detail.to_owned()).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
