//! Stands in for the approval service's record (step 12): acknowledges every batch and keeps nothing.
//!
//! The real service would write to a disk on the same two cores; what the filter does to send its record is measured,
//! what the service does with it is not.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::served::Answered;

/// Reads a batch to its end and acknowledges it.
pub(crate) async fn acknowledge(batch: Request<Incoming>) -> Answered {
    let mut body = batch.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Response::new(Full::from("{}").boxed())
}
