//! The approver's pages from outside, as a browser with and without a session sees them.

use std::collections::BTreeSet;

use holdpoint_core::approval::{ApprovalStatus, CALL_DIGEST_TAG, ClaimRequest};
use holdpoint_core::audit::Outcome;
use holdpoint_core::digest::Digest;

use super::*;
use crate::sessions::{self, CODE_MS_MAX, SESSION_MS_MAX};
use crate::store::row::Visitor;
use crate::store::{Change, Write};

/// A browser that is signed in.
pub(super) struct Browser<'a> {
    pub(super) desk: &'a Desk,
    pub(super) cookie: String,
}

/// Headers of a form that was sent from our own page.
const OWN: &[&str] = &["host: desk", "origin: http://desk", "sec-fetch-site: same-origin"];

impl Desk {
    async fn link(&self, subject: &str, groups: &[&str]) -> String {
        self.link_of(None, subject, groups).await
    }

    async fn link_of(&self, tenant: Option<&str>, subject: &str, groups: &[&str]) -> String {
        let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let visitor = Visitor {
            role: Role::Approver,
            issuer: "local".to_owned(),
            subject: subject.to_owned(),
            groups,
            tenant: tenant.map(str::to_owned),
        };
        sessions::invite(&*self.bench.store, visitor).await.unwrap().text().to_owned()
    }

    /// Sends a form, or nothing, as a browser would; `cookie` may be empty.
    pub(super) async fn browse(
        &self,
        cookie: &str,
        method: Method,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("cookie", cookie);
        if !body.is_empty() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let response = self.respond(request.body(Body::from(body.to_owned())).unwrap()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, body: Value::Null, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(super) async fn browser(&self, subject: &str, groups: &[&str]) -> Browser<'_> {
        let code = self.link(subject, groups).await;
        self.sign_in(&code).await
    }

    /// Of somebody who is bound to a tenant.
    pub(super) async fn browser_of(&self, tenant: &str, subject: &str, groups: &[&str]) -> Browser<'_> {
        let code = self.link_of(Some(tenant), subject, groups).await;
        self.sign_in(&code).await
    }

    async fn sign_in(&self, code: &str) -> Browser<'_> {
        let answer = self.browse("", Method::POST, "/login", OWN, &format!("code={code}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/approvals"), "{}", answer.text);
        let cookie = answer.header("set-cookie").to_owned();
        assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
        Browser { desk: self, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    /// Opens an approval and tells its path among the pages.
    pub(super) async fn hold(&self, asked: OpenApproval) -> String {
        let edge = self.token(Role::Enforcer, "edge", &[]).await;
        let opened = self.open(&edge, asked).await;
        format!("/approvals/{}", opened.body["id"].as_str().unwrap_or_else(|| panic!("{}", opened.text)))
    }
}

impl Browser<'_> {
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.desk.browse(&self.cookie, Method::GET, path, &[], "").await
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        self.desk.browse(&self.cookie, Method::POST, path, OWN, form).await
    }

    /// The fields that the forms of a page carry for `verdict`.
    async fn form(&self, path: &str, verdict: &str) -> String {
        let page = self.get(path).await.text;
        format!(
            "form_token={}&call_digest={}&verdict={verdict}",
            field(&page, "form_token"),
            field(&page, "call_digest").replace(':', "%3A")
        )
    }
}

pub(super) fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    rest.split_once('"').unwrap().0
}

/// A call by `agent` with these parameters.
fn asked_for(hold: u128, agent: &str, params: &Value) -> OpenApproval {
    let mut asked = asked(hold, "x", "basis");
    asked.principal.agent_id = Some(agent.to_owned());
    asked.call_text =
        json!({"agent": agent, "issuer": asked.principal.issuer, "method": asked.method, "params": params,
                             "server": asked.server, "subject": asked.principal.subject, "tenant": null})
        .to_string();
    asked.call_digest = Digest::tagged(CALL_DIGEST_TAG, asked.call_text.as_bytes());
    asked
}

#[tokio::test]
async fn approver_signs_in_by_a_link_approves_and_signs_out() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let alice = desk.browser("alice", &["sre"]).await;
    let inbox = alice.get("/approvals").await;
    assert!(inbox.text.contains(&format!("href=\"{path}\"")) && inbox.text.contains("(1) Approvals"), "{}", inbox.text);
    let page = alice.get(&path).await.text;
    for part in [
        "<b>bot</b> for <b>bob</b> wants to run <code>create_issue</code> on <b>github</b>",
        "a person looks at writes",
        "at most 30000 ms",
        "<span>0 of 1</span> from sre",
        "One live call waits",
        "within 5 s",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let approved = alice.post(&format!("{path}/review"), &alice.form(&path, "approve").await).await;
    assert_eq!(approved.status, StatusCode::SEE_OTHER, "{}", approved.text);
    let inbox = alice.get(approved.header("location")).await.text;
    assert!(inbox.contains("<title>Approvals") && inbox.contains("data-status=\"approved\""), "{inbox}");
    assert!(alice.get(&format!("{path}/row")).await.text.contains("data-status=\"approved\""));

    let token = field(&inbox, "form_token").to_owned();
    let out = alice.post("/logout", &format!("form_token={token}")).await;
    assert!(out.header("set-cookie").starts_with("holdpoint_session=; Path=/; Max-Age=0"), "{out:?}");
    assert_eq!(alice.get("/approvals").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn link_works_once_and_only_by_the_button() {
    let desk = desk().await;
    let code = desk.link("alice", &["sre"]).await;
    for _ in 0..2 {
        let look = desk.browse("", Method::GET, &format!("/login?code={code}"), &[], "").await;
        assert!(look.status.is_success() && look.text.contains("Sign in as alice"), "{}", look.text);
        assert!(!look.headers.contains_key("set-cookie"));
    }
    let form = format!("code={code}");
    assert_eq!(desk.browse("", Method::POST, "/login", OWN, &form).await.status, StatusCode::SEE_OTHER);
    let again = desk.browse("", Method::POST, "/login", OWN, &form).await;
    assert!(again.status == StatusCode::GONE && again.text.contains("used already"), "{}", again.text);
    let old = desk.link("alice", &["sre"]).await;
    desk.bench.advance(CODE_MS_MAX);
    assert_eq!(desk.browse("", Method::POST, "/login", OWN, &format!("code={old}")).await.status, StatusCode::GONE);
}

#[tokio::test]
async fn visitor_without_a_session_is_told_how_to_get_a_link() {
    let desk = desk().await;
    let alice = desk.browser("alice", &["sre"]).await;
    let home = desk.browse("", Method::GET, "/", &[], "").await;
    assert_eq!((home.status.as_u16(), home.header("location")), (303, "/approvals"));
    for path in ["/approvals", "/approvals/a", "/approvals/a/row", "/history", "/live"] {
        let page = desk.browse("holdpoint_session=0", Method::GET, path, &[], "").await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(page.text.contains("holdpoint login"), "{}", page.text);
    }
    assert_eq!(alice.get("/approvals/a").await.status, StatusCode::NOT_FOUND);
    desk.bench.advance(SESSION_MS_MAX);
    assert_eq!(alice.get("/approvals").await.status, StatusCode::UNAUTHORIZED);
    let from_chat = desk.browse("", Method::GET, "/approvals?a=1&b=2", &["sec-fetch-site: cross-site"], "").await;
    assert!(from_chat.text.contains("content=\"0; url=/approvals?a=1&#38;b=2\""), "{}", from_chat.text);
}

#[tokio::test]
async fn form_without_its_token_or_from_elsewhere_is_refused() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let review = format!("{path}/review");
    let alice = desk.browser("alice", &["sre"]).await;
    let carol = desk.browser("carol", &["sre"]).await;
    let form = alice.form(&path, "approve").await;
    let bare = form.split_once('&').unwrap().1.to_owned();
    assert_eq!(alice.post(&review, &bare).await.status, StatusCode::FORBIDDEN, "no token");
    assert_eq!(carol.post(&review, &form).await.status, StatusCode::FORBIDDEN, "somebody else's token");
    assert_eq!(alice.post("/logout", "form_token=0").await.status, StatusCode::FORBIDDEN, "sign-out without a token");
    let foreign: [&[&str]; 6] = [
        &["host: desk"],
        &["host: desk", "origin: http://evil"],
        &["host: desk", "origin: null"],
        &["host: desk", "origin: http://desk", "sec-fetch-site: cross-site"],
        &["host: desk", "origin: http://desk", "sec-fetch-site: same-site"],
        &["host: desk", "origin: http://evil", "sec-fetch-site: same-origin"],
    ];
    for headers in foreign {
        let answer = desk.browse(&alice.cookie, Method::POST, &review, headers, &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        let code = format!("code={}", desk.link("mallory", &["sre"]).await);
        let answer = desk.browse("", Method::POST, "/login", headers, &code).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert!(alice.get(&path).await.text.contains("data-until"), "still pending");
    for own in [&["host: desk", "origin: https://desk"][..], &["host: desk", "sec-fetch-site: same-origin"]] {
        let code = format!("code={}", desk.link("alice", &["sre"]).await);
        assert_eq!(desk.browse("", Method::POST, "/login", own, &code).await.status, StatusCode::SEE_OTHER);
    }
}

#[tokio::test]
async fn reviewer_who_cannot_decide_is_told_why_instead_of_a_button() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    for (subject, group, why) in
        [("bob", "sre", "you asked for this call yourself"), ("carol", "dev", "your groups (dev) are none")]
    {
        let browser = desk.browser(subject, &[group]).await;
        let page = browser.get(&path).await.text;
        assert!(page.contains("You cannot approve this: ") && page.contains(why), "{page}");
        assert!(!page.contains("<button class=\"approve\"") && !page.contains("<textarea"), "{page}");
        let alice = desk.browser("alice", &["sre"]).await.form(&path, "approve").await;
        let token = field(&page, "form_token").to_owned();
        let forged = format!("form_token={token}&{}", alice.split_once('&').unwrap().1);
        let answer = browser.post(&format!("{path}/review"), &forged).await;
        assert!(answer.status == StatusCode::FORBIDDEN && answer.text.contains(why), "{}", answer.text);
    }
}

#[tokio::test]
async fn deny_needs_a_reason_and_a_decision_the_digest_that_was_shown() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let alice = desk.browser("alice", &["sre"]).await;
    let review = format!("{path}/review");
    let deny = alice.form(&path, "deny").await;
    let answer = alice.post(&review, &format!("{deny}&reason=+")).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("a deny needs a `reason`"), "{}", answer.text);
    let other = Digest::of(b"other").to_string().replace(':', "%3A");
    let digest = field(&alice.get(&path).await.text, "call_digest").replace(':', "%3A");
    let answer = alice.post(&review, &format!("{}&reason=%3Cb%3E", deny.replace(&digest, &other))).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.text.contains("required>&#60;b&#62;</textarea>"), "what was typed is kept: {}", answer.text);
    assert_eq!(alice.post(&review, "form_token=1").await.status, StatusCode::FORBIDDEN);
    let token = field(&alice.get(&path).await.text, "form_token").to_owned();
    let no_digest = format!("form_token={token}&verdict=deny");
    assert_eq!(alice.post(&review, &no_digest).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(alice.post(&review, &format!("{deny}&reason=too%20late")).await.status, StatusCode::SEE_OTHER);
    let page = alice.get(&path).await.text;
    assert!(page.contains("<blockquote>too late</blockquote>") && page.contains("Nothing has run"), "{page}");
    let again = alice.post(&review, &format!("{deny}&reason=again")).await;
    assert!(again.text.contains("the approval is denied already"), "{}", again.text);
}

#[tokio::test]
async fn nothing_that_a_caller_writes_is_obeyed_by_a_page() {
    let desk = desk().await;
    let evil = "<script>alert(1)</script>\u{202e}\u{200b}\u{7}\"'";
    let mut asked = asked_for(1, evil, &json!({"arguments": {evil: evil}}));
    asked.target = Some(evil.to_owned());
    asked.reasons[0].text = evil.to_owned();
    asked.envelope.meta.risk_tags = BTreeSet::from([evil.to_owned()]);
    let path = desk.hold(asked).await;
    let alice = desk.browser("alice", &["sre"]).await;
    for page in [alice.get("/approvals").await, alice.get(&path).await, alice.get(&format!("{path}/row")).await] {
        assert!(!page.text.contains("<script>") && page.text.contains("&#60;script&#62;"), "{}", page.text);
        assert!(!page.text.contains(['\u{202e}', '\u{200b}', '\u{7}']), "{}", page.text);
        assert!(page.text.contains(">\\u{202e}</mark>") && page.text.contains(">\\u{7}</mark>"), "{}", page.text);
        assert_eq!(
            page.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!((page.header("x-content-type-options"), page.header("cache-control")), ("nosniff", "no-store"));
        assert_eq!(page.header("referrer-policy"), "same-origin");
    }
}

#[tokio::test]
async fn arguments_are_shown_whole() {
    let desk = desk().await;
    let long = "y".repeat(50_000) + "the very end";
    let path = desk.hold(asked_for(1, "bot", &json!({"body": long, "n": 1}))).await;
    let page = desk.browser("alice", &["sre"]).await.get(&path).await.text;
    assert!(page.contains(&long) && page.contains("50014 characters"));
}

#[tokio::test]
async fn call_with_a_long_value_is_approved_only_by_who_says_that_it_was_read() {
    let desk = desk().await;
    let path = desk.hold(asked_for(1, "bot", &json!({"body": "z".repeat(500)}))).await;
    let alice = desk.browser("alice", &["sre"]).await;
    let (review, form) = (format!("{path}/review"), alice.form(&path, "approve").await);
    let answer = alice.post(&review, &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("open every long value of the call first"), "{}", answer.text);
    assert_eq!(alice.post(&review, &format!("{form}&opened=yes")).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn what_is_stopped_shows_where_people_decide() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let admin = desk.token(Role::Admin, "root", &[]).await;
    let body = json!({"scope": {"server": "github"}, "reason": "an incident <1>"});
    assert_eq!(desk.post(&admin, "/v1/freezes", body).await.status, StatusCode::CREATED);
    let alice = desk.browser("alice", &["sre"]).await;
    for page in [alice.get("/approvals").await.text, alice.get(&path).await.text] {
        assert!(page.contains("Stopped by local root") && page.contains("an incident &#60;1&#62;"), "{page}");
    }
}

#[tokio::test]
async fn history_goes_on_where_a_page_ends_and_keeps_what_was_asked() {
    let desk = desk().await;
    let alice = desk.browser("alice", &["sre"]).await;
    for n in 0..51 {
        // So many would be too many of one principal.
        let mut asked = asked_for(n, "bot", &json!({"n": n}));
        asked.principal.subject = format!("bob-{n}");
        asked.call_text = asked.call_text.replace("\"bob\"", &format!("\"bob-{n}\""));
        asked.call_digest = Digest::tagged(CALL_DIGEST_TAG, asked.call_text.as_bytes());
        desk.hold(asked).await;
    }
    let page = alice.get("/history?text=%22n%22&who=BOT").await.text;
    assert_eq!(page.matches("<li class=\"row").count(), 50);
    let (_, rest) = page.split_once("<p class=\"more\"><a href=\"").unwrap();
    let older = rest.split_once('"').unwrap().0.replace("&#38;", "&");
    assert!(older.starts_with("/history?who=BOT&text=%22n%22&before="), "{older}");
    let page = alice.get(&older).await.text;
    assert_eq!(page.matches("<li class=\"row").count(), 1);
    assert!(!page.contains("Older ones"), "{page}");
    assert_eq!(alice.get("/history?status=maybe").await.status, StatusCode::BAD_REQUEST);
    // Words of a call are found only by those who may read it; that it was asked is no secret.
    let carol = desk.browser("carol", &["dev"]).await;
    let found = carol.get("/history?text=%22n%22").await.text;
    assert_eq!(found.matches("<li class=\"row").count(), 0);
    assert!(!found.contains("Older ones"), "that there are more than fifty is found by those words too: {found}");
    assert_eq!(carol.get("/history?who=BOT").await.text.matches("<li class=\"row").count(), 50);
}

#[tokio::test]
async fn pages_say_of_an_approved_call_that_it_ran_only_when_it_did() {
    let desk = desk().await;
    let alice = desk.browser("alice", &["sre"]).await;
    let pill = |words: &str| format!("\">{words}</span>");
    for (hold, outcome, words) in [
        (1, Outcome::Committed, "Approved, ran"),
        (2, Outcome::Failed, "Approved, failed"),
        (3, Outcome::Refused, "Approved, did not run"),
        (4, Outcome::Unknown, "Approved, outcome unknown"),
    ] {
        let path = desk.hold(asked(hold, &hold.to_string(), "basis")).await;
        let id = path.strip_prefix("/approvals/").unwrap();
        let approved = alice.post(&format!("{path}/review"), &alice.form(&path, "approve").await).await;
        assert_eq!(approved.status, StatusCode::SEE_OTHER, "{}", approved.text);
        let request = ClaimRequest {
            hold_id: number(hold),
            nonce: number(9),
            call_digest: desk.bench.store.state(id).await.unwrap().unwrap().call_digest,
            basis: Digest::of(b"basis"),
            snapshot_id: contract::snapshot_id(),
            standing: None,
        };
        desk.app.approvals.claim(id, &request, "local edge").await.unwrap();
        let (page, row) = (path.clone(), format!("{path}/row"));
        for place in [&page, &row] {
            assert!(alice.get(place).await.text.contains(&pill("Approved, used")), "{place}");
        }
        let write = Write::SetOutcome { hold_id: number(hold), outcome };
        desk.bench.store.commit(Change { writes: vec![write], entries: Vec::new() }).await.unwrap();
        for place in [&page, &row, "/approvals", "/history"] {
            let text = alice.get(place).await.text;
            assert!(text.contains(&pill(words)) && !text.contains(&pill("Approved, used")), "{words}: {text}");
        }
        let view = desk.get(&desk.token(Role::Auditor, "eve", &[]).await, &format!("/v1{path}")).await;
        assert_eq!(view.body["outcome"], outcome.as_str(), "{}", view.text);
    }
}

#[tokio::test]
async fn live_line_tells_a_session_what_happens() {
    let desk = desk().await;
    let alice = desk.browser("alice", &["sre"]).await;
    let request = Request::builder().uri("/live").header("cookie", &alice.cookie).body(Body::empty()).unwrap();
    let mut body = desk.respond(request).await.into_body();
    desk.hold(asked(1, "x", "basis")).await;
    let frame = body.frame().await.unwrap().unwrap();
    let text = std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
    assert!(text.contains("event: approval") && text.contains("approval_opened"), "{text}");
}

#[tokio::test]
async fn browser_session_its_links_and_its_live_page_end_when_a_token_of_the_person_is_revoked() {
    let desk = desk().await;
    desk.token(Role::Approver, "alice", &["sre"]).await;
    let (alice, bob) = (desk.browser("alice", &["sre"]).await, desk.browser("bob", &["sre"]).await);
    let link = desk.link("alice", &["sre"]).await;
    let request = Request::builder().uri("/live").header("cookie", &alice.cookie);
    let live = desk.respond(request.body(Body::empty()).unwrap()).await.into_body();
    let tokens = desk.bench.store.tokens().await.unwrap();
    crate::tokens::revoke(&*desk.bench.store, &tokens[0].id).await.unwrap();
    assert_eq!(alice.get("/approvals").await.status, StatusCode::UNAUTHORIZED);
    let again = desk.browse("", Method::POST, "/login", OWN, &format!("code={link}")).await;
    assert_eq!(again.status, StatusCode::GONE, "{}", again.text);
    assert!(super::ended(live).await);
    assert_eq!(bob.get("/approvals").await.status, StatusCode::OK, "nobody else's session ends");
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_done_only_when_it_was_asked_once_more() {
    let desk = desk().await;
    let sign_in = async |role: Role| {
        let groups = ["sre".to_owned()].into();
        let subject = role.to_string();
        let visitor = Visitor { role, issuer: "local".to_owned(), subject, groups, tenant: None };
        let code = sessions::invite(&*desk.bench.store, visitor).await.unwrap().text().to_owned();
        let signed_in = desk.browse("", Method::POST, "/login", OWN, &format!("code={code}")).await;
        Browser { desk: &desk, cookie: signed_in.header("set-cookie").split(';').next().unwrap().to_owned() }
    };
    let asks_first = async |browser: &Browser<'_>, to: &str, form: &str| {
        let asked = browser.post(to, form).await;
        assert_eq!(asked.status, StatusCode::OK, "{to}: {}", asked.text);
        assert!(asked.text.contains("name=\"confirmed\" value=\"yes\""), "{to} asks: {}", asked.text);
        form.to_owned() + "&confirmed=yes"
    };
    // A call that may destroy something, by an approver.
    let mut destructive = asked(1, "x", "basis");
    destructive.envelope.labels.insert("mcp.action".to_owned(), "admin".to_owned());
    let path = desk.hold(destructive).await;
    let status = async |path: &str| {
        let id = path.rsplit('/').next().unwrap().to_owned();
        desk.bench.store.state(&id).await.unwrap().unwrap().status
    };
    let alice = desk.browser("alice", &["sre"]).await;
    let review = format!("{path}/review");
    let confirmed = asks_first(&alice, &review, &alice.form(&path, "approve").await).await;
    assert_eq!(status(&path).await, ApprovalStatus::Pending);
    assert_eq!(alice.post(&review, &confirmed).await.status, StatusCode::SEE_OTHER);
    assert_eq!(status(&path).await, ApprovalStatus::Approved);
    // Any call, by somebody who decides alone.
    let path = desk.hold(asked(2, "y", "basis")).await;
    let glass = sign_in(Role::BreakGlass).await;
    let review = format!("{path}/review");
    let form = glass.form(&path, "approve").await + "&reason=down";
    let confirmed = asks_first(&glass, &review, &form).await;
    assert_eq!(status(&path).await, ApprovalStatus::Pending);
    assert_eq!(glass.post(&review, &confirmed).await.status, StatusCode::SEE_OTHER);
    assert_eq!(status(&path).await, ApprovalStatus::Approved);
    // Stopping things, and letting them go on.
    let root = sign_in(Role::Admin).await;
    let token = field(&root.get("/freezes").await.text, "form_token").to_owned();
    let confirmed = asks_first(&root, "/freezes", &format!("form_token={token}&server=other&reason=x")).await;
    assert_eq!(desk.bench.store.freezes().await.unwrap().freezes, []);
    assert_eq!(root.post("/freezes", &confirmed).await.status, StatusCode::SEE_OTHER);
    let [stopped] = &desk.bench.store.freezes().await.unwrap().freezes[..] else { panic!("one is stopped") };
    let lift = format!("/freezes/{}/lift", stopped.id);
    let confirmed = asks_first(&root, &lift, &format!("form_token={token}")).await;
    assert_eq!(desk.bench.store.freezes().await.unwrap().freezes.len(), 1);
    assert_eq!(root.post(&lift, &confirmed).await.status, StatusCode::SEE_OTHER);
    let revoke = asks_first(&root, "/grants/0/revoke", &format!("form_token={token}")).await;
    assert_eq!(
        root.post("/grants/0/revoke", &revoke).await.status,
        StatusCode::NOT_FOUND,
        "only then is it looked for"
    );
}

#[tokio::test]
async fn calls_with_long_values_are_approved_together_only_when_those_were_opened() {
    let desk = desk().await;
    let asked = asked_for(1, "bot", &json!({"body": "long ".repeat(400)}));
    let (digest, path) = (asked.call_digest.to_string().replace(':', "%3A"), desk.hold(asked).await);
    let id = path.rsplit('/').next().unwrap();
    let alice = desk.browser("alice", &["sre"]).await;
    let token = field(&alice.get(&path).await.text, "form_token").to_owned();
    let form = format!("form_token={token}&item={id}+{digest}&verdict=approve");
    let unread = alice.post("/approvals/batch", &form).await;
    assert_eq!(unread.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", unread.text);
    assert_eq!(desk.bench.store.state(id).await.unwrap().unwrap().status, ApprovalStatus::Pending);
    assert_eq!(alice.post("/approvals/batch", &format!("{form}&opened=yes")).await.status, StatusCode::OK);
    assert_eq!(desk.bench.store.state(id).await.unwrap().unwrap().status, ApprovalStatus::Approved);
}

#[tokio::test]
async fn every_form_needs_its_token_and_a_role_that_may() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let alice = desk.browser("alice", &["sre"]).await;
    let token = field(&alice.get(&path).await.text, "form_token").to_owned();
    for to in [
        "/approvals/batch",
        "/grants/0/revoke",
        "/delegations",
        "/delegations/0/end",
        "/freezes",
        "/freezes/0/lift",
        "/logout",
    ] {
        let form = "verdict=approve&confirmed=yes&subject=zoe&hours=1&reason=x&server=github";
        assert_eq!(alice.post(to, form).await.status, StatusCode::FORBIDDEN, "{to} without a token");
        let own = format!("{form}&form_token={token}");
        let foreign = ["host: desk", "origin: http://other", "sec-fetch-site: cross-site"];
        let answer = desk.browse(&alice.cookie, Method::POST, to, &foreign, &own).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{to} from elsewhere");
    }
    let form = format!("form_token={token}&server=github&reason=x&confirmed=yes");
    let answer = alice.post("/freezes", &form).await;
    assert!(answer.status == StatusCode::FORBIDDEN && answer.text.contains("only an administrator"), "{}", answer.text);
    assert_eq!(desk.bench.store.freezes().await.unwrap().freezes, []);
    // An auditor and an administrator look, and decide nothing, whatever they send.
    for role in [Role::Auditor, Role::Admin] {
        let groups = ["sre".to_owned()].into();
        let visitor = Visitor { role, issuer: "local".to_owned(), subject: "eve".to_owned(), groups, tenant: None };
        let code = sessions::invite(&*desk.bench.store, visitor).await.unwrap().text().to_owned();
        let signed_in = desk.browse("", Method::POST, "/login", OWN, &format!("code={code}")).await;
        let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
        let eve = Browser { desk: &desk, cookie };
        let page = eve.get(&path).await.text;
        assert!(page.contains("only looks"), "{page}");
        let token = field(&page, "form_token");
        let digest = asked(1, "x", "basis").call_digest.to_string().replace(':', "%3A");
        let id = path.rsplit('/').next().unwrap();
        for (to, form) in [
            (format!("{path}/review"), format!("form_token={token}&call_digest={digest}&verdict=approve")),
            ("/approvals/batch".to_owned(), format!("form_token={token}&item={id}+{digest}&verdict=approve")),
            ("/delegations".to_owned(), format!("form_token={token}&subject=zoe&hours=1&reason=x&group=sre")),
        ] {
            assert_eq!(eve.post(&to, &form).await.status, StatusCode::FORBIDDEN, "{role} at {to}");
        }
        if role == Role::Auditor {
            let revoke = eve.post("/grants/0/revoke", &format!("form_token={token}&confirmed=yes")).await;
            assert_eq!(revoke.status, StatusCode::FORBIDDEN, "whoever only looks takes nothing back");
        }
    }
    let state = desk.bench.store.state(path.rsplit('/').next().unwrap()).await.unwrap().unwrap();
    assert_eq!(state.status, holdpoint_core::approval::ApprovalStatus::Pending);
}
