//! Pins: a tool that its server describes in another way is denied or held, on every worker, in call and list; and what
//! people approved does not run when the description changed meanwhile.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::probe;

use crate::server::{BAD, GOOD, RUN, WAIT, create, definition, list, policy, ran, stack};

/// Connections that Envoy spreads over its workers.
const TRIES: usize = 12;

fn deny() -> String {
    format!(", definition: \"{}\"", definition(GOOD))
}

fn ask() -> String {
    format!(
        ", definition: {{digest: \"{}\", on_change: require_approval, approval: {{approvers: {{all_of: [{{group: sec}}]}}}}}}",
        definition(GOOD)
    )
}

#[tokio::test]
async fn pinned_tool_is_denied_on_every_worker_from_the_list_on_that_shows_its_change() -> anyhow::Result<()> {
    let (stack, tools) = stack(&policy(&deny(), RUN)).await?;
    let (token, other) = (stack.agent("agent-7")?, stack.agent("agent-8")?);
    let unseen = create(&stack, &token).await?;
    assert!(unseen.text().contains("has not been seen") && unseen.text().contains("tools/list"), "{}", unseen.text());

    assert!(list(&stack, &token).await?.text().contains("create_issue"));
    for _ in 0..TRIES {
        let answer = create(&stack, &other).await?;
        assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text());
    }
    assert_eq!(ran(&stack), TRIES);

    tools.describe(BAD);
    let shown = list(&stack, &other).await?.text();
    assert!(shown.contains("list_issues") && !shown.contains("create_issue"), "{shown}");
    for _ in 0..TRIES {
        let answer = create(&stack, &token).await?;
        assert!(answer.text().contains("in another way than the policy knows"), "{}", answer.text());
        let answer = tools_call("list_issues", "{}", &token).send(stack.port()).await?;
        assert_eq!(answer.json()["result"]["isError"], false, "other tools run");
    }
    assert_eq!(ran(&stack), TRIES, "none of them reached the server");
    // Before there is a further list: of two, another worker may tell the later one first.
    let auditor = Person::auditor(&stack.service)?;
    let bad = definition(BAD).to_string();
    auditor.entry("the change", |entry| entry["kind"] == "definition_changed" && entry["definition"] == *bad).await?;

    tools.describe(GOOD);
    assert!(list(&stack, &token).await?.text().contains("create_issue"));
    for _ in 0..TRIES {
        assert_eq!(create(&stack, &other).await?.json()["result"]["isError"], false);
    }
    let denied = auditor.entry("the denial", |entry| entry["rule_ids"][0] == "pinned_definition").await?;
    assert_eq!(denied["verdict"], "deny");
    Ok(())
}

#[tokio::test]
async fn changed_tool_may_be_put_before_people_who_see_what_changed() -> anyhow::Result<()> {
    let (stack, tools) = stack(&policy(&ask(), RUN)).await?;
    let token = stack.agent("agent-7")?;
    list(&stack, &token).await?;
    assert_eq!(create(&stack, &token).await?.json()["result"]["isError"], false, "as pinned, it runs");
    tools.describe(BAD);
    assert!(list(&stack, &token).await?.text().contains("create_issue"), "people may still let it run");
    let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
    let sec = Person::approver(&stack.service, "sally", &["sec"])?;
    let opened = sec.pending().await?;
    let id = opened["id"].as_str().unwrap_or_default().to_owned();
    // What the gateway saw may reach the service a moment after the call that waits.
    let view = probe::until("the difference is shown", probe::PATIENCE, async || {
        let view = sec.show(&id).await.ok()?;
        view["definition"]["difference"].is_array().then_some(view)
    })
    .await?;
    let said = &view["definition"];
    assert_eq!((&said["standing"], &said["seen"]), (&"changed".into(), &definition(BAD).to_string().into()));
    assert_eq!(said["before"], definition(GOOD).to_string());
    let lines = said["difference"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |mark: &str, text: &str| {
        lines.iter().any(|line| line["mark"] == mark && line["text"].as_str().is_some_and(|line| line.contains(text)))
    };
    assert!(has("before", "\"Opens an issue\"") && has("after", "every secret"), "{said}");
    assert_eq!(view["reasons"][0]["rule_id"], "pinned_definition");
    sec.approve(&view).await?;
    assert_eq!(held.answer().await?.json()["result"]["isError"], false);
    assert_eq!(ran(&stack), 2);
    Ok(())
}

#[tokio::test]
async fn call_that_was_approved_before_its_tool_changed_never_runs_on_that_approval() -> anyhow::Result<()> {
    for (pin, rules) in [(String::new(), WAIT), (deny(), WAIT), (ask(), WAIT)] {
        let (stack, tools) = stack(&policy(&pin, rules)).await?;
        let (token, other) = (stack.agent("agent-7")?, stack.agent("agent-8")?);
        let bob = Person::approver(&stack.service, "bob", &["sre", "sec"])?;
        list(&stack, &token).await?;
        let held = tools_call("create_issue", r#"{"title":"x"}"#, &token).begin(stack.port()).await?;
        let view = bob.pending().await?;
        // The rug is pulled while people look, and somebody else's list shows it.
        tools.describe(BAD);
        list(&stack, &other).await?;
        bob.approve(&view).await?;
        if pin == deny() {
            let answer = held.answer().await?;
            assert!(answer.text().contains("in another way than the policy knows"), "{}", answer.text());
        } else {
            let id = view["id"].as_str().unwrap_or_default();
            bob.until_status(id, "superseded").await?;
            let anew = bob.pending().await?;
            let id = anew["id"].as_str().unwrap_or_default();
            // What the gateway saw may reach the service a moment after the call that waits.
            probe::until(&format!("the change is shown {pin}"), probe::PATIENCE, async || {
                (bob.show(id).await.ok()?["definition"]["standing"] == "changed").then_some(())
            })
            .await?;
            bob.deny(&anew, "who wrote that?").await?;
            assert!(held.answer().await?.text().contains("who wrote that?"));
        }
        assert_eq!(ran(&stack), 0, "{pin}");
    }
    Ok(())
}

#[tokio::test]
async fn hints_of_a_server_make_calls_wait_and_never_run() -> anyhow::Result<()> {
    let (stack, tools) = stack(&policy("", WAIT)).await?;
    let token = stack.agent("agent-7")?;
    let runs = async || tools_call("list_issues", "{}", &token).send(stack.port()).await;
    assert_eq!(runs().await?.json()["result"]["isError"], false);
    tools.set(serde_json::json!([{"name": "list_issues", "annotations": {"destructiveHint": true}}]));
    list(&stack, &token).await?;
    let held = tools_call("list_issues", "{}", &token).begin(stack.port()).await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let view = bob.pending().await?;
    assert_eq!(view["target"], "list_issues");
    bob.deny(&view, "no").await?;
    held.answer().await?;
    tools.set(serde_json::json!([{"name": "create_issue", "annotations": {"readOnlyHint": true}}]));
    list(&stack, &token).await?;
    let held = tools_call("create_issue", "{}", &token).begin(stack.port()).await?;
    let view = bob.pending().await?;
    assert_eq!(view["target"], "create_issue", "that it only reads is its own word");
    bob.deny(&view, "no").await?;
    held.answer().await?;
    assert_eq!(ran(&stack), 0);
    Ok(())
}
