//! An agent in Rust that lives well behind hold points: waits for people, obeys limits, and says why a call did not run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Parser;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation, JsonObject,
    ProtocolVersion, RequestMetaObject,
};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

/// Where the gateway says, for programs, what it says in words for models.
const DECISION: &str = "holdpoint.dev/decision";
/// Where a client says what it knows of its own call. Tags only ever tighten: whoever is unsure may say so.
const TAGS: &str = "holdpoint.dev/tags";
const PAUSE: Duration = Duration::from_secs(1);

/// Calls one tool and prints its result, or says on standard error why there is none (exit code 1).
#[derive(Debug, Parser)]
struct Words {
    /// The MCP endpoint behind the gateway
    url: String,
    tool: String,
    /// A JSON object
    arguments: String,
    /// What this client knows of the call
    #[arg(long)]
    tag: Vec<String>,
    /// How long to wait for people and limits
    #[arg(long, default_value_t = 600)]
    patience_s: u64,
    /// Who calls
    #[arg(long, env = "AGENT_TOKEN", hide_env_values = true)]
    token: String,
}

/// How a call ended.
enum Ended {
    Result(CallToolResult),
    /// It did not run, and repeating it changes nothing: the gateway's word, and its reason.
    Refused {
        status: String,
        reason: String,
    },
}

type Client = RunningService<RoleClient, ClientConfig>;

/// Calls a tool. While somebody has to look at the call, or a limit is reached, waits and asks again with the very same
/// call: it is recognised, runs once, and nobody is asked twice.
async fn call(client: &Client, words: &Words, arguments: JsonObject) -> anyhow::Result<Ended> {
    let give_up_at = Instant::now() + Duration::from_secs(words.patience_s);
    let mut asked = CallToolRequestParams::new(words.tool.clone()).with_arguments(arguments);
    if !words.tag.is_empty() {
        let meta = JsonObject::from_iter([(TAGS.to_owned(), json!(words.tag))]);
        asked.meta = Some(RequestMetaObject::from(meta));
    }
    loop {
        let result = client.call_tool(asked.clone()).await?;
        let Some(decision) = result.meta.as_ref().and_then(|meta| meta.0.get(DECISION)) else {
            return Ok(Ended::Result(result));
        };
        if decision["may_repeat"] != true || Instant::now() > give_up_at {
            let texts = result.content.iter().filter_map(|part| part.as_text());
            let reason: Vec<&str> = texts.map(|part| part.text.as_str()).collect();
            let status = decision["status"].as_str().unwrap_or("refused").to_owned();
            return Ok(Ended::Refused { status, reason: reason.join(" ") });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let words = Words::parse();
    let arguments: Value = serde_json::from_str(&words.arguments).context("the arguments are no JSON")?;
    let arguments = arguments.as_object().cloned().context("the arguments are no JSON object")?;
    let config = StreamableHttpClientTransportConfig::with_uri(words.url.as_str()).auth_header(&words.token);
    let agent = ClientConfig::new(ClientCapabilities::default(), Implementation::new("agent", "1.0.0"));
    // One that asks the server for its generation of the protocol comes back by itself while it waits.
    let ask = ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
    let client = agent.serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), ask).await?;
    let ended = call(&client, &words, arguments).await?;
    client.cancel().await?;
    Ok(match ended {
        Ended::Result(result) => {
            println!("{}", serde_json::to_string(&result)?);
            ExitCode::SUCCESS
        }
        Ended::Refused { status, reason } => {
            eprintln!("{status}: {reason}");
            ExitCode::FAILURE
        }
    })
}
