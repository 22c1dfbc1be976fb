//! A candidate is tried on live calls, its difference is told, and it is put in force by one change of the filter's document.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::{HttpAnswer, tools_call};
use holdpoint_tests::envoy::PolicyUpdate;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;
use serde_json::{Value, json};

const READS: usize = 9;

fn is_denied(answer: &HttpAnswer) -> bool {
    answer.json()["result"]["isError"] == json!(true)
}

/// The one candidate that is told of, once it tells what `holds` looks for.
async fn told(auditor: &Person, what: &str, holds: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    probe::until(what, probe::PATIENCE, async || {
        let all = auditor.get("/v1/policies/candidates").await.ok()?;
        let [one] = &all["candidates"].as_array()?[..] else { return None };
        holds(one).then(|| one.clone())
    })
    .await
}

#[tokio::test]
async fn candidate_decides_nothing_until_it_is_put_in_force_and_its_difference_is_told_before() -> anyhow::Result<()> {
    let stack = Stack::builder().policy_by_discovery().workers(2).document(|document| {
        let tried =
            "- {id: no-lists, match: {mcp: {allow_tools: list_issues}}, decision: deny, reason: \"Not any more\"}";
        document.candidate = Some(format!("{}{tried}\n", document.policy));
    });
    let mut stack = stack.start().await?;
    let auditor = Person::auditor(&stack.service)?;
    let token = stack.agent("agent-7")?;

    // Observe: everything runs as before.
    for _ in 0..READS {
        assert!(!is_denied(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    }
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    assert_eq!(stack.upstream.count(), READS);
    let all = READS + 1;
    let view = told(&auditor, "all calls are compared", |view| view["compared"] == json!(all)).await?;
    assert_eq!((&view["differing"], &view["unlisted"]), (&json!(READS), &json!(0)), "{view}");
    let [difference] = &view["differences"].as_array().expect("differences")[..] else { panic!("{view}") };
    let expected = json!({"server": "tracker", "method": "tools/call", "tool": "list_issues", "change": "tighter",
        "verdict": "allow", "rule_id": "reads-run", "candidate_verdict": "deny", "candidate_rule_id": "no-lists",
        "calls": READS, "sample": difference["sample"]});
    assert_eq!(difference, &expected);
    let summary = view["summary"].as_str().expect("a sentence");
    assert!(
        summary.starts_with("Of 10 calls since ") && summary.ends_with("would deny 9 that run today."),
        "{summary}"
    );
    assert_eq!(view["in_force_on"], json!([]));
    // The sample stands in the record, with what the candidate would have done.
    let entry =
        auditor.entry("the sample", |entry| entry["call_digest"] == difference["sample"]["call_digest"]).await?;
    assert_eq!((&entry["verdict"], &entry["candidate"]["verdict"]), (&json!("allow"), &json!("deny")), "{entry}");

    let told_by_command = |fail_on: &str| {
        let url = stack.service.url("/");
        let token = stack.service.token("auditor", "ann", &[]).expect("a token");
        let mut words = vec!["policy", "rollout", "--server", &url, "--token", &token];
        words.extend(
            (!fail_on.is_empty()).then_some("--fail-on").into_iter().chain([fail_on]).filter(|w| !w.is_empty()),
        );
        stack.service.cli(&words)
    };
    let text = told_by_command("")?;
    assert!(
        text.contains("9  tighter  list_issues on tracker: allow by `reads-run`, would deny by `no-lists`"),
        "{text}"
    );
    assert!(told_by_command("tighter").is_err() && told_by_command("looser").is_ok());

    // Enforce: one change of the document.
    let id = view["candidate_id"].clone();
    stack.document.policy = stack.document.candidate.take().expect("the candidate");
    assert_eq!(stack.envoy.update_filter_document(&stack.document.text()).await?, PolicyUpdate::Accepted);
    probe::until("every worker denies it", probe::PATIENCE, async || {
        for _ in 0..READS {
            if !is_denied(&tools_call("list_issues", "{}", &token).send(stack.port()).await.ok()?) {
                return None;
            }
        }
        Some(())
    })
    .await?;
    let after = told(&auditor, "it is in force", |view| view["in_force_on"] == json!(["gateway-1"])).await?;
    assert_eq!(after["candidate_id"], id);
    let ran = stack.upstream.count();
    for _ in 0..READS {
        assert!(is_denied(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    }
    assert_eq!(stack.upstream.count(), ran);
    held.abandon();
    Ok(())
}
