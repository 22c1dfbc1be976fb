//! `toolchain.allowed_tools` and `arguments`: calls outside them never reach the server, and the agent is told which
//! bound they broke.

use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;

use crate::policy::{reached, refusal, stack};

#[tokio::test]
async fn tool_outside_the_allow_list_never_reaches_the_server() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: narrow, match: {actor_ids: [narrow]}, decision: allow_with_constraints, \
         constraints: {toolchain: {allowed_tools: [read_a]}}}",
    )
    .start()
    .await?;
    let (narrow, wide) = (stack.agent("narrow")?, stack.agent("wide")?);
    assert_eq!(refusal(&tools_call("read_a", "{}", &narrow).send(stack.port()).await?), "");
    assert_eq!(refusal(&tools_call("read_b", "{}", &wide).send(stack.port()).await?), "");
    for tool in ["read_b", "READ_A", "read_a2", "write_a"] {
        let said = refusal(&tools_call(tool, "{}", &narrow).send(stack.port()).await?);
        assert!(said.contains("rule `narrow`: only the tools `read_a` may be called"), "{tool}: {said}");
    }
    assert_eq!(reached(&stack), ["read_a", "read_b"]);
    Ok(())
}

#[tokio::test]
async fn argument_outside_its_bound_is_denied_by_name_and_is_never_shown_to_an_approver() -> anyhow::Result<()> {
    let stack = stack(
        "- {id: small, match: {mcp: {allow_tools: [write_pay]}}, decision: allow_with_constraints, reason: Money, \
         constraints: {arguments: {/amount: {lte: 1000}, /memo: {length_lte: 5, optional: true}}}}",
    )
    .start()
    .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    for (arguments, pointer) in [
        (r#"{"amount":1000.01}"#, "/amount"),
        (r#"{"amount":"1"}"#, "/amount"),
        (r#"{"amount":1,"Amount":5000}"#, "/amount"),
        (r#"{"Amount":5000}"#, "/amount"),
        ("{}", "/amount"),
        (r#"{"amount":1,"memo":"too long"}"#, "/memo"),
        (r#"{"amount":1,"memo":["a"]}"#, ""),
    ] {
        let said = refusal(&tools_call("write_pay", arguments, &token).send(stack.port()).await?);
        if pointer.is_empty() {
            continue;
        }
        let expected = format!("rule `small`: argument `{pointer}` is outside its bound");
        assert!(said.contains(&expected) && said.contains("Money"), "{arguments}: {said}");
    }
    assert_eq!(bob.ids("pending").await?.len(), 1, "only a memo of one element is within its bound");
    let held = tools_call("write_pay", r#"{"amount":1000}"#, &token).begin(stack.port()).await?;
    let ids = bob.wait_for("pending", 2).await?;
    let view = bob.show(&ids[0]).await?;
    assert_eq!(view["constraints"]["bounds"][0]["rule_id"], "small", "{view}");
    bob.approve(&view).await?;
    assert_eq!(refusal(&held.answer().await?), "");
    assert_eq!(reached(&stack), ["write_pay"]);
    Ok(())
}
