//! Reads a JSON body; what is wrong with it comes back as a problem.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body that comes more slowly is not waited for.
const BODY_MAX: Duration = Duration::from_secs(30);

/// A JSON body of type `T`. An empty one stands for `{}`.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = read(request, state).await?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        match serde_json::from_slice(text) {
            Ok(body) => Ok(Self(body)),
            Err(error) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "malformed-body",
                format!("the body is not as expected: {error}"),
            )),
        }
    }
}

/// A body as it came, for what is kept byte for byte.
pub struct Verbatim(pub String);

impl<S: Send + Sync> FromRequest<S> for Verbatim {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match String::from_utf8(read(request, state).await?.into()) {
            Ok(text) => Ok(Self(text)),
            Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "malformed-body", "the body is not UTF-8".to_owned())),
        }
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    let Ok(bytes) = tokio::time::timeout(BODY_MAX, Bytes::from_request(request, state)).await else {
        let detail = "the body did not arrive within 30 s: send it again, faster".to_owned();
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body-incomplete", detail));
    };
    match bytes {
        Ok(bytes) => Ok(bytes),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is larger than 2 MiB: send less at once".to_owned();
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail))
        }
        Err(rejection) => {
            let status = rejection.into_response().status();
            Err(Problem::new(status, "body-incomplete", "the body did not arrive whole: send it again".to_owned()))
        }
    }
}
