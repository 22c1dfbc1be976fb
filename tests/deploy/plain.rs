//! Plain Envoy: the rendered bootstrap as it is, and its discovery file.

use anyhow::ensure;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::{ports, probe};

use crate::rig::Rig;

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[tokio::test]
async fn rendered_bootstrap_holds_a_call_until_it_is_approved() -> anyhow::Result<()> {
    let rig = Rig::start().await?;
    let server = format!("tracker={}", at(rig.upstream.port()));
    let text = rig.render("envoy", &["--server", &server, "--listen", &at(ports::free()?)])?;
    rig.check(&text)?;
    let config = rig.with_token(EnvoyConfig::rendered(&text)?)?;
    let (content, said) = Envoy::validate(&config)?;
    ensure!(content, "{said}");
    let envoy = Envoy::start(config).await?;
    rig.tells_the_story(&envoy, "localhost").await
}

#[tokio::test]
async fn rendered_discovery_file_changes_the_policy_without_a_restart() -> anyhow::Result<()> {
    let mut rig = Rig::start().await?;
    let (server, file) = (format!("tracker={}", at(rig.upstream.port())), rig.file("holdpoint.yaml"));
    let discovery = file.to_string_lossy().into_owned();
    let text =
        rig.render("envoy", &["--server", &server, "--listen", &at(ports::free()?), "--ecds-file", &discovery])?;
    let filter = rig.render("ecds", &[])?;
    rig.check(&filter)?;
    std::fs::write(&file, &filter)?;
    let envoy = Envoy::start(rig.with_token(EnvoyConfig::rendered(&text)?)?).await?;
    rig.tells_the_story(&envoy, "localhost").await?;

    rig.document.policy = rig.document.policy.replace("decision: allow\n", "decision: deny\n");
    std::fs::write(rig.file("new.yaml"), rig.render("ecds", &[])?)?;
    std::fs::rename(rig.file("new.yaml"), &file)?;
    let token = rig.idp.token("agent-7", &[])?;
    probe::until("reads are denied", probe::PATIENCE, async || {
        let answer = tools_call("list_issues", "{}", &token).send(envoy.port()).await.ok()?;
        answer.text().contains("\"isError\":true").then_some(())
    })
    .await
}

#[tokio::test]
async fn two_servers_behind_one_gateway_are_told_apart_by_host_and_by_path() -> anyhow::Result<()> {
    let mut rig = Rig::start().await?;
    let other = holdpoint_tests::upstream::Upstream::start().await?;
    let catalogue = "servers:\n  notes:\n    match: {route_metadata: notes}\n    tools: {get_issue: {action: admin}}\n";
    rig.document.policy = rig.document.policy.replace("servers:\n", catalogue);
    let (tracker, notes) = (at(rig.upstream.port()), at(other.port()));
    for (route, host) in [("notes=notes.example/", "notes.example"), ("notes=/mcp/notes", "localhost")] {
        let words = [
            "--server",
            &format!("tracker={tracker}"),
            "--server",
            &format!("notes={notes}"),
            "--route",
            "tracker=/",
            "--route",
            route,
            "--listen",
            &at(ports::free()?),
        ];
        let text = rig.render("envoy", &words)?;
        rig.check(&text)?;
        let envoy = Envoy::start(rig.with_token(EnvoyConfig::rendered(&text)?)?).await?;
        let token = rig.idp.token("agent-7", &[])?;
        let before = rig.upstream.count();
        let ours = tools_call("get_issue", "{}", &token).send(envoy.port()).await?;
        ensure!(ours.json()["result"]["isError"] == false, "{}", ours.text());
        let mut theirs = tools_call("get_issue", "{}", &token).header("host", host);
        if host == "localhost" {
            theirs.path = "/mcp/notes".to_owned();
        }
        // Admin on that server, a read on this one.
        let theirs = theirs.send(envoy.port()).await?;
        ensure!(theirs.json()["result"]["isError"] == true, "{}", theirs.text());
        ensure!((rig.upstream.count() - before, other.count()) == (1, 0), "{route}");
    }
    Ok(())
}
