//! Tokens that pass and tokens that do not, each different in one thing; and keys that rotate, go away and come back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, encode};
use serde_json::json;

use super::settings::parse;
use super::*;
use crate::store::contract::{self, Bench, START_MS, scratch_dir};

pub const ISSUER: &str = "https://idp";

/// A provider with one Ed25519 key.
pub struct Idp {
    pub key: EncodingKey,
    pub kid: String,
}

impl Idp {
    pub fn new(seed: u8) -> Self {
        // RFC 8410: a PKCS#8 Ed25519 private key is this prefix and the 32 bytes of the seed.
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let key = EncodingKey::from_ed_der(&[PREFIX.as_slice(), &[seed; 32]].concat());
        Self { key, kid: format!("key-{seed}") }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        json!(jwk)
    }

    pub fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) }
    }

    pub fn sign(&self, claims: &Value) -> String {
        encode(&self.header(), claims, &self.key).unwrap()
    }
}

/// Claims of a person who may approve, as of a bench's clock.
pub fn claims(subject: &str) -> Value {
    let now_s = START_MS / 1_000;
    json!({"iss": ISSUER, "sub": subject, "aud": "holdpoint", "azp": "page", "iat": now_s, "exp": now_s + 600,
           "groups": ["sre"]})
}

pub fn document(jwks: &Value) -> Value {
    json!({"issuers": [{
        "issuer": ISSUER, "audiences": ["holdpoint"], "mcp_audiences": ["mcp-gateway"], "clients": ["page", "cli"],
        "jwks": jwks, "roles": [{"role": "approver", "groups": ["sre", "dev"]}, {"role": "auditor", "groups": ["audit"]},
                                {"role": "admin", "groups": ["root"]}],
    }]})
}

pub fn of_file(file: &PathBuf) -> Oidc {
    Oidc::new(parse(&document(&json!({"file": file, "refresh_ms": 1_000})).to_string()).unwrap())
}

struct Desk {
    bench: Bench,
    idp: Idp,
    oidc: Oidc,
}

/// A provider whose keys are in a file, with these changes to the settings.
async fn desk(change: impl FnOnce(&mut Value)) -> Desk {
    let (bench, idp) = (contract::open().await, Idp::new(1));
    let file = bench.dir.join("jwks.json");
    std::fs::write(&file, idp.jwks()).unwrap();
    let mut document = document(&json!({"file": file}));
    change(&mut document["issuers"][0]);
    let oidc = Oidc::new(parse(&document.to_string()).unwrap());
    Desk { bench, idp, oidc }
}

impl Desk {
    async fn show(&self, token: &str) -> Result<Credential, TokenError> {
        self.oidc.authenticate(&*self.bench.store, token).await
    }

    /// Shows a token of alice that differs in these claims; `null` takes one away.
    async fn with(&self, changes: Value) -> Result<Credential, TokenError> {
        let mut claims = claims("alice");
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.show(&self.idp.sign(&claims)).await
    }
}

#[tokio::test]
async fn person_is_issuer_and_subject_with_the_groups_and_the_role_of_the_token() {
    let desk = desk(|_| {}).await;
    let alice = desk.with(json!({})).await.unwrap();
    assert_eq!((alice.name().as_str(), alice.role, alice.tenant), ("https://idp alice", Role::Approver, None));
    assert_eq!((alice.groups, alice.client_id), (["sre".to_owned()].into(), Some("page".to_owned())));
    assert_eq!(desk.with(json!({"groups": ["audit", "other"]})).await.unwrap().role, Role::Auditor);
    assert_eq!(desk.with(json!({"groups": "dev"})).await.unwrap().role, Role::Approver);
    assert_eq!(desk.with(json!({"aud": ["x", "holdpoint"], "azp": null})).await.unwrap().client_id, None);
}

#[tokio::test]
async fn token_that_differs_in_one_thing_is_refused_for_it() {
    let desk = desk(|_| {}).await;
    let now_s = START_MS / 1_000;
    let refused = [
        (json!({"iss": "https://elsewhere"}), "names no identity provider"),
        (json!({"iss": null}), "names no identity provider"),
        (json!({"aud": "other"}), "not meant for this service"),
        (json!({"aud": null}), "not meant for this service"),
        (json!({"aud": ["holdpoint", "mcp-gateway"]}), "also opens MCP servers"),
        (json!({"aud": "mcp-gateway"}), "also opens MCP servers"),
        (json!({"act": {"sub": "bot"}}), "somebody acts for its subject"),
        (json!({"azp": "bot"}), "given to `bot`"),
        (json!({"azp": null, "client_id": "bot"}), "given to `bot`"),
        (json!({"azp": "page", "client_id": "bot"}), "given to `bot`"),
        (json!({"azp": null, "appid": "bot"}), "given to `bot`"),
        (json!({"sub": "page"}), "a program's own"),
        (json!({"gty": "client-credentials"}), "a program's own"),
        (json!({"sub": null}), "claim `sub` is missing"),
        (json!({"sub": "alice\u{202e}"}), "claim `sub`"),
        (json!({"sub": " alice"}), "claim `sub`"),
        (json!({"exp": null}), "has expired"),
        (json!({"exp": now_s - 60}), "has expired"),
        (json!({"exp": "soon"}), "no signed JWT"),
        (json!({"nbf": now_s + 61}), "not valid yet"),
        (json!({"iat": now_s + 61}), "not valid yet"),
        (json!({"exp": now_s + 90_000}), "more than a day"),
        (json!({"groups": []}), "no entry of `roles`"),
        (json!({"groups": ["*"]}), "no entry of `roles`"),
        (json!({"groups": [7]}), "groups cannot be read"),
        (json!({"groups": null, "_claim_names": {"groups": "src1"}}), "keeps them elsewhere"),
    ];
    for (changes, why) in refused {
        let error = desk.with(changes.clone()).await.expect_err(&changes.to_string()).to_string();
        assert!(error.contains(why), "{changes}: {error}");
    }
    // A clock that is a little off is none of it.
    desk.with(json!({"exp": now_s - 59, "nbf": now_s + 60})).await.unwrap();
}

#[tokio::test]
async fn token_that_the_key_did_not_sign_as_pinned_is_refused() {
    let desk = desk(|_| {}).await;
    let right = desk.idp.sign(&claims("alice"));
    let (head_and_claims, _) = right.rsplit_once('.').unwrap();
    let forged = Idp { kid: desk.idp.kid.clone(), ..Idp::new(2) };
    let is_signature = |answer| matches!(answer, Err(TokenError::Signature));
    assert!(is_signature(desk.show(&forged.sign(&claims("alice"))).await));
    assert!(is_signature(desk.show(&format!("{head_and_claims}.")).await));
    // The public key as a shared secret, the oldest trick: not an algorithm that anybody can configure.
    let public = desk.idp.jwk()["x"].as_str().unwrap().to_owned();
    let shared = Header { kid: Some(desk.idp.kid.clone()), ..Header::new(Algorithm::HS256) };
    let by_secret = encode(&shared, &claims("alice"), &EncodingKey::from_secret(public.as_bytes())).unwrap();
    assert!(matches!(desk.show(&by_secret).await, Err(TokenError::Algorithm(Algorithm::HS256))));
    // {"alg":"none"}
    let none = format!("eyJhbGciOiJub25lIn0.{}.", head_and_claims.split_once('.').unwrap().1);
    assert!(matches!(desk.show(&none).await, Err(TokenError::Malformed)));
    for header in [
        Header { crit: Some(vec!["b64".to_owned()]), ..desk.idp.header() },
        Header { typ: Some("logout+jwt".to_owned()), ..desk.idp.header() },
    ] {
        let token = encode(&header, &claims("alice"), &desk.idp.key).unwrap();
        assert!(matches!(desk.show(&token).await, Err(TokenError::Malformed)), "{header:?}");
    }
    let access = Header { typ: Some("at+jwt".to_owned()), ..desk.idp.header() };
    desk.show(&encode(&access, &claims("alice"), &desk.idp.key).unwrap()).await.unwrap();
    assert!(matches!(desk.show(&format!("{right}{}", "a".repeat(20_000))).await, Err(TokenError::Malformed)));
    assert!(matches!(Oidc::default().authenticate(&*desk.bench.store, &right).await, Err(TokenError::NotConfigured)));
}

#[tokio::test]
async fn algorithms_are_those_of_the_issuer() {
    let desk = desk(|issuer| issuer["algorithms"] = json!(["RS256"])).await;
    assert!(matches!(desk.with(json!({})).await, Err(TokenError::Algorithm(Algorithm::EdDSA))));
}

#[tokio::test]
async fn role_may_be_had_only_by_those_who_signed_in_with_a_client_of_its_own() {
    let desk = desk(|issuer| {
        issuer["clients"] = json!(["page", "emergency"]);
        issuer["roles"] = json!([{"role": "break_glass", "groups": ["sre"], "clients": ["emergency"]},
                                 {"role": "approver", "groups": ["sre"]}]);
    })
    .await;
    let role = async |azp: Value| desk.with(json!({"azp": azp})).await.unwrap().role;
    assert_eq!(role(json!("page")).await, Role::Approver);
    assert_eq!(role(json!("emergency")).await, Role::BreakGlass);
    assert_eq!(role(Value::Null).await, Role::Approver, "a token that names no client was given to none of its own");
}

#[tokio::test]
async fn groups_are_read_where_the_settings_say_and_renamed() {
    let desk = desk(|issuer| {
        issuer["groups"] = json!({"claims": ["roles", ["realm_access", "roles"]], "rename": {"6f1c": "sre"}});
    })
    .await;
    let alice = desk.with(json!({"roles": ["6f1c"], "realm_access": {"roles": ["dev"]}, "groups": ["root"]})).await;
    assert_eq!(alice.unwrap().groups, ["dev".to_owned(), "sre".to_owned()].into());
}

#[tokio::test]
async fn person_of_a_tenant_sees_that_tenant_and_one_without_sees_none() {
    let desk = desk(|issuer| issuer["tenant"] = json!({"claim": "org"})).await;
    assert_eq!(desk.with(json!({"org": "acme"})).await.unwrap().tenant.as_deref(), Some("acme"));
    for missing in [json!({}), json!({"org": ""}), json!({"org": 7})] {
        assert!(matches!(desk.with(missing).await, Err(TokenError::Tenant)));
    }
    let root = json!({"groups": ["root"]});
    assert_eq!(desk.with(root).await.unwrap().tenant, None);
    assert!(matches!(desk.with(json!({"groups": ["root"], "org": "acme"})).await, Err(TokenError::AdminTenant)));
}

#[test]
fn settings_that_would_let_the_wrong_ones_in_are_refused() {
    let refused = [
        ("algorithms", json!(["HS256"]), "not `HS256`"),
        ("algorithms", json!([]), "at least one"),
        ("issuer", json!("local"), "must be the `iss`"),
        ("audiences", json!([]), "`audiences` must list"),
        ("mcp_audiences", json!(["holdpoint"]), "cannot be both"),
        ("mcp_audiences", json!([]), "`mcp_audiences` must list"),
        ("clients", json!([]), "`clients` must list"),
        ("jwks", json!({"url": "http://idp.example/jwks"}), "https://"),
        ("jwks", json!({"url": "ftp://localhost/jwks"}), "https://"),
        ("jwks", json!({"url": "https://idp/jwks", "file": "x"}), "either `url` or `file`"),
        ("jwks", json!({"file": "x", "ca_file": "y"}), "not for `file`"),
        ("jwks", json!({"file": "x", "refresh_ms": 5}), "refresh_ms"),
        ("roles", json!([]), "`roles` must say"),
        ("roles", json!([{"role": "enforcer", "groups": ["sre"]}]), "no gateways"),
        ("roles", json!([{"role": "approver", "groups": []}]), "needs `groups`"),
        ("roles", json!([{"role": "admin", "groups": ["*"]}]), "`*` is everybody"),
        ("roles", json!([{"role": "break_glass", "groups": ["sre", "*"]}]), "`*` is everybody"),
        ("roles", json!([{"role": "admin", "groups": ["root"], "clients": ["bot"]}]), "`clients` does not list"),
        ("roles", json!([{"role": "admin", "groups": ["root"], "clients": []}]), "or be left out"),
        ("audience", json!("holdpoint"), "unknown field `audience`"),
    ];
    for (name, value, why) in refused {
        let mut document = document(&json!({"file": "jwks.json"}));
        document["issuers"][0][name] = value.clone();
        let error = parse(&document.to_string()).expect_err(name);
        assert!(error.contains(why), "{name} {value}: {error}");
    }
    let twice = document(&json!({"file": "x"}))["issuers"][0].clone();
    assert!(parse(&json!({"issuers": [twice, twice]}).to_string()).unwrap_err().contains("twice"));
    assert!(parse("issuers: [{issuer: a, issuer: b}]").is_err(), "one of two would be dropped without a word");
    let mut undescribed = document(&json!({}));
    undescribed["issuers"][0]["issuer"] = json!("urn:idp");
    assert!(parse(&undescribed.to_string()).unwrap_err().contains("no address that describes itself"));
    for url in ["https://idp.example/jwks", "http://127.0.0.1:8/jwks", "http://[::1]:8/jwks"] {
        parse(&document(&json!({"url": url})).to_string()).unwrap();
    }
}

/// A provider on the network: answers with what it is told to, and counts.
struct Server {
    url: String,
    answer: Arc<std::sync::Mutex<(u16, String)>>,
    asked: Arc<AtomicU64>,
}

/// A provider that describes itself: `jwks_uri` is its own unless another one is said.
async fn describing(issuer: Option<&str>, jwks_uri: Option<&str>) -> (Idp, Oidc, Bench) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (idp, listener) = (Idp::new(1), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let own = format!("http://{}/realm", listener.local_addr().unwrap());
    let uri = jwks_uri.map_or(format!("{own}/keys"), str::to_owned);
    let description = json!({"issuer": issuer.unwrap_or(&own), "jwks_uri": uri, "other": [1]}).to_string();
    let keys = idp.jwks();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&head[..read]).split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, text) = match path.as_str() {
                "/realm/.well-known/openid-configuration" => (200, description.as_str()),
                "/realm/keys" => (200, keys.as_str()),
                _ => (404, ""),
            };
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
            let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
        }
    });
    let mut document = document(&json!({"refresh_ms": 1_000}));
    document["issuers"][0]["issuer"] = json!(own);
    let oidc = Oidc::new(parse(&document.to_string()).unwrap());
    (idp, oidc, contract::open().await)
}

impl Oidc {
    fn issuer(&self) -> String {
        self.standings()[0].issuer.clone()
    }
}

#[tokio::test]
async fn keys_are_where_the_provider_says_in_its_description() {
    let (idp, oidc, bench) = describing(None, None).await;
    let mut claims = claims("alice");
    claims["iss"] = json!(oidc.issuer());
    let alice = oidc.authenticate(&*bench.store, &idp.sign(&claims)).await.unwrap();
    assert_eq!(alice.name(), format!("{} alice", oidc.issuer()));
}

#[tokio::test]
async fn description_of_another_provider_or_of_keys_that_anybody_could_change_is_not_followed() {
    for (issuer, uri, why) in [
        (Some("https://elsewhere"), None, "describes `https://elsewhere`"),
        (None, Some("http://idp.example/keys"), "must begin with https://"),
        (None, Some("file:///etc/passwd"), "must begin with https://"),
    ] {
        let (idp, oidc, bench) = describing(issuer, uri).await;
        let mut claims = claims("alice");
        claims["iss"] = json!(oidc.issuer());
        let error = oidc.authenticate(&*bench.store, &idp.sign(&claims)).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[tokio::test]
async fn authority_of_ones_own_that_cannot_be_read_keeps_the_keys_away() {
    let server = server(Idp::new(1).jwks()).await;
    let dir = scratch_dir();
    let file = dir.join("ca.pem");
    let document = document(&json!({"url": server.url, "ca_file": file, "refresh_ms": 1_000}));
    let oidc = Oidc::new(parse(&document.to_string()).unwrap());
    let refreshing = tokio::spawn(oidc.clone().keep_keys_fresh());
    let trouble = async |why: &'static str| {
        until(why, async || oidc.troubles().first().is_some_and(|trouble| trouble.contains(why)).then_some(())).await;
    };
    trouble("cannot be read").await;
    std::fs::write(&file, "no certificate").unwrap();
    trouble("holds no certificates").await;
    refreshing.abort();
    std::fs::remove_dir_all(dir).unwrap();
}

async fn server(jwks: String) -> Server {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let answer = Arc::new(std::sync::Mutex::new((200, jwks)));
    let asked = Arc::new(AtomicU64::new(0));
    let (said, count) = (Arc::clone(&answer), Arc::clone(&asked));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            count.fetch_add(1, Ordering::SeqCst);
            let (status, text) = said.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 {status} X\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\nconnection: close\r\n\
                                location: http://localhost/\r\ncontent-length: {}\r\n\r\n",
                text.len()
            );
            let _ = stream.write_all(format!("{head}{text}").as_bytes()).await;
        }
    });
    Server { url, answer, asked }
}

async fn by_url(server: &Server) -> (Bench, Oidc) {
    let document = document(&json!({"url": server.url, "refresh_ms": 1_000}));
    (contract::open().await, Oidc::new(parse(&document.to_string()).unwrap()))
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn rotated_key_is_fetched_when_it_is_met_and_the_old_one_is_no_good_any_more() {
    let (old, new) = (Idp::new(1), Idp::new(2));
    let server = server(old.jwks()).await;
    let (bench, oidc) = by_url(&server).await;
    let show = async |idp: &Idp| oidc.authenticate(&*bench.store, &idp.sign(&claims("alice"))).await;
    show(&old).await.unwrap();
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
    show(&old).await.unwrap();
    assert_eq!(server.asked.load(Ordering::SeqCst), 1, "kept, not fetched for each token");
    server.answer.lock().unwrap().1 = new.jwks();
    until("the new key is fetched", async || show(&new).await.ok()).await;
    assert!(matches!(show(&old).await, Err(TokenError::Key(_))), "what the provider took back is no key any more");
}

#[tokio::test]
async fn made_up_key_ids_do_not_make_the_service_ask_more_often() {
    let idp = Idp::new(1);
    let server = server(idp.jwks()).await;
    let (bench, oidc) = by_url(&server).await;
    oidc.authenticate(&*bench.store, &idp.sign(&claims("alice"))).await.unwrap();
    let began = std::time::Instant::now();
    for n in 0..50 {
        let other = Idp { kid: format!("made-up-{n}"), ..Idp::new(1) };
        assert!(oidc.authenticate(&*bench.store, &other.sign(&claims("alice"))).await.is_err());
    }
    // One a second at most, which is how often these keys are refreshed anyway.
    assert!(server.asked.load(Ordering::SeqCst) <= 2 + began.elapsed().as_secs());
}

#[tokio::test]
async fn last_good_keys_stay_while_the_provider_is_away_or_talks_nonsense_and_it_shows() {
    let idp = Idp::new(1);
    let server = server(idp.jwks()).await;
    let (bench, oidc) = by_url(&server).await;
    let refreshing = tokio::spawn(oidc.clone().keep_keys_fresh());
    until("keys", async || (oidc.standings()[0].keys == 1).then_some(())).await;
    assert!(oidc.standings()[0].clock_ahead_s.is_some_and(|ahead| ahead < -60), "{:?}", oidc.standings());
    let secret = json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": idp.kid}]}).to_string();
    let many = json!({"keys": vec![idp.jwk(); 101]}).to_string();
    for (status, text, why) in [
        (503, String::new(), "answered 503"),
        (302, idp.jwks(), "answered 302"),
        (200, "nonsense".to_owned(), "no set of keys"),
        (200, secret, "no public key"),
        (200, many, "at most 100"),
        (200, " ".repeat(300_000), "more than 262144 bytes"),
    ] {
        *server.answer.lock().unwrap() = (status, text);
        until(why, async || oidc.troubles().first().is_some_and(|trouble| trouble.contains(why)).then_some(())).await;
        oidc.authenticate(&*bench.store, &idp.sign(&claims("alice"))).await.unwrap();
    }
    *server.answer.lock().unwrap() = (200, idp.jwks());
    until("it is well again", async || oidc.troubles().is_empty().then_some(())).await;
    refreshing.abort();
}

#[tokio::test]
async fn keys_in_a_file_are_read_again() {
    let (bench, dir) = (contract::open().await, scratch_dir());
    let file = dir.join("jwks.json");
    let oidc = of_file(&file);
    let show = async |idp: &Idp| oidc.authenticate(&*bench.store, &idp.sign(&claims("alice"))).await;
    let missing = show(&Idp::new(1)).await.unwrap_err().to_string();
    assert!(missing.contains("cannot be read"), "{missing}");
    std::fs::write(&file, Idp::new(1).jwks()).unwrap();
    until("the file is read", async || show(&Idp::new(1)).await.ok()).await;
    std::fs::remove_dir_all(dir).unwrap();
}
