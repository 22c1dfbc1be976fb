//! A real MCP server and a real MCP client around the gateway, on both generations of the protocol.

use holdpoint_tests::approver::Person;
use holdpoint_tests::stack::Stack;
use quickstart::mcp_client::{Era, McpClient, text};
use quickstart::mcp_server::McpServer;
use serde_json::json;

#[tokio::test]
async fn rmcp_client_reads_is_held_is_denied_and_stays_connected() -> anyhow::Result<()> {
    let server = McpServer::start(0).await?;
    let stack = Stack::builder().upstream_port(server.port()).start().await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    for era in [Era::Legacy, Era::Modern] {
        let client = McpClient::connect(&stack.envoy.mcp_url(), Some(&token), era).await?;
        assert!(client.tools().await?.iter().any(|tool| tool == "create_issue"));
        let read = client.call("get_issue", json!({"number": 1})).await?;
        assert_ne!(read.is_error, Some(true));

        let title = format!("from {era:?}");
        let arguments = json!({"project": "site", "title": title});
        let write = client.call("create_issue", arguments);
        let decide = async { bob.approve(&bob.pending().await?).await };
        let (written, decided) = tokio::join!(write, decide);
        decided?;
        assert_ne!(written?.is_error, Some(true));

        let denied = client.call("delete_project", json!({"project": "site"})).await?;
        assert_eq!(denied.is_error, Some(true));
        assert!(text(&denied).contains("Projects are not deleted by agents"));
        let read = client.call("list_issues", json!({"project": "site"})).await?;
        assert!(text(&read).contains(&title), "{}", text(&read));
        client.close().await?;
    }
    assert_eq!(server.recorder().call_counts()["create_issue"], 2);
    Ok(())
}
