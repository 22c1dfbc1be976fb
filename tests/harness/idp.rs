//! A local identity provider: one signing key, its JWKS, and the tokens it mints. Feeds step 4.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

/// The audience that the base configuration expects.
pub const AUDIENCE: &str = "mcp-gateway";
/// The issuer that the base configuration expects.
pub const ISSUER: &str = "https://idp.example";

const KEY_ID: &str = "harness";
const LIFETIME: Duration = Duration::from_secs(3600);

/// An issuer with an Ed25519 key of its own. Two of them differ only in that key.
pub struct Idp {
    key: EncodingKey,
    key_id: String,
    jwks: String,
}

impl Idp {
    /// A new issuer with a fresh random key.
    pub fn new() -> anyhow::Result<Self> {
        Self::with_key_id(KEY_ID)
    }

    /// The same with a key of this id.
    pub fn with_key_id(key_id: &str) -> anyhow::Result<Self> {
        // RFC 8410: a PKCS#8 Ed25519 private key is this prefix and the 32 bytes of the seed.
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed).context("the system has no randomness")?;
        let key = EncodingKey::from_ed_der(&[PREFIX.as_slice(), seed.as_slice()].concat());

        let mut public = Jwk::from_encoding_key(&key, Algorithm::EdDSA)?;
        public.common.key_id = Some(key_id.to_owned());
        let jwks = json!({"keys": [public]}).to_string();
        Ok(Self { key, key_id: key_id.to_owned(), jwks })
    }

    /// The public key set, as the text that Envoy's `local_jwks` takes.
    pub fn jwks(&self) -> &str {
        &self.jwks
    }

    /// Claims of `subject` as the base configuration accepts them, valid for an hour. Add to them and `mint`.
    pub fn claims(&self, subject: &str) -> Claims {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Claims(Map::new())
            .with("iss", ISSUER)
            .with("aud", AUDIENCE)
            .with("sub", subject)
            .with("iat", now_s)
            .with("exp", now_s + LIFETIME.as_secs())
    }

    /// A signed token with exactly these claims.
    pub fn mint(&self, claims: Claims) -> anyhow::Result<String> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        Ok(jsonwebtoken::encode(&header, &claims.0, &self.key)?)
    }

    /// The plainest token: `subject` in `groups`, valid for an hour.
    pub fn token(&self, subject: &str, groups: &[&str]) -> anyhow::Result<String> {
        self.mint(self.claims(subject).with("groups", groups))
    }
}

/// The claims of one token.
#[derive(Debug, Clone)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// The same claims with `name` set, over what was there.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl serde::Serialize) -> Self {
        self.0.insert(name.to_owned(), json!(value));
        self
    }

    /// The same claims without `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }
}
