//! People who come with a token of their identity provider: to the API, and in a browser whose proxy puts it in.

use holdpoint_core::approval::CALL_DIGEST_TAG;
use holdpoint_core::digest::Digest;

use super::*;
use crate::oidc::Oidc;
use crate::oidc::tests::{Idp, claims, document, of_file};

async fn desk_of(idp: &Idp, change: impl FnOnce(&mut Value)) -> Desk {
    let desk = desk().await;
    let file = desk.bench.dir.join("jwks.json");
    std::fs::write(&file, idp.jwks()).unwrap();
    let mut settings = document(&json!({"file": file}));
    change(&mut settings["issuers"][0]);
    let settings_file = desk.bench.dir.join("oidc.yaml");
    std::fs::write(&settings_file, settings.to_string()).unwrap();
    let oidc = Oidc::new(crate::oidc::settings::read(&settings_file).unwrap());
    desk.with_app(|app| app.oidc = oidc)
}

fn token(idp: &Idp, subject: &str, changes: &Value) -> String {
    let mut claims = claims(subject);
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    idp.sign(&claims)
}

#[tokio::test]
async fn person_of_the_provider_decides_and_whoever_asked_does_not() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |issuer| issuer["clients"] = json!(["page", "bot"])).await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    // `bot` for `https://idp bob`.
    let asked = asked(1, "x", "basis");
    let reviews = format!("{}/reviews", desk.open(&edge, asked.clone()).await.header("location"));
    let approve = json!({"verdict": "approve", "call_digest": asked.call_digest});
    let review = async |token: String| desk.post(&token, &reviews, approve.clone()).await;
    review(token(&idp, "bob", &json!({}))).await.is(403, "own-call");
    review(token(&idp, "bot", &json!({}))).await.is(403, "own-call");
    // Whose name is in it does not matter when the agent is whom it was given to.
    review(token(&idp, "alice", &json!({"azp": "bot"}))).await.is(403, "own-call");
    review(token(&idp, "carol", &json!({"groups": ["dev"]}))).await.is(403, "not-in-group");
    review(token(&idp, "dan", &json!({"groups": ["audit"]}))).await.is(403, "role");
    review(token(&idp, "alice", &json!({"act": {"sub": "bot"}}))).await.is(403, "token-unfit");
    review(token(&idp, "alice", &json!({"aud": "mcp-gateway"}))).await.is(403, "token-unfit");
    review(token(&idp, "alice", &json!({"azp": "elsewhere"}))).await.is(403, "token-unfit");
    review(token(&idp, "alice", &json!({"exp": 5}))).await.is(401, "token");
    review(token(&Idp { kid: idp.kid.clone(), ..Idp::new(2) }, "alice", &json!({}))).await.is(401, "token");
    let namesake = desk.token(Role::Approver, "bob", &["sre"]).await;
    review(namesake).await.is(403, "own-call");
    let reviewed = review(token(&idp, "alice", &json!({}))).await;
    assert_eq!(reviewed.body["decided_by"], "https://idp alice", "{}", reviewed.text);
    review(token(&idp, "alice", &json!({"iat": claims("")["iat"].as_u64().unwrap() - 5})))
        .await
        .is(409, "already-decided");
}

#[tokio::test]
async fn arguments_are_shown_by_the_role_and_the_tenant_of_the_token() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |issuer| issuer["tenant"] = json!({"claim": "org"})).await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let mut call = asked(1, "x", "basis");
    call.principal.tenant = Some("acme".to_owned());
    call.call_text = call.call_text.replace("\"tenant\":null", "\"tenant\":\"acme\"");
    call.call_digest = Digest::tagged(CALL_DIGEST_TAG, call.call_text.as_bytes());
    let path = desk.open(&edge, call.clone()).await.header("location").to_owned();
    let seen = async |groups: &str, org: Value| {
        let token = token(&idp, "alice", &json!({"groups": [groups], "org": org}));
        let answer = desk.get(&token, &path).await;
        let listed = desk.get(&token, "/v1/approvals").await.body["approvals"].as_array().map_or(0, Vec::len);
        (answer.status.as_u16(), answer.body["call_text"] == call.call_text, listed)
    };
    assert_eq!(seen("sre", json!("acme")).await, (200, true, 1), "who may decide");
    assert_eq!(seen("dev", json!("acme")).await, (200, false, 1), "another group");
    assert_eq!(seen("audit", json!("acme")).await, (200, true, 1), "the tenant's auditor");
    assert_eq!(seen("root", Value::Null).await, (200, false, 1), "an administrator");
    assert_eq!(seen("sre", json!("other")).await, (404, false, 0), "another tenant");
    assert_eq!(seen("audit", json!("other")).await, (404, false, 0), "another tenant's auditor");
    assert_eq!(seen("sre", Value::Null).await, (403, false, 0), "a claim that is missing is not everybody's");
}

impl Desk {
    async fn visit(&self, token: &str, cookie: &str, path: &str) -> Answer {
        self.browse(cookie, Method::GET, path, &[&format!("authorization: Bearer {token}")], "").await
    }

    async fn send(&self, token: &str, path: &str, form: &str) -> Answer {
        let bearer = format!("authorization: Bearer {token}");
        let headers = ["host: desk", "origin: http://desk", "sec-fetch-site: same-origin", &bearer];
        self.browse("", Method::POST, path, &headers, form).await
    }
}

#[tokio::test]
async fn browser_whose_proxy_puts_a_token_in_decides_without_a_session_of_ours() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |_| {}).await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let (alice, mallory) = (token(&idp, "alice", &json!({})), token(&idp, "mallory", &json!({})));
    let inbox = desk.visit(&alice, "", "/approvals").await;
    assert!(inbox.text.contains(&format!("href=\"{path}\"")), "{}", inbox.text);
    assert_eq!(inbox.header("set-cookie"), "");
    let form = |page: &str| {
        let digest = pages::field(page, "call_digest").replace(':', "%3A");
        format!("form_token={}&call_digest={digest}&verdict=approve", pages::field(page, "form_token"))
    };
    let others = form(&desk.visit(&mallory, "", &path).await.text);
    let review = format!("{path}/review");
    let crossed = desk.send(&alice, &review, &others).await;
    assert_eq!(crossed.status, StatusCode::FORBIDDEN, "a form of somebody else's");
    let own = form(&desk.visit(&alice, "", &path).await.text);
    let foreign = ["host: desk", "origin: http://evil", "sec-fetch-site: cross-site"];
    let bearer = format!("authorization: Bearer {alice}");
    let foreign: Vec<&str> = foreign.into_iter().chain([bearer.as_str()]).collect();
    let answer = desk.browse("", Method::POST, &review, &foreign, &own).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "the proxy adds the token to whatever a browser is made to send");
    // The proxy has a newer token by now; the form is still the person's.
    let renewed = token(&idp, "alice", &json!({"jti": "2"}));
    let decided = desk.send(&renewed, &review, &own).await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER, "{}", decided.text);
    let out = desk.send(&alice, "/logout", &own).await;
    assert_eq!((out.status, out.header("location")), (StatusCode::SEE_OTHER, "/approvals"));
}

#[tokio::test]
async fn token_in_a_browser_is_believed_for_its_signature_alone() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |_| {}).await;
    let bob = desk.browser("bob", &["sre"]).await;
    let forged = token(&Idp { kid: idp.kid.clone(), ..Idp::new(2) }, "alice", &json!({}));
    let status = async |token: &str, cookie: &str| desk.visit(token, cookie, "/approvals").await.status.as_u16();
    assert_eq!(status(&forged, "").await, 401);
    assert_eq!(status(&forged, &bob.cookie).await, 401, "a cookie does not make up for it");
    assert_eq!(status(&token(&idp, "bob", &json!({"groups": ["other"]})), "").await, 403);
    assert_eq!(status(&token(&idp, "bob", &json!({"azp": "bot"})), "").await, 403);
    let local = desk.token(Role::Approver, "alice", &["sre"]).await;
    assert_eq!(status(&local, "").await, 401, "a token of the API opens no page");
}

#[tokio::test]
async fn administrator_and_whoever_breaks_glass_sign_in_by_their_provider_as_well() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |issuer| {
        issuer["clients"] = json!(["page", "emergency"]);
        issuer["roles"] = json!([{"role": "break_glass", "groups": ["sre"], "clients": ["emergency"]},
                                 {"role": "approver", "groups": ["sre"]}, {"role": "admin", "groups": ["root"]},
                                 {"role": "auditor", "groups": ["audit"]}]);
    })
    .await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let root = token(&idp, "rita", &json!({"groups": ["root"]}));
    let page = desk.visit(&root, "", "/freezes").await;
    let form =
        format!("form_token={}&server=github&reason=incident&confirmed=yes", pages::field(&page.text, "form_token"));
    let stopped = desk.send(&root, "/freezes", &form).await;
    assert!(stopped.status.is_redirection(), "{} {}", stopped.status, stopped.text);
    assert_eq!(desk.get(&root, "/v1/freezes").await.body["freezes"][0]["by"], "https://idp rita");
    assert_eq!(
        desk.visit(&token(&idp, "dan", &json!({"groups": ["audit"]})), "", "/approvals").await.status,
        StatusCode::OK
    );
    let alice = token(&idp, "alice", &json!({}));
    assert_eq!(desk.send(&alice, "/freezes", &form).await.status, StatusCode::FORBIDDEN, "nobody else stops anything");

    let glass = token(&idp, "zoe", &json!({"azp": "emergency"}));
    let page = desk.visit(&glass, "", &path).await;
    let digest = pages::field(&page.text, "call_digest").replace(':', "%3A");
    let form = format!(
        "form_token={}&call_digest={digest}&verdict=approve&confirmed=yes",
        pages::field(&page.text, "form_token")
    );
    let review = format!("{path}/review");
    let silent = desk.send(&glass, &review, &form).await;
    assert!(!silent.status.is_redirection(), "breaking glass says why");
    assert_eq!(desk.get(&alice, &format!("/v1{path}")).await.body["status"], "pending");
    let decided = desk.send(&glass, &review, &format!("{form}&reason=site+is+down")).await;
    assert!(decided.status.is_redirection(), "{} {}", decided.status, decided.text);
    let seen = desk.get(&alice, &format!("/v1{path}")).await.body;
    assert_eq!((&seen["status"], &seen["reviews"][0]["break_glass"]), (&json!("approved"), &json!(true)));
}

#[tokio::test]
async fn stream_of_events_ends_with_the_token_it_was_opened_by() {
    let idp = Idp::new(1);
    let desk = desk_of(&idp, |_| {}).await;
    let alice = token(&idp, "alice", &json!({}));
    let request = Request::builder().uri("/live").header("authorization", format!("Bearer {alice}"));
    let live = desk.respond(request.body(Body::empty()).unwrap()).await;
    assert_eq!(live.status(), StatusCode::OK);
    desk.bench.advance(700_000);
    assert!(ended(live.into_body()).await);
}

#[tokio::test]
async fn provider_without_keys_shows_and_locks_nobody_else_out() {
    let desk = desk().await;
    let file = desk.bench.dir.join("missing.json");
    let desk = desk.with_app(|app| app.oidc = of_file(&file));
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    desk.get(&token(&Idp::new(1), "alice", &json!({})), "/v1/approvals").await.is(401, "token");
    let ready = desk.get("", "/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"]), (StatusCode::OK, &json!(true)));
    assert!(ready.body["degraded"][0].as_str().unwrap().starts_with("keys of https://idp: "), "{}", ready.text);
    let about = desk.get(&alice, "/v1/service").await.body;
    assert_eq!((&about["issuers"][0]["issuer"], &about["issuers"][0]["keys"]), (&json!("https://idp"), &json!(0)));
}
