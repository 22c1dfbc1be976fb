//! `holdpoint policy schema`: what editors need to complete and check a policy while it is written. Before step 6.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

#[cfg(test)]
mod tests;

/// All definitions, JSON Schema draft 7: what the YAML extensions of editors read.
const DEFINITIONS: &str = include_str!("schema.json");

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  holdpoint policy schema > policy.schema.json
  # then, as the first line of policy.yaml:
  # yaml-language-server: $schema=policy.schema.json

The schema knows every field, its type, its bounds and what it means; envoy/POLICY.md is made from it. `holdpoint policy check`
finds more: what rules mean together.")]
pub struct SchemaArgs {
    /// Of what
    #[arg(long = "of", value_enum, default_value_t = Of::Policy)]
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// A policy: `version`, `servers`, `rules`
    Policy,
    /// The filter's document: `approval`, `identity`, `policy`
    Filter,
}

pub fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    println!("{:#}", schema(args.of)?);
    Ok(ExitCode::SUCCESS)
}

fn schema(of: Of) -> anyhow::Result<Value> {
    let mut schema: Value = serde_json::from_str(DEFINITIONS)?;
    let (name, title) = match of {
        Of::Policy => ("policy", "Holdpoint policy"),
        Of::Filter => ("filter", "Holdpoint filter document"),
    };
    schema["title"] = json!(title);
    schema["allOf"] = json!([{ "$ref": format!("#/definitions/{name}") }]);
    Ok(schema)
}
