//! `holdpoint notify`: who is told what, whether it arrived, and whether it would.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use super::client::{Client, Server};
use super::{Form, Output};
use crate::http::notices::{NoticePage, TestBody};
use crate::notify::notice::{EVENTS, NoticeState, NoticeView};
use crate::notify::settings::{Channel, NotifySettings};
use crate::text::{time, visible};

/// How long a test is waited for, and how often it is looked at.
const TEST_MAX: Duration = Duration::from_secs(75);
const LOOK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Read a notify file as `serve` would, secrets included, and print who is told what
    #[command(after_help = "Example:
  holdpoint notify check notify.yaml

A notify file:
  channels:
    on-call:
      webhook: {url: https://hooks.example.com/holdpoint, secrets: [{file: /etc/holdpoint/webhook.secret}]}
    sre-chat:
      slack: {channel: C0123456789, token: {env: SLACK_TOKEN}}
  routes:
  - {channels: [sre-chat], groups: [sre]}
  - {channels: [on-call], events: [escalated, broken_glass, freeze]}
  - {channels: [on-call], risk_tags: [prod], servers: ['pay*']}

Events are opened, escalated, broken_glass, decided, expired and freeze; a route without them takes all. A notice goes to \
every channel of every route that takes it, once.")]
    Check {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// List notices, the newest first
    #[command(after_help = "Examples:
  holdpoint notify list --state dead
  holdpoint notify list --approval 019ac3f2b1d87cc0a3e46f1c2ab90d55 --output json")]
    List {
        /// Only those that wait, were delivered, or were given up
        #[arg(long, value_parser = ["waiting", "delivered", "dead"], value_name = "STATE")]
        state: Option<String>,
        /// Only those about this approval
        #[arg(long, value_name = "ID")]
        approval: Option<String>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Send a notice to one channel, and say whether it arrived
    #[command(after_help = "Example:
  holdpoint notify test sre-chat")]
    Test {
        /// Its name in the notify file
        channel: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Try a notice that was given up once more
    #[command(after_help = "Example:
  holdpoint notify retry msg_019ac3f2b1d87cc0a3e46f1c2ab90d55")]
    Retry {
        /// Its id, as `notify list` shows it
        id: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: NotifyCommand) -> anyhow::Result<ExitCode> {
    match command {
        NotifyCommand::Check { file, output } => check(&NotifySettings::load(&file)?, &output),
        NotifyCommand::List { state, approval, server, output } => {
            let query = [("state", state), ("approval", approval)];
            let query = query.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
            let mut path = server.url().clone();
            path.query_pairs_mut().extend_pairs(query);
            let path = format!("/v1/notices?{}", path.query().unwrap_or_default());
            let page: NoticePage = server.client()?.get(&path).await?;
            page.notices.iter().for_each(|notice| print(notice, &output));
        }
        NotifyCommand::Test { channel, server, output } => {
            let client = server.client()?;
            let notice: NoticeView = client.post("/v1/notices:test", &TestBody { channel }).await?;
            let notice = ended(&client, notice).await?;
            print(&notice, &output);
            return Ok(if notice.state == NoticeState::Delivered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        NotifyCommand::Retry { id, server, output } => {
            let notice: NoticeView = server.client()?.post(&format!("/v1/notices/{id}/retry"), &json!({})).await?;
            print(&notice, &output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The notice once its one try is over.
async fn ended(client: &Client, mut notice: NoticeView) -> anyhow::Result<NoticeView> {
    let path = format!("/v1/notices/{}", notice.id);
    let waited = tokio::time::timeout(TEST_MAX, async {
        while notice.state == NoticeState::Waiting {
            tokio::time::sleep(LOOK_EVERY).await;
            notice = client.get(&path).await?;
        }
        anyhow::Ok(notice)
    });
    match waited.await {
        Ok(notice) => notice,
        Err(_) => bail!("the notice is still on its way: look again with `holdpoint notify list`"),
    }
}

fn check(settings: &NotifySettings, output: &Output) {
    for (name, channel) in &settings.channels {
        let (kind, place) = match channel {
            // An address may carry a secret in its path.
            Channel::Webhook(webhook) => ("webhook", webhook.url.host_str().unwrap_or_default().to_owned()),
            Channel::Slack(slack) => ("slack", slack.channel.clone()),
        };
        match output.output {
            Form::Text => println!("channel {}: {kind} {}", visible(name), visible(&place)),
            Form::Json => println!("{}", json!({"channel": name, "kind": kind, "to": place})),
        }
    }
    for route in &settings.routes {
        let events: Vec<&str> =
            EVENTS.iter().filter(|(_, event)| route.events.contains(event)).map(|(word, _)| *word).collect();
        let channels: Vec<&str> = route.channels.iter().map(String::as_str).collect();
        let servers: Vec<&str> = route.servers.iter().map(|glob| glob.as_str()).collect();
        match output.output {
            Form::Json => println!(
                "{}",
                json!({"channels": channels, "events": events, "groups": route.groups, "servers": servers,
                       "tenants": route.tenants, "risk_tags": route.risk_tags})
            ),
            Form::Text => {
                let words =
                    |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
                let narrowed = [
                    ("groups", words(&route.groups)),
                    ("servers", servers.join(", ")),
                    ("tenants", words(&route.tenants)),
                    ("risk", words(&route.risk_tags)),
                ];
                let narrowed: Vec<String> = narrowed
                    .into_iter()
                    .filter(|(_, words)| !words.is_empty())
                    .map(|(name, words)| format!("; {name} {words}"))
                    .collect();
                println!("{} → {}{}", events.join(", "), visible(&channels.join(", ")), visible(&narrowed.concat()));
            }
        }
    }
}

fn print(notice: &NoticeView, output: &Output) {
    if output.output == Form::Json {
        println!("{}", json!(notice));
        return;
    }
    let NoticeView { id, channel, event, approval_id, state, tries, created_at_ms, trouble, .. } = notice;
    let about = approval_id.as_ref().map(|id| format!(" of approval {id}")).unwrap_or_default();
    let tries = match tries {
        0 => String::new(),
        1 => " after 1 try".to_owned(),
        many => format!(" after {many} tries"),
    };
    let trouble = trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let line = format!(
        "{id}  {}  {channel}  {}{about}  {}{tries}{trouble}",
        time(*created_at_ms),
        event.as_str(),
        state.as_str()
    );
    println!("{}", visible(&line));
}
