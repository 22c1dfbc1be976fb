//! Step 8: which person a browser acts for, by its cookie, and whether a form was sent from one of our pages.

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderValue, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::auth::bearer;
use super::pages::{html, trouble};
use super::problem::Problem;
use crate::limits::{Exceeded, Peer};
use crate::oidc;
use crate::router::App;
use crate::sessions::{self, SESSION_MS_MAX, Secret, Session};
use crate::tokens::Role;
use crate::web::sign_in::{AgainPage, SignInPage};

const COOKIE_NAME: &str = "holdpoint_session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Nothing but what this service itself serves, and nobody may frame it or send its forms elsewhere.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; \
     frame-ancestors 'none'; base-uri 'none'",
);

/// Takes the session of a request. Whoever has none is told how to get one.
impl FromRequestParts<App> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        if let Some(token) = parts.headers.get(AUTHORIZATION).and_then(bearer).filter(|token| oidc::is_jwt(token)) {
            return by_token(app, token, parts).await;
        }
        if let Some(secret) = cookie(&parts.headers) {
            match sessions::find(&*app.store, secret).await {
                Ok(Some(session)) => return within_limits(app, session),
                Ok(None) => {}
                Err(error) => return Err(trouble(&Problem::from(error))),
            }
        }
        let peer = parts.extensions.get().copied().unwrap_or(Peer::unknown());
        if let Err(exceeded) = app.limits.admit_stranger(peer) {
            app.metrics.refused("address");
            return Err(limited(exceeded));
        }
        // A strict cookie does not come along from another site; it does from the page that this answers.
        let elsewhere = parts.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
        if elsewhere && parts.method == Method::GET {
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            return Err(html(StatusCode::OK, &AgainPage { path: path.to_owned() }));
        }
        Err(html(StatusCode::UNAUTHORIZED, &SignInPage))
    }
}

/// The session of whoever the token stands for that a proxy has put in. It is believed for what its issuer signed, never
/// for where it came from; and one that is no good is not passed over for a cookie.
async fn by_token(app: &App, token: &str, parts: &Parts) -> Result<Session, Response> {
    match app.oidc.authenticate(&*app.store, token).await {
        // Whoever may sign in by a link may by a token. Gateways have no browser.
        Ok(person) if person.role != Role::Enforcer => {
            within_limits(app, sessions::of_token(person, &app.approvals.signer))
        }
        Ok(person) => {
            let detail = format!("these pages are for people, and you are of role {}", person.role);
            Err(trouble(&Problem::new(StatusCode::FORBIDDEN, "role", detail)))
        }
        Err(error) => {
            let peer = parts.extensions.get().copied().unwrap_or(Peer::unknown());
            if let Err(exceeded) = app.limits.admit_stranger(peer) {
                app.metrics.refused("address");
                return Err(limited(exceeded));
            }
            Err(trouble(&Problem::from(error)))
        }
    }
}

#[expect(clippy::result_large_err, reason = "the rejection of an extractor is an answer")]
fn within_limits(app: &App, session: Session) -> Result<Session, Response> {
    match app.limits.admit(&session.person) {
        Ok(()) => Ok(session),
        Err(exceeded) => {
            app.metrics.refused("credential");
            Err(limited(exceeded))
        }
    }
}

fn limited(exceeded: Exceeded) -> Response {
    let problem = Problem::limited("browser", exceeded);
    let retry_after = (RETRY_AFTER, problem.retry_after_s().to_string());
    ([retry_after], trouble(&problem)).into_response()
}

fn cookie(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, text)| Secret::presented(text))
}

/// The header that gives a browser its session, or with `None` takes it away.
pub fn set_cookie(session: Option<&Session>, headers: &HeaderMap) -> (HeaderName, String) {
    let (text, seconds) = session
        .and_then(|session| session.secret.as_ref())
        .map_or(("", 0), |secret| (secret.text(), SESSION_MS_MAX / 1_000));
    // Behind a proxy that speaks TLS the cookie never travels without it. Whoever forges the header only harms himself.
    let secure = headers.get(X_FORWARDED_PROTO).is_some_and(|proto| proto == "https");
    let secure = if secure { "; Secure" } else { "" };
    (SET_COOKIE, format!("{COOKIE_NAME}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"))
}

/// Whether a form carries the token of its session.
pub fn is_own_form(session: &Session, form_token: &str) -> bool {
    session.form_token.as_bytes().ct_eq(form_token.as_bytes()).into()
}

/// Around every page: lets through only requests that a browser may have sent for one of our own pages, and tells the
/// browser what pages may not do.
pub async fn guard(request: Request, next: Next) -> Response {
    let safe = request.method() == Method::GET || request.method() == Method::HEAD;
    let mut response = if safe || is_same_origin(request.headers()) {
        next.run(request).await
    } else {
        let detail = "this was not sent from a page of this service: open the page itself and try again";
        trouble(&Problem::new(StatusCode::FORBIDDEN, "foreign-origin", detail.to_owned()))
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Under `no-referrer` a browser calls the origin of our own forms `null`; other sites learn nothing from this either.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Every browser of today says where a form comes from, in at least one of two headers.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(ORIGIN).map(|origin| {
        let authority = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
        authority.is_some() && authority == host
    });
    let site = headers.get(SEC_FETCH_SITE).map(|site| site == "same-origin");
    match (site, origin) {
        (None, None) => false,
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    }
}

/// Like [`guard`]'s answer to a foreign origin, for a form without its token.
pub fn not_own_form() -> Response {
    let detail = "the form was not made for your session, or is from an earlier one: open the page again";
    trouble(&Problem::new(StatusCode::FORBIDDEN, "form-token", detail.to_owned())).into_response()
}
