//! Who is calling: a bearer token of one of the roles that a route is for.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::router::App;
use crate::tokens::{self, Role};

/// Lets a request through whose token has one of `roles`; the handler finds its `Credential` as an extension.
pub async fn admit(app: App, roles: &'static [Role], mut request: Request, next: Next) -> Response {
    let Some(token) = request.headers().get(AUTHORIZATION).and_then(bearer) else {
        return unauthorized("send `Authorization: Bearer <token>`; make one with `holdpoint token create`");
    };
    match tokens::authenticate(&*app.store, token).await {
        Err(error) => Problem::from(error).into_response(),
        Ok(None) => unauthorized("the token is unknown or revoked; make one with `holdpoint token create`"),
        Ok(Some(credential)) if !roles.contains(&credential.role) => {
            let needed: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            let detail = format!("the token is of role {}; this needs {}", credential.role, needed.join(" or "));
            Problem::new(StatusCode::FORBIDDEN, "role", detail).into_response()
        }
        Ok(Some(credential)) => {
            request.extensions_mut().insert(credential);
            next.run(request).await
        }
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized(detail: &str) -> Response {
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, "token", detail.to_owned()).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
