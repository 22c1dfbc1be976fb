//! Every list comes in pages of a bounded size; where the next one begins is said in words that only that list understands.

use super::*;

/// Every key of a list, page by page.
async fn walk(desk: &Desk, token: &str, path: &str, rows: &str, key: &str, limit: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut cursor = String::new();
    for _ in 0..50 {
        let page = desk.get(token, &format!("{path}?limit={limit}{cursor}")).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        let keys = page.body[rows].as_array().unwrap().iter().map(|row| row[key].to_string());
        let keys: Vec<String> = keys.collect();
        assert!(keys.len() <= limit, "{path}: {} in a page of {limit}", keys.len());
        found.extend(keys);
        match page.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
    panic!("{path} has no end");
}

#[tokio::test]
async fn every_list_is_walked_page_by_page_without_a_gap_or_a_repeat() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let (alice, root) =
        (desk.token(Role::Approver, "alice", &["sre"]).await, desk.token(Role::Admin, "root", &[]).await);
    for (hold, call) in [(1, "x"), (2, "y"), (3, "z")] {
        desk.open(&edge, asked(hold, call, "basis")).await;
    }
    for who in ["bob", "carol", "dora", "eve", "fay"] {
        let lend = json!({"to": {"issuer": "local", "subject": who}, "until_ms": contract::START_MS + 60_000,
                          "reason": "away"});
        desk.post(&alice, "/v1/delegations", lend).await;
    }
    for text in ["{\"a\":1}", "{\"a\":2}", "{\"a\":3}"] {
        let path = format!("/v1/policies/{}", crate::policies::id_of(text));
        assert_eq!(desk.call(&edge, Method::PUT, &path, &[], text).await.status, StatusCode::CREATED);
    }
    let lists = [
        (&alice, "/v1/approvals", "approvals", "id", 3),
        (&alice, "/v1/delegations", "delegations", "id", 5),
        (&root, "/v1/policies", "policies", "snapshot_id", 4),
        (
            &root,
            "/v1/audit",
            "entries",
            "seq",
            usize::try_from(desk.bench.store.head().await.unwrap().frontier.size()).unwrap(),
        ),
    ];
    for (token, path, rows, key, count) in lists {
        let whole = walk(&desk, token, path, rows, key, 100).await;
        assert_eq!(whole.len(), count, "{path}: {whole:?}");
        assert_eq!(walk(&desk, token, path, rows, key, 2).await, whole, "{path}");
    }
    let other = desk.get(&alice, "/v1/approvals?limit=1").await.body["next_cursor"].as_str().unwrap().to_owned();
    for path in ["/v1/delegations", "/v1/grants", "/v1/policies", "/v1/inventory/servers"] {
        desk.get(&alice, &format!("{path}?cursor={other}")).await.is(400, "malformed-query");
        desk.get(&alice, &format!("{path}?cursor=x")).await.is(400, "malformed-query");
        desk.get(&alice, &format!("{path}?page=2")).await.is(400, "malformed-query");
        desk.get(&alice, &format!("{path}?limit=-1")).await.is(400, "malformed-query");
    }
    for path in ["/v1/audit", "/v1/notices"] {
        desk.get(&root, &format!("{path}?cursor={other}")).await.is(400, "malformed-query");
    }
    let all = desk.get(&alice, "/v1/delegations?limit=4294967295").await;
    assert_eq!(all.body["delegations"].as_array().unwrap().len(), 5, "more than a page holds is cut, not refused");
}

#[tokio::test]
async fn auditor_of_one_tenant_walks_over_what_is_others() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let entry = |tenant: &str| {
        json!({"schema": "holdpoint/audit/v1", "kind": "decision", "at_ms": 5,
               "principal": {"issuer": "i", "subject": "s", "tenant": tenant, "actor_type": "human"}})
    };
    let entries: Vec<Value> = ["acme", "other", "other", "other", "acme"].into_iter().map(entry).collect();
    let sent = desk
        .post(&edge, "/v1/audit/entries", json!({"source": "edge/1", "first_counter": 0, "entries": entries}))
        .await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.text);
    let new = NewToken {
        role: Role::Auditor,
        issuer: "local".to_owned(),
        subject: "dan".to_owned(),
        groups: Default::default(),
        tenant: Some("acme".to_owned()),
        lasts_ms: None,
    };
    let dan = create(&*desk.bench.store, new).await.unwrap().1;
    assert_eq!(walk(&desk, &dan, "/v1/audit", "entries", "seq", 1).await.len(), 2, "a page of others' is no end");
}
