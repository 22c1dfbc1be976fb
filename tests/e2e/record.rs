//! Every judged call leaves entries; the chain of a held one is whole; the command line decides and verifies.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::stack::Stack;
use serde_json::Value;

fn kinds_of<'a>(record: &'a [Value], approval_id: &Value) -> Vec<&'a str> {
    record
        .iter()
        .filter(|entry| entry["approval_id"] == *approval_id)
        .filter_map(|entry| entry["kind"].as_str())
        .collect()
}

#[tokio::test]
async fn approval_on_the_command_line_leaves_a_whole_and_verifiable_chain() -> anyhow::Result<()> {
    let stack = Stack::builder().start().await?;
    let token = stack.agent("agent-7")?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let held = tools_call("create_issue", r#"{"title":"\u202egnp.exe"}"#, &token).begin(stack.port()).await?;
    let id = bob.pending().await?["id"].as_str().expect("id").to_owned();

    let secret = stack.service.token("approver", "carol", &["sre"])?;
    let url = stack.service.url("");
    let holdpoint = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--server", &url, "--token", &secret]);
        stack.service.cli(&all)
    };
    assert!(holdpoint(&["approvals", "list"])?.contains(&id));
    let shown = holdpoint(&["approvals", "show", &id])?;
    assert!(shown.contains("writes-wait") && shown.contains("create_issue"), "{shown}");
    assert!(!shown.contains('\u{202e}'), "hidden characters are shown, not obeyed");
    holdpoint(&["approvals", "approve", &id])?;
    assert_eq!(held.answer().await?.json()["result"]["isError"], false);

    tools_call("list_issues", "{}", &token).send(stack.port()).await?;
    tools_call("delete_project", "{}", &token).send(stack.port()).await?;
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the outcome", |entry| entry["kind"] == "outcome").await?;
    auditor.entry("the read", |entry| entry["kind"] == "decision" && entry["verdict"] == "allow").await?;
    auditor.entry("the denial", |entry| entry["kind"] == "decision" && entry["verdict"] == "deny").await?;
    let record = auditor.record().await?;
    let kinds = kinds_of(&record, &Value::String(id));
    let at = |kind: &str| kinds.iter().position(|one| *one == kind).unwrap_or_else(|| panic!("{kind} in {kinds:?}"));
    assert!(
        at("approval_opened") < at("review") && at("review") < at("claim") && at("claim") < at("outcome"),
        "{kinds:?}"
    );
    let outcome = record.iter().find(|entry| entry["kind"] == "outcome").expect("the outcome");
    assert_eq!(outcome["outcome"], "committed");

    let data_dir = stack.service.data_dir();
    let verified =
        stack.service.cli(&["audit".as_ref(), "verify".as_ref(), "--data-dir".as_ref(), data_dir.as_os_str()])?;
    assert!(!verified.is_empty());
    Ok(())
}

#[tokio::test]
async fn arguments_never_reach_the_log_of_record_or_envoys_log() -> anyhow::Result<()> {
    let stack = Stack::builder().hold_ms_max(500).start().await?;
    let token = stack.agent("agent-7")?;
    for tool in ["create_issue", "delete_project", "list_issues"] {
        tools_call(tool, r#"{"title":"marker-7f3a"}"#, &token).send(stack.port()).await?;
    }
    let auditor = Person::auditor(&stack.service)?;
    auditor.entry("the read", |entry| entry["verdict"] == "allow").await?;
    assert!(!Value::from(auditor.record().await?).to_string().contains("marker-7f3a"));
    assert!(!stack.envoy.log().contains("marker-7f3a"));
    assert!(!stack.envoy.admin_text("/config_dump").await?.contains("hp_enforcer_"), "the service token stays out");
    Ok(())
}
