//! Service, MCP server and issuer that a rendered gateway is pointed at, and the story that each of them has to tell.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::envoy::Envoy;
use holdpoint_tests::envoy_config::EnvoyConfig;
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::idp::{AUDIENCE, ISSUER, Idp};
use holdpoint_tests::service::Service;
use holdpoint_tests::upstream::Upstream;
use holdpoint_tests::wasm;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Rig {
    pub(crate) service: Service,
    pub(crate) upstream: Upstream,
    pub(crate) idp: Idp,
    pub(crate) document: FilterDocument,
    pub(crate) dir: TempDir,
}

impl Rig {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let service = Service::start().await?;
        let document = FilterDocument::quickstart(&service.service_key()?)?;
        let rig = Self {
            upstream: Upstream::start().await?,
            idp: Idp::new()?,
            document,
            dir: tempfile::Builder::new().prefix("holdpoint-deploy-").tempdir()?,
            service,
        };
        std::fs::write(rig.file("jwks.json"), rig.idp.jwks())?;
        Ok(rig)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `holdpoint policy render` of the filter document as it stands, with the module that this checkout builds.
    pub(crate) fn render(&self, target: &str, words: &[&str]) -> anyhow::Result<String> {
        let file = self.file("filter.yaml");
        std::fs::write(&file, self.document.text())?;
        let module = wasm::module()?.to_string_lossy().into_owned();
        let mut line = vec!["policy".to_owned(), "render".to_owned(), file.to_string_lossy().into_owned()];
        line.extend(["--target", target, "--module", &module].map(str::to_owned));
        if target != "ecds" {
            let jwks = self.file("jwks.json").to_string_lossy().into_owned();
            let tokens = ["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks-file", &jwks];
            line.extend(tokens.map(str::to_owned));
            let token = self.file("approval-token.yaml").to_string_lossy().into_owned();
            line.extend(["--token-file".to_owned(), token]);
            if !words.contains(&"--service") {
                line.extend(["--service".to_owned(), format!("127.0.0.1:{}", self.service.port())]);
            }
        }
        line.extend(words.iter().map(|word| (*word).to_owned()));
        self.service.cli(&line)
    }

    /// The same snapshot as the file, and no finding but the lint's.
    pub(crate) fn check(&self, rendered: &str) -> anyhow::Result<()> {
        let snapshots = |name: &str| -> anyhow::Result<Vec<Value>> {
            let path = self.file(name).to_string_lossy().into_owned();
            let report = self.service.cli(&["policy", "check", "--format", "json", &path])?;
            let report: Value = serde_json::from_str(&report)?;
            Ok(report["files"][0]["policies"].as_array().context("policies")?.clone())
        };
        std::fs::write(self.file("rendered.yaml"), rendered)?;
        let (file, back) = (snapshots("filter.yaml")?, snapshots("rendered.yaml")?);
        ensure!(file == back && file.len() == 1, "{file:?} became {back:?}");
        Ok(())
    }

    /// The token of the gateway, in the place of the one that `config` names.
    pub(crate) fn with_token(&self, mut config: EnvoyConfig) -> anyhow::Result<EnvoyConfig> {
        config.approval_token(&self.service.token("enforcer", "gateway-1", &[])?);
        Ok(config)
    }

    pub(crate) fn person(&self) -> anyhow::Result<Person> {
        Person::approver(&self.service, "bob", &["sre"])
    }

    /// A call is held, approved, runs once; a read runs; an admin call is refused.
    pub(crate) async fn tells_the_story(&self, envoy: &Envoy, host: &str) -> anyhow::Result<()> {
        let bob = self.person()?;
        let token = self.idp.token("agent-7", &[])?;
        let call = |tool: &str, arguments: &str| tools_call(tool, arguments, &token).header("host", host);
        let read = call("list_issues", "{}").send(envoy.port()).await?;
        ensure!(read.status == 200 && read.json()["result"]["isError"] == false, "{}", read.text());
        let held = call("create_issue", r#"{"title":"first held call"}"#).begin(envoy.port()).await?;
        let view = bob.pending().await?;
        ensure!(self.upstream.count() == 1, "nothing but the read has run");
        bob.approve(&view).await?;
        let answer = held.answer().await?;
        ensure!(answer.json()["result"]["isError"] == false, "{}", answer.text());
        ensure!(self.upstream.count() == 2, "it ran once");
        let refused = call("delete_project", "{}").send(envoy.port()).await?;
        ensure!(refused.text().contains("Projects are not deleted by agents"), "{}", refused.text());
        ensure!(self.upstream.count() == 2, "the admin call did not run");
        let line = envoy.access_log_line(|line| line["verdict"] == "require_approval").await?;
        ensure!(line["approval"] == view["id"], "{line}");
        let held = envoy.prometheus().await?;
        ensure!(held.contains("holdpoint_decisions_total{verdict=\"require_approval\"} 1"), "statistics with labels");
        Ok(())
    }
}
