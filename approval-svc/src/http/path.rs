//! Parts of a path and the query, read or answered with a problem.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// Parts of the path of type `T`. What is not UTF-8, or no number where one is needed, is a problem as any other.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        let axum::extract::Path(value) = read.map_err(|rejection: PathRejection| malformed(&rejection.body_text()))?;
        // A NUL ends a text for some who read it further on, and no name has one.
        let raw = RawPathParams::from_request_parts(parts, state).await;
        if raw.is_ok_and(|params| params.iter().any(|(_, value)| value.contains('\0'))) {
            return Err(malformed("a NUL stands in it"));
        }
        Ok(Self(value))
    }
}

fn malformed(why: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed-path", format!("the path cannot be read: {why}"))
}
