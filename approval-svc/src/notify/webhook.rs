//! Step 8: notices as Standard Webhooks: an id that stays, a time for each try, and a signature by each active secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url};
use sha2::Sha256;

use super::notice::Notice;
use crate::text::root_cause;

/// Shortest and longest key, in bytes, as the specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
const SECRET_PREFIX: &str = "whsec_";
/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 65_536;
/// Longest that a receiver may ask to be left alone for: an hour.
const RETRY_AFTER_SECONDS_MAX: u64 = 3_600;

/// One key that notices are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const SHAPE: &str =
            "must be `whsec_` and the base64 of 24 to 64 bytes, such as `echo whsec_$(openssl rand -base64 32)`";
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or(SHAPE)?;
        let key = STANDARD.decode(encoded).map_err(|_| SHAPE)?;
        if KEY_BYTES.contains(&key.len()) { Ok(Self(key)) } else { Err(SHAPE) }
    }

    /// `v1,` and the signature.
    pub fn sign(&self, id: &str, seconds: u64, body: &str) -> String {
        format!("v1,{}", STANDARD.encode(mac(&self.0, format!("{id}.{seconds}.{body}").as_bytes())))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// HMAC-SHA256.
pub(super) fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// A receiver of webhooks.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: Url,
    /// One, or two while a key is being replaced: each signs.
    pub secrets: Vec<Secret>,
    pub allow_private: bool,
}

/// How one try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    Delivered {
        receipt: Option<String>,
    },
    Failed {
        why: String,
        /// The receiver asked to be left alone for so long.
        retry_after_ms: Option<u64>,
        /// Trying again is of no use.
        for_good: bool,
    },
}

impl Sent {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into(), retry_after_ms: None, for_good: false }
    }

    /// The failure that an answer stands for.
    pub(super) fn refused(answer: &Response) -> Self {
        let status = answer.status();
        let why = match status {
            _ if status.is_redirection() => format!("the receiver answered {status}: redirects are not followed"),
            StatusCode::GONE => "the receiver answered 410 Gone: it wants no more".to_owned(),
            _ => format!("the receiver answered {status}"),
        };
        let seconds =
            answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let retry_after_ms = seconds.map(|seconds| seconds.min(RETRY_AFTER_SECONDS_MAX) * 1_000);
        Self::Failed { why, retry_after_ms, for_good: status == StatusCode::GONE }
    }
}

impl Webhook {
    /// Tries once. `http` follows no redirects and takes only addresses that are allowed.
    pub(super) async fn send(&self, http: &Client, notice: &Notice, now_ms: u64) -> Sent {
        let seconds = now_ms / 1_000;
        let signatures: Vec<String> =
            self.secrets.iter().map(|secret| secret.sign(&notice.id, seconds, &notice.body)).collect();
        let message = http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(USER_AGENT, concat!("holdpoint/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", signatures.join(" "))
            .body(notice.body.clone());
        match message.send().await {
            Err(error) => Sent::failed(trouble(&error)),
            Ok(answer) if answer.status().is_success() => match read(answer).await {
                Ok(_) => Sent::Delivered { receipt: None },
                Err(why) => Sent::failed(why),
            },
            Ok(answer) => Sent::refused(&answer),
        }
    }
}

/// Why there was no answer, without the address: it may carry a secret of its receiver.
pub(super) fn trouble(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the receiver did not answer in time".to_owned();
    }
    match std::error::Error::source(error) {
        Some(source) => root_cause(source),
        None => "the request could not be sent".to_owned(),
    }
}

/// An answer as far as it may be long.
pub(super) async fn read(mut answer: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| trouble(&error))? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(format!("the receiver's answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
    }
    Ok(bytes)
}
