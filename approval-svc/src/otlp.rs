//! Step 12: what a collector of OpenTelemetry is told: log records of entries, and the spans that follow from them.
//!
//! The filter sends nothing to a collector. It says in its entries to which trace a call belongs, and whoever reads the
//! record can tell the spans of a call from them, at once or years later.

use serde_json::{Value, json};

pub mod logs;
pub mod push;
pub mod requests;
pub mod spans;
#[cfg(test)]
mod tests;

/// Whom the collector hears of: each is a resource of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A filter, by the `gateway/boot id` that reported.
    Filter(Option<String>),
    Service,
}

impl Origin {
    /// The resource, as OTLP has it.
    fn resource(&self) -> Value {
        let attributes = match self {
            Self::Filter(source) => {
                let mut attributes = vec![text("service.name", "holdpoint-filter")];
                attributes.extend(source.as_deref().map(|source| text("service.instance.id", source)));
                attributes
            }
            Self::Service => {
                vec![text("service.name", "holdpoint"), text("service.version", env!("CARGO_PKG_VERSION"))]
            }
        };
        json!({ "attributes": attributes })
    }
}

/// A text attribute.
fn text(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

/// A number. OTLP/JSON writes those of 64 bits as texts.
fn number(name: &str, value: u64) -> Value {
    json!({ "key": name, "value": { "intValue": value.to_string() } })
}

/// A point in time, as OTLP/JSON writes it.
fn nanos(at_ms: u64) -> String {
    (u128::from(at_ms) * 1_000_000).to_string()
}

/// Under which attribute the target of a method stands in the conventions for MCP and GenAI.
fn target_name(method: &str) -> &'static str {
    match method {
        "tools/call" => "gen_ai.tool.name",
        "prompts/get" => "gen_ai.prompt.name",
        "resources/read" => "mcp.resource.uri",
        _ => "holdpoint.target",
    }
}
