//! What a server offers, from a kept answer to `tools/list`, against the catalogue. Before step 6.

use std::path::Path;

use anyhow::Context;
use holdpoint_core::envelope::Annotations;
use holdpoint_core::policy::{self, Finding, PolicyDocument};
use holdpoint_core::yaml::Place;
use serde_json::Value;

/// The tools of one server, with what it says of them.
#[derive(Debug)]
pub struct OfferedTools {
    server: String,
    tools: Vec<(String, Annotations)>,
}

impl OfferedTools {
    /// Reads `server=file`: the answer itself, or its `result`.
    pub fn read(assigned: &str) -> anyhow::Result<Self> {
        let (server, file) = assigned.split_once('=').context("--tools: expected SERVER=FILE")?;
        let text = std::fs::read_to_string(Path::new(file)).with_context(|| format!("cannot read `{file}`"))?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("`{file}` is no JSON"))?;
        let result = answer.get("result").unwrap_or(&answer);
        let tools = result["tools"].as_array().with_context(|| format!("`{file}` is no answer to tools/list"))?;
        let read = |tool: &Value| {
            let hint = |name: &str| tool["annotations"][name].as_bool();
            let annotations = Annotations {
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
                open_world: hint("openWorldHint"),
            };
            Some((tool["name"].as_str()?.to_owned(), annotations))
        };
        Ok(Self { server: server.to_owned(), tools: tools.iter().filter_map(read).collect() })
    }

    /// One warning for each tool that the catalogue classes more mildly than its server does.
    pub fn lint(&self, document: &PolicyDocument) -> Vec<Finding> {
        if !document.servers.contains_key(&self.server) {
            let message = format!("tools of `{}` were given, and the catalogue has no such server", self.server);
            let subject = "--tools".to_owned();
            return vec![Finding { lint: "tools-of-no-server", at: Place::START, subject, message }];
        }
        let of_tool = |(tool, says): &(String, Annotations)| policy::annotated(document, &self.server, tool, says);
        self.tools.iter().filter_map(of_tool).collect()
    }
}
