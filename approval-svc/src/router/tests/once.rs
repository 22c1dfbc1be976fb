//! What is sent again under its key is done once and answered alike; what has changed since it was looked at is not changed.

use super::*;
use crate::approvals::grant::Scope;
use crate::notify::Notify;
use crate::notify::settings::NotifySettings;

/// Sends a body under a key.
async fn send(desk: &Desk, token: &str, path: &str, key: &str, body: &Value) -> Answer {
    desk.call(token, Method::POST, path, &[&format!("idempotency-key: {key}")], &body.to_string()).await
}

/// Once, again, and under another key.
async fn once(desk: &Desk, token: &str, path: &str, body: &Value) -> Answer {
    let first = send(desk, token, path, "k-1", body).await;
    assert!(first.status.is_success(), "{path}: {}", first.text);
    let size = desk.bench.store.head().await.unwrap().frontier.size();
    desk.bench.advance(5);
    let again = send(desk, token, path, "k-1", body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}: the same answer");
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(desk.bench.store.head().await.unwrap().frontier.size(), size, "{path}: and nothing was done again");
    send(desk, token, path, "k 1", body).await.is(400, "idempotency-key");
    first
}

#[tokio::test]
async fn whatever_people_make_or_change_is_done_once_under_its_key() {
    let desk = desk().await;
    let (root, other) = (desk.token(Role::Admin, "root", &[]).await, desk.token(Role::Admin, "other", &[]).await);
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let freeze = json!({"scope": {"server": "other"}, "reason": "incident 7"});
    let lend = json!({"to": {"issuer": "local", "subject": "carol"}, "until_ms": contract::START_MS + 60_000,
                      "reason": "away"});
    for (token, path, body) in [(&root, "/v1/freezes", &freeze), (&alice, "/v1/delegations", &lend)] {
        let first = once(&desk, token, path, body).await;
        let mut changed = body.clone();
        changed["reason"] = json!("something else");
        send(&desk, token, path, "k-1", &changed).await.is(422, "idempotency-key");
        assert_ne!(
            send(&desk, token, path, "k-2", body).await.body["id"],
            first.body["id"],
            "another key, another one"
        );
    }
    assert_eq!(desk.get(&root, "/v1/freezes").await.body["freezes"].as_array().unwrap().len(), 2);
    let others = send(&desk, &other, "/v1/freezes", "k-1", &freeze).await;
    assert_eq!(others.status, StatusCode::CREATED, "somebody else's key is another one");
    let mine = send(&desk, &root, "/v1/freezes", "k-1", &freeze).await.body["id"].as_str().unwrap().to_owned();
    once(&desk, &root, &format!("/v1/freezes/{mine}/lift"), &json!({})).await;
    let late = send(&desk, &root, "/v1/freezes", "k-1", &freeze).await;
    assert_eq!(late.body["id"], json!(mine), "what was lifted since is not stopped again by a late repeat");
    let lent = send(&desk, &alice, "/v1/delegations", "k-1", &lend).await.body["id"].as_str().unwrap().to_owned();
    once(&desk, &alice, &format!("/v1/delegations/{lent}/end"), &json!({})).await;
    desk.bench.advance(2 * 24 * 60 * 60 * 1_000);
    let forgotten = send(&desk, &root, "/v1/freezes", "k-9", &freeze).await;
    assert_eq!(forgotten.status, StatusCode::CREATED);
    assert_ne!(send(&desk, &root, "/v1/freezes", "k-1", &freeze).await.body["id"], json!(mine), "kept for a day");
}

#[tokio::test]
async fn review_and_revocation_are_taken_once_under_their_key() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let asked = asked(1, "x", "basis");
    let path = desk.open(&edge, asked.clone()).await.header("location").to_owned();
    let review = json!({"verdict": "approve", "call_digest": asked.call_digest});
    once(&desk, &alice, &format!("{path}/reviews"), &review).await;
    let deny = json!({"verdict": "deny", "call_digest": asked.call_digest, "reason": "no"});
    send(&desk, &alice, &format!("{path}/reviews"), "k-1", &deny).await.is(422, "idempotency-key");
    send(&desk, &alice, &format!("{path}/reviews"), "k-2", &review).await.is(409, "already-decided");
    let stale = desk.call(&alice, Method::POST, &format!("{path}/revoke"), &["if-match: \"1\""], "{}").await;
    stale.is(412, "version-changed");
    once(&desk, &alice, &format!("{path}/revoke"), &json!({"reason": "changed my mind"})).await;
    let again = send(&desk, &alice, &format!("{path}/reviews"), "k-1", &review).await;
    assert_eq!(again.body["status"], "approved", "as it was answered, whatever has become of it since");
}

#[tokio::test]
async fn two_that_send_one_key_at_once_get_one_answer() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let asked = asked(1, "x", "basis");
    let path = format!("{}/reviews", desk.open(&edge, asked.clone()).await.header("location"));
    let review = json!({"verdict": "approve", "call_digest": asked.call_digest});
    let sent = futures_util::future::join_all((0..8).map(|_| send(&desk, &alice, &path, "k-1", &review))).await;
    for answer in sent {
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (StatusCode::CREATED, &json!("approved")),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn batch_is_taken_once_and_after_a_crash_in_its_middle_goes_on_where_it_stood() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let mut reviews = Vec::new();
    for (hold, call) in [(1, "x"), (2, "y")] {
        let asked = asked(hold, call, "basis");
        let id = desk.open(&edge, asked.clone()).await.body["id"].clone();
        reviews.push(json!({"id": id, "verdict": "approve", "call_digest": asked.call_digest}));
    }
    reviews.push(json!({"id": "none", "verdict": "approve", "call_digest": asked(1, "x", "basis").call_digest}));
    let body = json!({"reviews": reviews});
    let first = once(&desk, &alice, "/v1/reviews:batch", &body).await;
    let states = |answer: &Answer| {
        let results = answer.body["results"].as_array().unwrap().clone();
        results.into_iter().map(|one| one["state"]["status"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let some = |word: &str| Some(word.to_owned());
    assert_eq!(states(&first), [some("approved"), some("approved"), None]);
    // As a service leaves it that died before the answer to the whole was kept.
    let file = desk.bench.dir.join("holdpoint.db");
    crate::store::sqlite::run_sql(&file, "DELETE FROM answers WHERE id NOT LIKE '%/0'").await;
    let again = send(&desk, &alice, "/v1/reviews:batch", "k-1", &body).await;
    assert_eq!(again.body["results"][0], first.body["results"][0], "what was taken is answered as it was");
    assert_eq!(again.body["results"][1]["problem"]["code"], "already-decided", "and nothing is taken twice");
}

#[tokio::test]
async fn grant_is_taken_back_once_and_only_as_it_was_seen() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let mut asked = asked(1, "x", "basis");
    asked.requirement.grants = serde_json::from_value(json!({"uses_max": 9, "within_ms_max": 600_000})).unwrap();
    let path = desk.open(&edge, asked.clone()).await.header("location").to_owned();
    let scope = Scope { uses: 5, within_ms: 60_000, arguments: Default::default() };
    let review = json!({"verdict": "approve", "call_digest": asked.call_digest, "reason": "often", "scope": scope});
    let reviewed = desk.post(&alice, &format!("{path}/reviews"), review).await;
    assert_eq!(reviewed.status, StatusCode::CREATED, "{}", reviewed.text);
    let id = desk.get(&alice, "/v1/grants").await.body["grants"][0]["id"].as_str().unwrap().to_owned();
    let one = format!("/v1/grants/{id}");
    let seen = desk.get(&alice, &one).await;
    assert_eq!(seen.body["uses_left"], 4);
    let tag = seen.header("etag").to_owned();
    let known = desk.call(&alice, Method::GET, &one, &[&format!("if-none-match: {tag}")], "").await;
    assert_eq!(known.status, StatusCode::NOT_MODIFIED);
    // A further call uses it.
    let claim = json!({"hold_id": number(1), "nonce": number(9), "call_digest": asked.call_digest, "basis": asked.basis,
                       "snapshot_id": asked.snapshot_id});
    assert_eq!(desk.post(&edge, &format!("{path}/claim"), claim).await.status, StatusCode::OK);
    let further = OpenApproval { hold_id: number(2), ..asked };
    assert_eq!(desk.open(&edge, further).await.body["status"], "approved");
    let revoke = format!("{one}/revoke");
    let matching = |tag: &str| format!("if-match: {tag}");
    desk.call(&alice, Method::POST, &revoke, &[&matching(&tag)], "").await.is(412, "version-changed");
    desk.call(&alice, Method::POST, &revoke, &["if-match: none"], "").await.is(400, "malformed-header");
    let now = desk.get(&alice, &one).await.header("etag").to_owned();
    let headers = [matching(&now), "idempotency-key: k-1".to_owned()];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let taken = desk.call(&alice, Method::POST, &revoke, &headers, "").await;
    assert_eq!((taken.status, &taken.body["uses_left"]), (StatusCode::OK, &json!(3)), "{}", taken.text);
    let again = desk.call(&alice, Method::POST, &revoke, &headers, "").await;
    assert_eq!((again.status, again.body), (StatusCode::OK, taken.body));
    desk.post(&alice, &revoke, json!({})).await.is(404, "not-found");
    desk.get(&alice, &one).await.is(404, "not-found");
}

#[tokio::test]
async fn delegation_and_freeze_are_ended_only_as_they_were_seen() {
    let desk = desk().await;
    let root = desk.token(Role::Admin, "root", &[]).await;
    let alice = desk.token(Role::Approver, "alice", &["sre"]).await;
    let lend = json!({"to": {"issuer": "local", "subject": "carol"}, "until_ms": contract::START_MS + 60_000,
                      "reason": "away"});
    let id = desk.post(&alice, "/v1/delegations", lend).await.body["id"].as_str().unwrap().to_owned();
    let one = format!("/v1/delegations/{id}");
    let tag = desk.get(&alice, &one).await.header("etag").to_owned();
    let bob = desk.token(Role::Approver, "bob", &["sre"]).await;
    desk.get(&bob, &one).await.is(404, "not-found");
    let end = format!("{one}/end");
    desk.call(&alice, Method::POST, &end, &["if-match: \"0000000000000000\""], "").await.is(412, "version-changed");
    let ended = desk.call(&alice, Method::POST, &end, &[&format!("if-match: {tag}")], "").await;
    assert_eq!(ended.status, StatusCode::OK, "{}", ended.text);

    let freeze = json!({"scope": {"server": "other"}, "reason": "incident"});
    let first = desk.post(&root, "/v1/freezes", freeze.clone()).await.body["id"].as_str().unwrap().to_owned();
    let seen = desk.get(&root, "/v1/freezes").await.header("etag").to_owned();
    desk.bench.advance(5);
    desk.post(&root, "/v1/freezes", freeze).await;
    let lift = format!("/v1/freezes/{first}/lift");
    desk.call(&root, Method::POST, &lift, &[&format!("if-match: {seen}")], "").await.is(412, "version-changed");
    let now = desk.get(&root, "/v1/freezes").await.header("etag").to_owned();
    assert_eq!(desk.call(&root, Method::POST, &lift, &[&format!("if-match: {now}")], "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn notice_is_tested_and_tried_again_once_and_the_record_says_by_whom() {
    let desk = desk().await;
    let secret = desk.bench.dir.join("webhook.secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let hook = json!({"url": "https://hooks.example/x", "secrets": [{"file": secret}]});
    let routes = json!([{"channels": ["hook"]}]);
    let settings = json!({"channels": {"hook": {"webhook": hook}}, "routes": routes}).to_string();
    let settings = NotifySettings::read(&settings).unwrap();
    let desk = desk.with_app(|app| app.approvals.notify = Notify::new(settings, None));
    let root = desk.token(Role::Admin, "root", &[]).await;
    let tested = once(&desk, &root, "/v1/notices:test", &json!({"channel": "hook"})).await;
    let id = tested.body["id"].as_str().unwrap().to_owned();
    crate::store::sqlite::run_sql(
        &desk.bench.dir.join("holdpoint.db"),
        "UPDATE notices SET state = 'dead', tries = 1, ended_at_ms = 1",
    )
    .await;
    let one = format!("/v1/notices/{id}");
    let tag = desk.get(&root, &one).await.header("etag").to_owned();
    let retry = format!("{one}/retry");
    desk.call(&root, Method::POST, &retry, &["if-match: \"0000000000000000\""], "").await.is(412, "version-changed");
    let retried = once(&desk, &root, &retry, &json!({})).await;
    assert_eq!(retried.body["state"], "waiting");
    assert_ne!(desk.get(&root, &one).await.header("etag"), tag);
    let entries = desk.get(&root, "/v1/audit").await.body["entries"].as_array().unwrap().clone();
    let told: Vec<_> =
        entries.iter().map(|one| &one["entry"]).filter(|entry| entry["kind"] == "notice_changed").collect();
    let told: Vec<_> =
        told.iter().map(|entry| (entry["status"].as_str().unwrap(), entry["by"].as_str().unwrap())).collect();
    assert_eq!(told, [("tested", "local root"), ("retried", "local root")]);
}
