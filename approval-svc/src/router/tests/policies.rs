//! Policies in a browser: where each decides, and what a candidate would do.

use super::*;
use crate::policies::id_of;

const TODAY: &str = "{\"version\":\"2026-01-27\"}";
const NEXT: &str = "{\"version\":\"2026-01-28\"}";

#[tokio::test]
async fn people_see_which_policy_decides_where_and_what_a_tried_one_would_change() {
    let desk = desk().await;
    let edge = desk.token(Role::Enforcer, "edge", &[]).await;
    let alice = desk.browser("alice", &["sre"]).await;
    let empty = alice.get("/policies").await.text;
    assert!(empty.contains("No gateway has said lately") && empty.contains("No candidate was tried"), "{empty}");

    for text in [TODAY, NEXT] {
        let path = format!("/v1/policies/{}", id_of(text));
        assert_eq!(desk.call(&edge, Method::PUT, &path, &[], text).await.status, StatusCode::CREATED);
    }
    let decides = async |gateway: &str, policy: &str| {
        let report = json!({"gateway": gateway, "instance": gateway, "plugin": "holdpoint", "sequence": 1,
                            "snapshot_id": id_of(policy), "since_ms": 1});
        assert_eq!(desk.post(&edge, "/v1/policies/in-force", report).await.status, StatusCode::NO_CONTENT);
    };
    decides("edge-1", TODAY).await;
    decides("edge<2>", TODAY).await;
    let page = alice.get("/policies").await.text;
    assert!(page.contains("edge-1, edge&#60;2&#62;") && !page.contains("gateways differ"), "{page}");
    decides("edge-3", NEXT).await;
    let differs = json!({"server": "tracker", "method": "tools/call", "tool": "drop<all>", "change": "tighter",
        "verdict": "allow", "rule_id": "today", "candidate_verdict": "deny", "candidate_rule_id": "then", "calls": 7,
        "sample": {"call_digest": id_of("a call"), "at_ms": 9}});
    let many: Vec<Value> = (0..60)
        .map(|n| {
            let mut one = differs.clone();
            one["tool"] = json!(format!("tool-{n}"));
            one["calls"] = json!(1);
            one
        })
        .chain([differs.clone()])
        .collect();
    let report = json!({"gateway": "edge-1", "source": "edge-1/1", "plugin": "holdpoint", "snapshot_id": id_of(TODAY),
        "candidate_id": id_of(NEXT), "since_ms": 1, "until_ms": 9, "compared": 90, "unlisted": 4, "differences": many});
    assert_eq!(desk.post(&edge, "/v1/policies/candidates", report).await.status, StatusCode::NO_CONTENT);

    let page = alice.get("/policies").await.text;
    assert_eq!(page.matches("gateways differ").count(), 2, "both of the two are marked: {page}");
    assert!(page.contains("would deny 67 that run today"), "{page}");
    // The most calls first; of the rest only so many, and the others are counted.
    assert!(page.contains("<code>drop&#60;all&#62;</code>") && page.contains("15 further calls differ"), "{page}");
    assert!(page.contains(&format!("/record?call={}", id_of("a call"))), "{page}");
    assert!(page.contains("in force</span> by now on edge-3"), "{page}");

    let acmes = desk.browser_of("acme", "eve", &["sre"]).await.get("/policies").await.text;
    assert!(acmes.contains("edge-3") && acmes.contains("only to those who are bound to none"), "{acmes}");
    assert!(!acmes.contains("drop"), "{acmes}");
}
