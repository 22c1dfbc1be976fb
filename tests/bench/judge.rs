//! The smallest service that could judge calls from outside Envoy, behind its `ext_authz` and `ext_proc` filters (gRPC).
//!
//! It looks for the one denied tool and does nothing else: no identity, no rules, no record. What these variants cost
//! is thus what the way out of Envoy and back costs; a service that did our work would add its own.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use serde::Deserialize;

use crate::calls::DENIED_TOOL;
use crate::served::Answered;

mod messages;

pub(crate) use messages::bytes_at;

/// The path of `envoy.service.auth.v3.Authorization/Check`; everything else is a stream of `ext_proc`.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// One compression flag and four bytes of length stand before every message of gRPC.
const FRAME_HEAD_BYTES: usize = 5;

/// Answers one call of either filter.
pub(crate) async fn judge(call: Request<Incoming>) -> Answered {
    match call.uri().path() {
        CHECK => check(call.into_body()).await,
        _ => process(call.into_body()),
    }
}

/// One question, one answer.
async fn check(mut body: Incoming) -> Answered {
    let mut frames = Frames::default();
    let mut asked = None;
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            frames.push(&data);
            asked = asked.or_else(|| frames.next());
        }
    }
    let body = asked.and_then(|asked| bytes_at(asked, messages::CHECKED_BODY));
    let answer = if body.is_none_or(|body| denies(&body)) { messages::CHECKED_NO } else { messages::CHECKED_YES };
    let trailers = async { Some(Ok(trailers())) };
    grpc(Full::from(framed(answer)).with_trailers(trailers).boxed())
}

/// A stream of questions, each answered as it comes.
fn process(mut body: Incoming) -> Answered {
    let (mut answers, answered) = Channel::new(1);
    tokio::spawn(async move {
        let mut frames = Frames::default();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            frames.push(&data);
            while let Some(asked) = frames.next() {
                let denied = bytes_at(asked, messages::PROCESSED_BODY).is_none_or(|body| denies(&body));
                let answer = if denied { messages::PROCESSED_NO } else { messages::PROCESSED_YES };
                if answers.send_data(framed(answer)).await.is_err() {
                    return;
                }
            }
        }
        let _ = answers.send_trailers(trailers()).await;
    });
    grpc(answered.boxed())
}

/// What cannot be read is denied.
fn denies(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Call<'a> {
        method: &'a str,
        #[serde(borrow, default)]
        params: Option<Params<'a>>,
    }
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(default)]
        name: Option<&'a str>,
    }
    match serde_json::from_slice::<Call>(body) {
        Ok(Call { method: "tools/call", params: Some(Params { name: Some(name) }) }) => name == DENIED_TOOL,
        Ok(Call { method, .. }) => method == "tools/call",
        Err(_) => true,
    }
}

fn grpc(body: http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>) -> Answered {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers
}

/// One message with its head.
fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// The messages in a body that comes in pieces.
#[derive(Default)]
pub(crate) struct Frames(BytesMut);

impl Frames {
    /// Adds a piece.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        let length: [u8; 4] = self.0.get(1..FRAME_HEAD_BYTES)?.try_into().ok()?;
        let end = FRAME_HEAD_BYTES.checked_add(usize::try_from(u32::from_be_bytes(length)).ok()?)?;
        if self.0.len() < end {
            return None;
        }
        let frame = self.0.split_to(end).freeze();
        Some(frame.slice(FRAME_HEAD_BYTES..))
    }
}
