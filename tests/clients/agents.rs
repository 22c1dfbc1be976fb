//! Other people's MCP clients, each as it comes, through Envoy and the filter to a real MCP server.

use quickstart::mcp_client::{Era, McpClient};

use crate::scripts::Script;
use crate::story::Stage;

/// With a handshake and a session.
const LEGACY: &str = "2025-11-25";
/// Every message for itself.
const MODERN: &str = "2026-07-28";

async fn check(script: Script, version: &str) -> anyhow::Result<()> {
    let stage = Stage::set().await?;
    let Some(mut client) = script.connect(&stage.url(), Some(&stage.token()?)).await? else {
        return Ok(());
    };
    assert!([version, ""].contains(&client.version()), "the client speaks `{}`", client.version());
    stage.play(&mut client, version == MODERN).await?;
    assert_eq!(stage.versions_of_calls(), [version]);
    Ok(())
}

#[tokio::test]
async fn python_sdk_1_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::PythonV1, LEGACY).await
}

#[tokio::test]
async fn python_sdk_2_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::PythonV2, MODERN).await
}

#[tokio::test]
async fn fastmcp_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::FastMcp, MODERN).await
}

#[tokio::test]
async fn typescript_sdk_1_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::TypeScriptV1, LEGACY).await
}

#[tokio::test]
async fn typescript_sdk_2_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::TypeScriptV2, LEGACY).await
}

#[tokio::test]
async fn typescript_sdk_2_that_negotiates_sees_the_whole_story() -> anyhow::Result<()> {
    check(Script::TypeScriptV2Auto, MODERN).await
}

#[tokio::test]
async fn rmcp_sees_the_whole_story_in_both_generations() -> anyhow::Result<()> {
    for (era, version) in [(Era::Legacy, LEGACY), (Era::Modern, MODERN)] {
        let stage = Stage::set().await?;
        let mut client = McpClient::connect(&stage.url(), Some(&stage.token()?), era).await?;
        stage.play(&mut client, version == MODERN).await?;
        client.close().await?;
        assert_eq!(stage.versions_of_calls(), [version]);
    }
    Ok(())
}
