//! The searchable record, the timeline of a call and the inventory, over the API and as a browser sees them.

use holdpoint_core::audit::{AuditEntry, EntryKind};

use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::decision::AuditLevel;

use super::pages::Browser;
use super::*;

impl Browser<'_> {
    pub(super) async fn page(&self, path: &str) -> Answer {
        self.desk.browse(&self.cookie, Method::GET, path, &[], "").await
    }
}

#[tokio::test]
async fn record_is_searched_page_by_page_by_auditors_and_approvers() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let id = path.rsplit('/').next().unwrap();
    desk.hold(asked(2, "y", "basis")).await;
    let (ann, alice) =
        (desk.token(Role::Auditor, "ann", &[]).await, desk.token(Role::Approver, "alice", &["sre"]).await);
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    desk.get(&edge, "/v1/record").await.is(403, "role");
    let found = desk.get(&ann, &format!("/v1/record?approval={id}")).await.body;
    assert_eq!(found["entries"][0]["entry"]["kind"], "approval_opened", "{found}");
    assert_eq!(found["entries"].as_array().unwrap().len(), 1);
    let by_all = "/v1/record?kind=approval_opened&server=github&tool=create_issue&who=bob&limit=1";
    let first = desk.get(&alice, by_all).await.body;
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = desk.get(&alice, &format!("{by_all}&cursor={cursor}")).await.body;
    assert_ne!(first["entries"][0]["seq"], second["entries"][0]["seq"]);
    let tokens = desk.get(&ann, "/v1/record?kind=token_changed").await.body;
    assert!(!tokens["entries"].as_array().unwrap().is_empty(), "{tokens}");
    let tokens = desk.get(&alice, "/v1/record?kind=token_changed").await.body;
    assert_eq!(tokens["entries"], json!([]), "an approver looks at calls");
    for query in ["cursor=x", "kind=nothing", "nobody=x", "since_ms=-1"] {
        desk.get(&ann, &format!("/v1/record?{query}")).await.is(400, "malformed-query");
    }
    let seq = &found["entries"][0]["seq"];
    let call = desk.get(&alice, &format!("/v1/record/{seq}/call")).await.body;
    assert_eq!((&call["standing"], &call["is_cut"]), (&json!("open"), &json!(false)), "{call}");
    for seq in ["999", "x", "99999999999999999999"] {
        desk.get(&ann, &format!("/v1/record/{seq}/call")).await.is(404, "not-found");
    }
}

#[tokio::test]
async fn timeline_of_an_approval_shows_who_decided_and_links_both_ways() {
    let desk = desk().await;
    let path = desk.hold(asked(1, "x", "basis")).await;
    let alice = desk.browser("alice", &["sre"]).await;
    assert!(alice.page(&path).await.text.contains(&format!("href=\"{path}/timeline\"")));
    let token = desk.token(Role::Approver, "alice", &["sre"]).await;
    let view = desk.get(&token, &format!("/v1{path}")).await.body;
    let denial = json!({"verdict": "deny", "call_digest": view["call_digest"], "reason": "not on a friday"});
    desk.post(&token, &format!("/v1{path}/reviews"), denial).await;
    let page = alice.page(&format!("{path}/timeline")).await.text;
    for part in ["People were asked", "A person denied it", "local alice", "not on a friday", "Did not run", &path] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let found = alice.page("/record?what=kind%3Areview&who=alice").await.text;
    assert!(found.contains("A person denied it") && !found.contains("People were asked"), "{found}");
    let entry = found.split("href=\"/record/").nth(1).unwrap().split('"').next().unwrap();
    assert!(alice.page(&format!("/record/{entry}")).await.text.contains("People were asked"));
    assert!(alice.page("/record?what=kind%3Aclaim").await.text.contains("Nothing was found"));
    for path in ["/record?what=x", "/record?since=yesterday", "/record?before=x"] {
        assert_eq!(alice.page(path).await.status, 400, "{path}");
    }
    assert_eq!(alice.page("/record?since=2020-01-01T00:00&until=2020-01-02").await.status, 200);
    for path in ["/record/99999", "/approvals/none/timeline", "/inventory/none"] {
        assert_eq!(alice.page(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn inventory_page_shows_what_changed_in_what_a_server_says() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    for said in ["Opens an issue", "<b>Reads</b> every secret"] {
        let text = json!({"description": said, "name": "create_issue"}).to_string();
        let digest = holdpoint_core::definition::digest(holdpoint_core::definition::DefinitionKind::Tool, &text);
        let page = json!({"kind": "tool", "is_whole": true, "entries": [
            {"name": "create_issue", "digest": digest, "text": text}]});
        let observation =
            json!({"at_ms": 1, "server": "a/b c", "caller": asked(1, "x", "b").principal, "saw": {"listed": page}});
        let batch = json!({"source": "edge/1", "observations": [observation]});
        let answer = desk.post(&edge, "/v1/inventory/observations", batch).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
    }
    let alice = desk.browser("alice", &["sre"]).await;
    let list = alice.page("/inventory").await.text;
    assert!(list.contains("href=\"/inventory/a%2Fb%20c\"") && list.contains("1 tool"), "{list}");
    let server = alice.page("/inventory/a%2Fb%20c").await.text;
    assert!(server.contains("create_issue") && server.contains(">changed<"), "{server}");
    let address = "/inventory/a%2Fb%20c/definition?kind=tool&name=create_issue";
    assert!(server.contains(&address.replace('&', "&#38;")), "{server}");
    let page = alice.page(address).await.text;
    assert!(page.contains("<del>-   &#34;description&#34;: &#34;Opens an issue&#34;</del>"), "{page}");
    assert!(page.contains("&#60;b&#62;Reads") && !page.contains("<b>Reads"), "{page}");
    assert_eq!(desk.browse("", Method::GET, "/inventory", &[], "").await.status, 401, "nobody without a session");
}

#[tokio::test]
async fn pages_of_one_tenant_show_no_entry_of_another() {
    let desk = desk().await;
    let entry = AuditEntry {
        principal: Some(asked(1, "x", "basis").principal),
        server: Some("secret-server".to_owned()),
        ..AuditEntry::new(EntryKind::Decision, contract::START_MS)
    };
    let change = crate::store::Change { writes: Vec::new(), entries: vec![entry] };
    desk.bench.store.commit(change).await.unwrap();
    let bound = NewToken {
        role: Role::Auditor,
        issuer: "local".to_owned(),
        subject: "ann".to_owned(),
        groups: Default::default(),
        tenant: Some("acme".to_owned()),
        lasts_ms: None,
    };
    let bound = create(&*desk.bench.store, bound).await.unwrap().1;
    let ann = desk.token(Role::Auditor, "ann", &[]).await;
    let all = desk.get(&ann, "/v1/record?server=secret-server").await.body;
    let seq = &all["entries"][0]["seq"];
    assert!(seq.is_u64(), "{all}");
    let none = desk.get(&bound, "/v1/record?server=secret-server").await.body;
    assert_eq!(none["entries"], json!([]));
    desk.get(&bound, &format!("/v1/record/{seq}/call")).await.is(404, "not-found");

    let opened = desk.hold(asked(1, "x", "basis")).await;
    let (all, acme) = (desk.browser("alice", &["sre"]).await, desk.browser_of("acme", "bill", &["sre"]).await);
    for (browser, sees) in [(&all, true), (&acme, false)] {
        let list = browser.page("/record?server=secret-server").await.text;
        assert_eq!(list.contains("href=\"/record/"), sees, "{list}");
        for path in [format!("/record/{seq}"), format!("{opened}/timeline")] {
            assert_eq!(browser.page(&path).await.status, if sees { 200 } else { 404 }, "{path}");
        }
        let history = browser.page("/history").await.text;
        assert_eq!(history.contains("create_issue"), sees, "{history}");
    }
}

#[tokio::test]
async fn approver_s_pages_show_calls_and_no_other_entry() {
    let desk = desk().await;
    let ann = desk.token(Role::Auditor, "ann", &[]).await;
    let tokens = desk.get(&ann, "/v1/record?kind=token_changed").await.body;
    let seq = &tokens["entries"][0]["seq"];
    assert!(seq.is_u64(), "{tokens}");
    let alice = desk.browser("alice", &["sre"]).await;
    assert!(!alice.page("/record?what=kind%3Atoken_changed").await.text.contains("href=\"/record/"));
    assert_eq!(alice.page(&format!("/record/{seq}")).await.status, 404);
}

#[tokio::test]
async fn search_takes_no_endless_words_no_other_list_s_cursor_and_gives_no_endless_page() {
    let desk = desk().await;
    let ann = desk.token(Role::Auditor, "ann", &[]).await;
    let entries = vec![AuditEntry::new(EntryKind::Gap, contract::START_MS); 230];
    desk.bench.store.commit(crate::store::Change { writes: Vec::new(), entries }).await.unwrap();
    let page = desk.get(&ann, "/v1/record?limit=4294967295").await.body;
    assert_eq!(page["entries"].as_array().unwrap().len(), 200);
    for name in ["who", "server", "tool", "rule", "trace", "approval"] {
        assert_eq!(desk.get(&ann, &format!("/v1/record?{name}={}", "x".repeat(1_000))).await.status, 200);
        desk.get(&ann, &format!("/v1/record?{name}={}", "x".repeat(1_001))).await.is(400, "malformed-query");
    }
    let other = desk.get(&ann, "/v1/audit?limit=1").await.body["next_cursor"].as_str().unwrap().to_owned();
    desk.get(&ann, &format!("/v1/record?cursor={other}")).await.is(400, "malformed-query");
}

#[tokio::test]
async fn what_stands_beside_an_entry_is_shown_to_auditors_of_its_tenant_and_where_glass_is_broken() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let mut principal = asked(1, "x", "basis").principal;
    principal.tenant = Some("acme".to_owned());
    let mut payload = Payload::new(Salt::new([7; 16]));
    let said = payload.keep(Part::Arguments, AuditLevel::Full, "{\"note\":\"hunter2\"}");
    let entry = AuditEntry {
        principal: Some(principal),
        arguments: said,
        ..AuditEntry::new(EntryKind::Decision, contract::START_MS)
    };
    let before = desk.bench.store.head().await.unwrap().frontier.size();
    let batch = json!({"source": "edge/1", "first_counter": 0, "entries": [entry],
                       "payloads": [{"counter": 0, "payload": payload}]});
    let answer = desk.post(&edge, "/v1/audit/entries", batch).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let path = format!("/v1/audit/{before}");
    let bound = async |role, tenant: Option<&str>| {
        let tenant = tenant.map(str::to_owned);
        let new = NewToken {
            role,
            issuer: "local".to_owned(),
            subject: "x".to_owned(),
            groups: Default::default(),
            tenant,
            lasts_ms: None,
        };
        create(&*desk.bench.store, new).await.unwrap().1
    };
    for (role, tenant, status, sees) in [
        (Role::Auditor, None, 200, true),
        (Role::Auditor, Some("acme"), 200, true),
        (Role::BreakGlass, None, 200, true),
        (Role::Admin, None, 200, false),
        (Role::Auditor, Some("zeta"), 404, false),
        (Role::BreakGlass, Some("zeta"), 404, false),
        (Role::Approver, None, 403, false),
        (Role::Enforcer, None, 403, false),
    ] {
        let answer = desk.get(&bound(role, tenant).await, &path).await;
        assert_eq!((answer.status.as_u16(), answer.text.contains("hunter2")), (status, sees), "{role:?} {tenant:?}");
        assert_eq!(answer.body["withheld"].is_string(), status == 200 && !sees, "{}", answer.text);
    }
    let (acme, zeta) = (bound(Role::Auditor, Some("acme")).await, bound(Role::Auditor, Some("zeta")).await);
    assert_eq!(desk.get(&acme, &format!("{path}/proof")).await.status, 200);
    desk.get(&zeta, &format!("{path}/proof")).await.is(404, "not-found");
    desk.get(&zeta, "/v1/log/tile/entries/000.p/1").await.is(403, "other-tenants");
    let hashes = Request::builder().uri("/v1/log/tile/0/000.p/1").header("authorization", format!("Bearer {zeta}"));
    assert_eq!(desk.respond(hashes.body(Body::empty()).unwrap()).await.status(), 200, "hashes say nothing");
}
