//! The server and the client without anything between them: what the gateway has to leave intact.

use quickstart::mcp_client::{Era, McpClient, text};
use quickstart::mcp_server::McpServer;
use serde_json::json;

async fn check(era: Era) -> anyhow::Result<()> {
    let server = McpServer::start(0).await?;
    let client = McpClient::connect(&server.mcp_url(), Some("a-token"), era).await?;

    let mut tools = client.tools().await?;
    tools.sort();
    assert_eq!(tools, ["close_issue", "create_issue", "delete_project", "get_issue", "list_issues"]);

    let created = client.call("create_issue", json!({"project": "site", "title": "Läuft nicht"})).await?;
    assert_eq!(text(&created), r#"{"number":2,"project":"site","title":"Läuft nicht","open":true}"#);
    client.call("close_issue", json!({"number": 2})).await?;
    let open: Vec<bool> = server.tracker().issues().iter().map(|issue| issue.open).collect();
    assert_eq!(open, [true, false]);

    let missing = client.call("get_issue", json!({"number": 99})).await?;
    assert_eq!(missing.is_error, Some(true));

    let recorded = server.recorder().calls_of("create_issue");
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].headers["authorization"], "Bearer a-token");
    assert!(String::from_utf8_lossy(&recorded[0].body).contains(r#""title":"Läuft nicht""#));
    assert_eq!(server.recorder().call_counts()["close_issue"], 1);
    client.close().await
}

#[tokio::test]
async fn client_of_2025_works_with_the_tracker() -> anyhow::Result<()> {
    check(Era::Legacy).await
}

#[tokio::test]
async fn client_of_2026_works_with_the_tracker() -> anyhow::Result<()> {
    check(Era::Modern).await
}

#[tokio::test]
async fn taken_port_is_named() -> anyhow::Result<()> {
    let first = McpServer::start(0).await?;
    let Err(second) = McpServer::start(first.port()).await else {
        anyhow::bail!("two servers on one port");
    };
    assert!(second.to_string().contains(&first.port().to_string()), "{second}");
    Ok(())
}
