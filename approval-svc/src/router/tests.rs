//! The API from outside: who may do what, what comes back, and what every refusal says.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use holdpoint_core::approval::OpenApproval;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::keys::ServiceSigner;
use crate::serve::{Limits, wire};
use crate::store::contract::{self, Bench, asked, number};
use crate::tokens::{NewToken, create};

mod lists;
mod oidc;
mod once;
mod pages;
mod policies;
mod record;
mod waits;

struct Desk {
    bench: Bench,
    app: Parts,
    router: Router,
    tasks: Tasks,
    stop: watch::Sender<bool>,
}

/// An answer, read whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    body: Value,
    text: String,
}

const LIMITS: Limits = Limits { pending_per_principal_max: 3, arguments_keep_ms: 60_000 };

async fn desk() -> Desk {
    desk_with(crate::limits::Rates { stranger_per_s_max: 1_000, ..Default::default() }).await
}

async fn desk_with(rates: crate::limits::Rates) -> Desk {
    let bench = contract::open_with_policy().await;
    let signer = Arc::new(ServiceSigner::load_or_create(&bench.dir).unwrap());
    let (stop, stopping) = watch::channel(false);
    let mut app = wire(Arc::clone(&bench.store), signer, LIMITS, stopping);
    app.limits = Arc::new(crate::limits::Limits::new(rates));
    Desk { bench, tasks: app.tasks.clone(), router: router(app.clone().into()), app, stop }
}

impl Desk {
    /// The same with something changed in what the handlers call.
    fn with_app(mut self, change: impl FnOnce(&mut Parts)) -> Self {
        change(&mut self.app);
        self.router = router(self.app.clone().into());
        self
    }

    async fn token(&self, role: Role, subject: &str, groups: &[&str]) -> String {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let new = NewToken {
            role,
            issuer: "local".to_owned(),
            subject: subject.to_owned(),
            groups,
            tenant: None,
            lasts_ms: None,
        };
        create(&*self.bench.store, new).await.unwrap().1
    }

    async fn respond(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request as the holder of `token`; `headers` as `name: value`.
    async fn call(&self, token: &str, method: Method, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut request =
            Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let response = self.respond(request.body(Body::from(body.to_owned())).unwrap()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
    }

    async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::GET, path, &[], "").await
    }

    async fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        self.call(token, Method::POST, path, &[], &body.to_string()).await
    }

    async fn open(&self, enforcer: &str, asked: OpenApproval) -> Answer {
        self.post(enforcer, "/v1/approvals", json!(asked)).await
    }
}

impl Answer {
    #[track_caller]
    fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.body["type"], format!("https://holdpoint.dev/problems/{code}"));
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert!(self.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

#[tokio::test]
async fn call_is_opened_reviewed_and_claimed_over_http() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;

    let asked = asked(1, "x", "basis");
    let opened = desk.open(&edge, asked.clone()).await;
    assert_eq!(opened.status, StatusCode::ACCEPTED, "{}", opened.text);
    let path = opened.header("location").to_owned();
    assert_eq!((opened.header("retry-after"), opened.header("etag")), ("1", "\"1\""));
    assert_eq!(opened.body["schema"], "holdpoint/approval/v1");

    let seen = desk.get(&alice, &path).await;
    assert_eq!(seen.body["call_text"], asked.call_text);
    assert_eq!(seen.body["sentence"], "bot for bob wants tools/call `create_issue` on github");
    assert_eq!(seen.body["holds_waiting"], 1);
    assert_eq!(desk.get(&edge, &path).await.body.get("call_text"), None, "a gateway needs no arguments");

    let review = json!({"verdict": "approve", "call_digest": seen.body["call_digest"]});
    let reviewed = desk.post(&alice, &format!("{path}/reviews"), review).await;
    assert_eq!((reviewed.status, reviewed.body["status"].as_str()), (StatusCode::CREATED, Some("approved")));

    let claim = json!({
        "hold_id": number(1), "nonce": number(9), "call_digest": asked.call_digest, "basis": asked.basis,
        "snapshot_id": asked.snapshot_id,
    });
    let claimed = desk.post(&edge, &format!("{path}/claim"), claim.clone()).await;
    assert_eq!(claimed.status, StatusCode::OK, "{}", claimed.text);
    assert_eq!(desk.post(&edge, &format!("{path}/claim"), claim).await.body, claimed.body);
    assert_eq!(desk.open(&edge, asked).await.status, StatusCode::OK, "decided: no longer 202");

    let gone = desk.post(&edge, &format!("/v1/holds/{}/withdraw", number(1)), json!({"cause": "client_gone"})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);

    // Whoever looks is told which gateway let it go, and finds that by its name.
    let carol = desk.browser("carol", &["sre"]).await;
    let shown = carol.page(&format!("{}/timeline", path.trim_start_matches("/v1"))).await.text;
    for part in ["<dt>gateway</dt><dd>local edge</dd>", "approved by local alice", "for group `sre`"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let found = desk.get(&alice, "/v1/record?kind=claim&who=edge").await.body;
    assert_eq!(found["entries"][0]["entry"]["by"], "local edge", "{found}");
}

#[tokio::test]
async fn every_route_is_closed_to_those_it_is_not_for() {
    let desk = desk().await;
    let mut tokens = Vec::new();
    for role in [Role::Enforcer, Role::Approver, Role::Auditor, Role::Admin] {
        tokens.push((role, desk.token(role, "somebody", &["sre"]).await));
    }
    use Role::{Admin, Approver, Auditor, Enforcer};
    let routes: [(Method, &str, &[Role]); 14] = [
        (Method::POST, "/v1/approvals", &[Enforcer]),
        (Method::GET, "/v1/approvals", &[Approver, Auditor, Admin]),
        (Method::GET, "/v1/approvals/a", &[Enforcer, Approver, Auditor, Admin]),
        (Method::POST, "/v1/approvals/a/reviews", &[Approver]),
        (Method::POST, "/v1/approvals/a/claim", &[Enforcer]),
        (Method::POST, "/v1/approvals/a/revoke", &[Approver, Admin]),
        (Method::POST, "/v1/holds/a/withdraw", &[Enforcer]),
        (Method::POST, "/v1/cancellations", &[Enforcer]),
        (Method::PUT, "/v1/policies/a", &[Enforcer, Admin]),
        (Method::GET, "/v1/policies/a", &[Enforcer, Approver, Auditor, Admin]),
        (Method::POST, "/v1/audit/entries", &[Enforcer]),
        (Method::GET, "/v1/audit", &[Auditor, Admin]),
        (Method::GET, "/v1/log/checkpoint", &[Auditor, Admin]),
        (Method::GET, "/v1/events", &[Approver, Auditor, Admin]),
    ];
    for (method, path, roles) in routes {
        for (role, token) in &tokens {
            let request =
                Request::builder().method(&method).uri(path).header("authorization", format!("Bearer {token}"));
            let status = desk.respond(request.body(Body::empty()).unwrap()).await.status();
            assert_eq!(status == StatusCode::FORBIDDEN, !roles.contains(role), "{method} {path} as {role}: {status}");
        }
        desk.call("hp_admin_00", method.clone(), path, &[], "").await.is(401, "token");
        let bare = desk.respond(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await;
        assert_eq!(
            (bare.status(), &bare.headers()["www-authenticate"]),
            (StatusCode::UNAUTHORIZED, &"Bearer".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn refusals_are_problems_with_stable_codes() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let carol = desk.token(Role::Approver, "carol", &["dev"]).await;
    let bob = desk.token(Role::Approver, "bob", &["sre"]).await;
    let path = desk.open(&edge, asked(1, "x", "basis")).await.header("location").to_owned();
    let reviews = format!("{path}/reviews");
    let seen = asked(1, "x", "basis").call_digest;

    desk.get(&edge, "/v2").await.is(404, "no-such-route");
    desk.call(&edge, Method::DELETE, &path, &[], "").await.is(405, "no-such-method");
    desk.get(&edge, "/v1/approvals/none").await.is(404, "not-found");
    desk.post(&edge, "/v1/approvals", json!({"hold_id": 1})).await.is(400, "malformed-body");
    desk.call(&edge, Method::POST, "/v1/approvals", &[], &" ".repeat(3 << 20)).await.is(413, "body-too-large");
    desk.call(&edge, Method::GET, &path, &["prefer: wait=soon"], "").await.is(400, "malformed-header");
    desk.get(&alice, "/v1/approvals?status=open").await.is(400, "malformed-query");
    let unregistered =
        OpenApproval { snapshot_id: "sha256:".parse().unwrap_or(asked(1, "x", "y").basis), ..asked(2, "y", "basis") };
    desk.open(&edge, unregistered).await.is(409, "policy-unknown");
    desk.post(&carol, &reviews, json!({"verdict": "approve"})).await.is(428, "nothing-seen");
    let approve = json!({"verdict": "approve", "call_digest": seen});
    desk.post(&carol, &reviews, approve.clone()).await.is(403, "not-in-group");
    desk.post(&bob, &reviews, approve.clone()).await.is(403, "own-call");
    desk.post(&alice, &reviews, json!({"verdict": "deny", "call_digest": seen})).await.is(422, "reason-missing");
    let stale = desk.call(&alice, Method::POST, &reviews, &["if-match: \"9\""], &approve.to_string()).await;
    stale.is(412, "version-changed");
    for call in ["2", "3"] {
        desk.open(&edge, asked(call.parse().unwrap(), call, "basis")).await;
    }
    desk.open(&edge, asked(4, "4", "basis")).await.is(429, "too-many-pending");
    desk.bench.advance(10_000);
    desk.post(&alice, &reviews, approve).await.is(410, "expired");
}

#[tokio::test]
async fn long_poll_answers_a_change_a_timeout_and_the_end_of_the_service() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let asked = asked(1, "x", "basis");
    let path = desk.open(&edge, asked.clone()).await.header("location").to_owned();

    let same = desk.call(&edge, Method::GET, &path, &["if-none-match: \"1\"", "prefer: wait=1"], "").await;
    assert_eq!((same.status, same.header("etag")), (StatusCode::NOT_MODIFIED, "\"1\""));

    let poll = desk.call(&edge, Method::GET, &path, &["if-none-match: \"1\"", "prefer: wait=60"], "");
    let review = json!({"verdict": "approve", "call_digest": asked.call_digest});
    let reviews = format!("{path}/reviews");
    let (polled, _) = tokio::join!(poll, desk.post(&alice, &reviews, review));
    assert_eq!((polled.status, polled.body["status"].as_str()), (StatusCode::OK, Some("approved")));

    let other = desk.open(&edge, contract::asked(2, "y", "basis")).await.header("location").to_owned();
    let (ended, ()) = tokio::join!(desk.call(&edge, Method::GET, &other, &["prefer: wait=60"], ""), async {
        desk.stop.send_replace(true);
    });
    assert_eq!((ended.status, ended.body["status"].as_str()), (StatusCode::OK, Some("pending")));
}

#[tokio::test]
async fn lists_are_paged_by_an_opaque_cursor() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &[]).await;
    for call in 1..=3_u128 {
        desk.open(&edge, asked(call, &call.to_string(), "basis")).await;
    }
    let first = desk.get(&alice, "/v1/approvals?status=pending&server=github&limit=2").await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = desk.get(&alice, &format!("/v1/approvals?limit=2&cursor={cursor}")).await.body;
    let count = |page: &Value| page["approvals"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), second.get("next_cursor")), (2, 1, None));
    assert!(first["approvals"][0]["id"].as_str() > first["approvals"][1]["id"].as_str());
    assert_eq!(desk.get(&alice, "/v1/approvals?server=other").await.body["approvals"], json!([]));
}

#[tokio::test]
async fn policy_is_registered_once_under_the_digest_of_its_text() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let text = "{\"version\":\"2026-01-27\"}";
    let path = format!("/v1/policies/{}", crate::policies::id_of(text));
    let put = async |body: &str| desk.call(&edge, Method::PUT, &path, &[], body).await;
    put("{}").await.is(422, "snapshot-id");
    desk.get(&edge, &path).await.is(404, "not-found");
    assert_eq!(put(text).await.status, StatusCode::CREATED);
    assert_eq!(put(text).await.status, StatusCode::OK);
    assert_eq!(desk.get(&edge, &path).await.text, text);
}

#[tokio::test]
async fn auditor_reads_entries_as_json_lines_and_the_signed_head() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let auditor = desk.token(Role::Auditor, "dan", &[]).await;
    let entry = json!({"schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 5});
    let batch = json!({"source": "edge/1", "first_counter": 0, "entries": [entry]});
    let receipt = desk.post(&edge, "/v1/audit/entries", batch).await.body;
    assert_eq!(receipt, json!({"next_counter": 1, "entries_added": 1, "entries_known": 0, "entries_missing": 0}));
    let listed = desk.get(&auditor, "/v1/audit?after=1&limit=10").await.body;
    assert_eq!(listed["entries"][0]["seq"], 2);
    assert_eq!(listed["entries"][0]["entry"]["source"], "edge/1");
    let lines = desk.call(&auditor, Method::GET, "/v1/audit", &["accept: application/x-ndjson"], "").await.text;
    assert_eq!(lines.lines().count(), 3);
    let note = desk.get(&auditor, "/v1/log/checkpoint").await.text;
    assert!(note.starts_with("holdpoint/") && note.contains("\n3\n"), "{note}");
}

#[tokio::test]
async fn auditor_of_a_tenant_reads_nobody_elses_approval_entry_or_tile() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let everybodys = desk.token(Role::Auditor, "dan", &[]).await;
    let new = NewToken {
        role: Role::Auditor,
        issuer: "local".to_owned(),
        subject: "eve".to_owned(),
        groups: Default::default(),
        tenant: Some("acme".to_owned()),
        lasts_ms: None,
    };
    let acmes = create(&*desk.bench.store, new).await.unwrap().1;
    let entry = |tenant: &str| {
        let principal = json!({"issuer": "i", "subject": "s", "tenant": tenant, "actor_type": "human"});
        json!({"schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 5, "principal": principal})
    };
    let batch = json!({"source": "edge/1", "first_counter": 0, "entries": [entry("acme"), entry("other")]});
    let sent = desk.post(&edge, "/v1/audit/entries", batch).await;
    assert_eq!(sent.body["entries_added"], 2, "{}", sent.text);
    // Before them stand the tokens.
    let listed = desk.get(&acmes, "/v1/audit").await.body;
    let [own] = &listed["entries"].as_array().unwrap()[..] else { panic!("{listed}") };
    let own = own["seq"].as_u64().unwrap();
    assert_eq!(desk.get(&acmes, &format!("/v1/audit/{own}/proof")).await.status, StatusCode::OK);
    let others = format!("/v1/audit/{}/proof", own + 1);
    desk.get(&acmes, &others).await.is(404, "not-found");
    assert_eq!(desk.get(&everybodys, &others).await.status, StatusCode::OK);
    let opened = desk.open(&edge, asked(1, "x", "basis")).await;
    let path = opened.header("location").to_owned();
    let known = desk.call(&acmes, Method::GET, &path, &["if-none-match: \"1\""], "").await;
    known.is(404, "not-found");
    let tile = format!("/v1/log/tile/entries/000.p/{}", own + 2);
    desk.get(&acmes, &tile).await.is(403, "other-tenants");
    desk.get(&acmes, "/v1/policies/candidates").await.is(403, "other-tenants");
    assert_eq!(desk.get(&everybodys, "/v1/policies/candidates").await.status, StatusCode::OK);
}

#[tokio::test]
async fn events_tell_what_happens_and_what_was_missed() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let asked = asked(1, "x", "basis");
    let path = desk.open(&edge, asked.clone()).await.header("location").to_owned();
    let request = Request::builder().uri("/v1/events").header("authorization", format!("Bearer {alice}"));
    let response = desk.respond(request.header("last-event-id", "0").body(Body::empty()).unwrap()).await;
    let review = json!({"verdict": "approve", "call_digest": asked.call_digest});
    desk.post(&alice, &format!("{path}/reviews"), review).await;
    let mut body = response.into_body();
    let mut text = String::new();
    while text.matches("\n\n").count() < 3 {
        text.push_str(std::str::from_utf8(body.frame().await.unwrap().unwrap().data_ref().unwrap()).unwrap());
    }
    let ids: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["2", "3", "4"], "{text}");
    assert!(text.contains("\"kind\":\"approval_opened\"") && text.contains("\"status\":\"approved\""), "{text}");
    desk.stop.send_replace(true);
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
}

#[tokio::test]
async fn health_and_metrics_need_no_token() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    assert_eq!(desk.get("", "/readyz").await.body, json!({"ready": true, "degraded": []}));
    desk.open(&edge, asked(1, "x", "basis")).await;
    assert_eq!(desk.get("", "/livez").await.text, "ok\n");
    let ready = desk.get("", "/readyz").await;
    let untold = "1 pending approval of which nobody was notified: the service was started without `--notify`";
    assert_eq!((ready.status.as_u16(), ready.body), (200, json!({"ready": true, "degraded": [untold]})));
    let metrics = desk.get("", "/metrics").await.text;
    for line in [
        "holdpoint_approvals{status=\"pending\"} 1",
        "holdpoint_holds_waiting 1",
        "holdpoint_audit_entries_total{kind=\"approval_opened\"} 1",
        "holdpoint_commit_seconds_count 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn keys_that_cannot_be_read_again_are_said_until_they_can() {
    let desk = desk().await;
    let file = desk.bench.dir.join("service-key.hex");
    let key = std::fs::read(&file).unwrap();
    std::fs::write(&file, "zz").unwrap();
    desk.app.ledger.refresh_keys();
    let ready = desk.get("", "/readyz").await;
    let said = ready.body["degraded"][0].as_str().unwrap();
    assert!(ready.body["ready"] == true && said.contains("those from before go on to sign"), "{ready:?}");
    assert!(!ready.text.contains("service-key"), "anybody may ask, and learns of no file: {}", ready.text);
    std::fs::write(&file, key).unwrap();
    desk.app.ledger.refresh_keys();
    assert_eq!(desk.get("", "/readyz").await.body, json!({"ready": true, "degraded": []}));
}

async fn ended(body: Body) -> bool {
    tokio::time::timeout(std::time::Duration::from_secs(60), body.collect()).await.is_ok()
}

#[tokio::test]
async fn stream_of_events_ends_when_its_token_is_revoked() {
    let desk = desk().await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let bob = desk.token(Role::Approver, "bob", &["sre"]).await;
    let listen = async |token: &str| {
        let request = Request::builder().uri("/v1/events").header("authorization", format!("Bearer {token}"));
        desk.respond(request.body(Body::empty()).unwrap()).await.into_body()
    };
    let (alices, mut bobs) = (listen(&alice).await, listen(&bob).await);
    let tokens = desk.bench.store.tokens().await.unwrap();
    let id = &tokens.iter().find(|token| token.subject == "alice").unwrap().id;
    let looking = tokio::spawn(desk.app.revocations.clone().keep_looking(Arc::clone(&desk.bench.store)));
    crate::tokens::revoke(&*desk.bench.store, id).await.unwrap();
    assert!(ended(alices).await);
    looking.abort();
    desk.get(&alice, "/v1/approvals").await.is(401, "token");
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    desk.open(&edge, asked(1, "x", "basis")).await;
    assert!(bobs.frame().await.is_some(), "others still hear");
}

#[tokio::test]
async fn revocation_by_another_process_is_noticed() {
    let desk = desk().await;
    desk.token(Role::Approver, "alice", &["sre"]).await;
    let looking = tokio::spawn(desk.app.revocations.clone().keep_looking(Arc::clone(&desk.bench.store)));
    let [token] = &desk.bench.store.tokens().await.unwrap()[..] else { panic!("one token") };
    crate::tokens::revoke(&*desk.bench.store, &token.id).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while desk.app.revocations.known() == 0 {
        assert!(std::time::Instant::now() < deadline, "nobody has noticed");
        tokio::task::yield_now().await;
    }
    looking.abort();
}

#[tokio::test]
async fn whoever_waits_is_sent_away_as_soon_as_the_token_is_revoked() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let path = desk.open(&edge, asked(1, "x", "basis")).await.header("location").to_owned();
    let looking = tokio::spawn(desk.app.revocations.clone().keep_looking(Arc::clone(&desk.bench.store)));
    let began = std::time::Instant::now();
    let prefer = ["prefer: wait=60"];
    let again = json!(asked(2, "x", "basis")).to_string();
    let polls = async {
        tokio::join!(
            desk.call(&edge, Method::GET, &path, &prefer, ""),
            desk.call(&edge, Method::POST, "/v1/approvals", &prefer, &again),
            desk.call(&alice, Method::GET, &path, &prefer, ""),
        )
    };
    let revoke = async {
        // Whatever is asked for has to be waited for first.
        while desk.bench.store.hold(&number(2)).await.unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        for token in desk.bench.store.tokens().await.unwrap() {
            crate::tokens::revoke(&*desk.bench.store, &token.id).await.unwrap();
        }
    };
    let ((polled, opened, read), ()) = tokio::join!(polls, revoke);
    for answer in [polled, opened, read] {
        answer.is(401, "token");
        assert!(answer.text.contains("while you waited"), "{}", answer.text);
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(50), "long before their time was up");
    looking.abort();
}

#[tokio::test]
async fn credential_and_address_that_ask_too_much_are_told_when_to_come_back() {
    let rates = crate::limits::Rates { person_per_s_max: 1, gateway_per_s_max: 1_000, stranger_per_s_max: 1 };
    let desk = desk_with(rates).await;
    let alice = desk.token(Role::Approver, "alice", &[]).await;
    let again = desk.token(Role::Auditor, "bob", &[]).await;
    let mut refused = None;
    for _ in 0..10 {
        let answer = desk.get(&alice, "/v1/approvals").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("ten requests at once are too many for one a second");
    refused.is(429, "rate-limited");
    assert!((1..=2).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(desk.get(&again, "/v1/audit").await.status, StatusCode::OK, "somebody else's room is their own");
    for _ in 0..10 {
        desk.get("hp_admin_00", "/v1/approvals").await;
    }
    desk.get("hp_admin_00", "/v1/approvals").await.is(429, "rate-limited");
    let link = desk.browse("", Method::GET, "/login?code=00", &[], "").await;
    assert_eq!(link.status, StatusCode::TOO_MANY_REQUESTS, "nor are links guessed at speed");
    let nobody = desk.browse("", Method::GET, "/approvals", &[], "").await;
    assert_eq!((nobody.status.as_u16(), nobody.header("retry-after").is_empty()), (429, false));
    assert_eq!(desk.get(&again, "/v1/audit").await.status, StatusCode::OK, "nor do they take the room of who has one");
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    for _ in 0..50 {
        assert_eq!(desk.get(&edge, "/v1/service").await.status, StatusCode::OK);
    }
    assert_eq!(desk.get("", "/livez").await.text, "ok\n", "whoever asks whether it lives is always told");
}

#[tokio::test]
async fn service_with_a_task_that_ended_is_not_ready() {
    let desk = desk().await;
    let (_stop, stopping) = watch::channel(false);
    let pace = crate::supervise::Pace::default();
    tokio::spawn(desk.tasks.clone().keep("sweep", pace, stopping, || async { panic!("a fault") }));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let answer = loop {
        let answer = desk.get("", "/readyz").await;
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            break answer;
        }
        assert!(std::time::Instant::now() < deadline, "{}", answer.text);
        tokio::task::yield_now().await;
    };
    assert_eq!(answer.body["degraded"], json!(["the task `sweep` panicked: a fault; it is begun again"]));
}

#[tokio::test]
async fn path_that_cannot_be_read_is_a_problem_and_a_cursor_is_one_of_ours() {
    let desk = desk().await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    for path in ["/v1/approvals/%FF", "/v1/approvals/a%00b"] {
        desk.get(&alice, path).await.is(400, "malformed-path");
    }
    let auditor = desk.token(Role::Auditor, "dan", &[]).await;
    desk.get(&auditor, "/v1/audit/%FF/proof").await.is(400, "malformed-path");
    desk.get(&auditor, "/v1/audit/99999999999999999999/proof").await.is(404, "not-found");
    for cursor in ["019ac3f2b1d87cc0a3e46f1c2ab90d55", "x", "", "%FF"] {
        desk.get(&alice, &format!("/v1/approvals?cursor={cursor}")).await.is(400, "malformed-query");
    }
}

#[tokio::test]
async fn description_of_the_api_names_the_roles_that_each_path_lets_in() {
    let desk = desk().await;
    let api = desk.get("", "/openapi.json").await.body;
    let mut tokens = Vec::new();
    for role in [Role::Enforcer, Role::Approver, Role::BreakGlass, Role::Auditor, Role::Admin] {
        tokens.push((role, desk.token(role, "somebody", &["sre"]).await));
    }
    let mut looked_at = 0;
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let roles: Vec<&str> =
                described["x-roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
            let method: Method = method.to_uppercase().parse().unwrap();
            let path = path.replace(['{', '}'], "");
            for (role, token) in tokens.iter().filter(|_| !roles.is_empty()) {
                let request =
                    Request::builder().method(&method).uri(&path).header("authorization", format!("Bearer {token}"));
                let status = desk.respond(request.body(Body::empty()).unwrap()).await.status();
                let is_let_in = status != StatusCode::FORBIDDEN;
                assert_eq!(is_let_in, roles.contains(&role.as_str()), "{method} {path} as {role}: {status}");
                looked_at += 1;
            }
        }
    }
    assert!(looked_at > 100, "{looked_at}");
}

#[tokio::test]
async fn filter_that_is_too_far_from_the_service_is_told_which_side_to_upgrade() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let asked = json!(asked(1, "x", "basis")).to_string();
    let ask = async |wire: &[&str]| desk.call(&edge, Method::POST, "/v1/approvals", wire, &asked).await;
    for (wire, side) in [("1.3", "upgrade the service"), ("2.0", "upgrade the service"), ("0.9", "upgrade the filter")]
    {
        let answer = ask(&[&format!("holdpoint-wire: {wire}")]).await;
        answer.is(409, "wire-version");
        assert!(answer.body["detail"].as_str().unwrap().ends_with(side), "{}", answer.text);
    }
    ask(&["holdpoint-wire: one"]).await.is(409, "wire-version");
    for wire in [&["holdpoint-wire: 1.2"][..], &["holdpoint-wire: 1.0"], &[]] {
        let answer = ask(wire).await;
        assert_eq!((answer.status, answer.header("holdpoint-wire")), (StatusCode::ACCEPTED, "1.1"), "{}", answer.text);
    }
    // Only gateways speak it: a person's tool is served whatever it says.
    let carol = desk.token(Role::Auditor, "carol", &[]).await;
    let answer = desk.call(&carol, Method::GET, "/v1/service", &["holdpoint-wire: 7.0"], "").await;
    assert_eq!((answer.status, answer.body["wire"].as_str()), (StatusCode::OK, Some("1.1")), "{}", answer.text);
}
