//! Step 8: notices in a Slack channel: a message with a link, changed in place when it is decided; buttons where the
//! settings ask for them.
//!
//! Text of callers stands in `plain_text` and in preformatted blocks only, where Slack obeys nothing. Arguments are sent
//! only where there are buttons: nobody approves what they were not shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Url};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::notice::{EventKind, Notice};
use super::webhook::{Sent, read, trouble};
use crate::approvals::grant::is_destructive;
use crate::store::row::Approval;
use crate::text::{indented, visible};
use holdpoint_core::approval::ApprovalStatus;

pub mod action;

/// Longest call that a message shows whole; a longer one is decided on its page.
const CALL_CHARS_MAX: usize = 2_800;
/// Digits of the digest that a button carries.
pub(super) const DIGEST_CHARS: usize = 16;
pub(super) const APPROVE: &str = "holdpoint-approve";
pub(super) const DENY: &str = "holdpoint-deny";

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// One Slack channel.
#[derive(Clone, Debug)]
pub struct Slack {
    /// Its id, such as `C0123456789`.
    pub channel: String,
    pub token: Token,
    pub api: Url,
    pub allow_private: bool,
    /// Whether people may decide in Slack itself.
    pub buttons: Option<Buttons>,
}

/// Who may decide in Slack, and what not.
#[derive(Clone, Debug)]
pub struct Buttons {
    pub signing_secret: Token,
    /// By the user's id in Slack.
    pub people: BTreeMap<String, SlackPerson>,
    /// Calls with one of these are decided on their page only.
    pub except_risk_tags: BTreeSet<String>,
}

/// Whom a user of Slack stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackPerson {
    pub issuer: String,
    pub subject: String,
    pub groups: BTreeSet<String>,
    pub tenant: Option<String>,
}

/// What Slack calls a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Receipt {
    channel: String,
    ts: String,
}

impl Slack {
    /// Tries once. What ends an approval changes every message that was `posted` about it; where there is none, and for
    /// everything else, a message is posted.
    pub(super) async fn send(
        &self,
        http: &Client,
        notice: &Notice,
        approval: Option<&Approval>,
        posted: &[String],
    ) -> Sent {
        let Ok(body) = serde_json::from_str::<Value>(&notice.body) else {
            return Sent::Failed { why: "the notice cannot be read".to_owned(), retry_after_ms: None, for_good: true };
        };
        let message = self.message(notice.event, &body["data"], approval);
        let posted: Vec<Receipt> = posted.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
        if !notice.event.ends() || posted.is_empty() {
            return self.call(http, "chat.postMessage", &self.channel, None, message).await;
        }
        let mut last = Sent::failed("there was no message to change");
        for Receipt { channel, ts } in posted {
            last = self.call(http, "chat.update", &channel, Some(&ts), message.clone()).await;
            if matches!(last, Sent::Failed { .. }) {
                break;
            }
        }
        last
    }

    async fn call(&self, http: &Client, method: &str, channel: &str, ts: Option<&str>, mut message: Value) -> Sent {
        message["channel"] = json!(channel);
        if let Some(ts) = ts {
            message["ts"] = json!(ts);
        }
        match self.post(http, method, &message).await {
            Err(sent) => sent,
            Ok(answer) => {
                let receipt = Receipt {
                    channel: answer["channel"].as_str().unwrap_or(channel).to_owned(),
                    ts: answer["ts"].as_str().unwrap_or_default().to_owned(),
                };
                let receipt = (!receipt.ts.is_empty()).then(|| serde_json::to_string(&receipt).ok()).flatten();
                Sent::Delivered { receipt }
            }
        }
    }

    /// One call of Slack's API; what it answered, or why it did not.
    async fn post(&self, http: &Client, method: &str, message: &Value) -> Result<Value, Sent> {
        let url = format!("{}/{method}", self.api.as_str().trim_end_matches('/'));
        let request = http
            .post(url)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(AUTHORIZATION, format!("Bearer {}", self.token.text()))
            .body(message.to_string());
        let answer = request.send().await.map_err(|error| Sent::failed(trouble(&error)))?;
        if !answer.status().is_success() {
            return Err(Sent::refused(&answer));
        }
        let bytes = read(answer).await.map_err(Sent::failed)?;
        let answer: Value =
            serde_json::from_slice(&bytes).map_err(|_| Sent::failed("Slack did not answer with JSON"))?;
        if answer["ok"] == true {
            return Ok(answer);
        }
        let error = visible(answer["error"].as_str().unwrap_or("without saying why"));
        Err(Sent::failed(format!("Slack refused `{method}`: {}", error.chars().take(100).collect::<String>())))
    }

    /// Tells one user something that nobody else sees.
    pub async fn whisper(&self, http: &Client, user: &str, text: &str) -> Result<(), String> {
        let message = json!({"channel": self.channel, "user": user, "text": escaped(text)});
        match self.post(http, "chat.postEphemeral", &message).await {
            Ok(_) => Ok(()),
            Err(Sent::Failed { why, .. }) => Err(why),
            Err(Sent::Delivered { .. }) => Ok(()),
        }
    }

    fn message(&self, event: EventKind, data: &Value, approval: Option<&Approval>) -> Value {
        let text = |member: &str| data[member].as_str().map(visible);
        let sentence = text("sentence").unwrap_or_else(|| "Something happened".to_owned());
        let headline = headline(event, data, &sentence);
        let mut blocks = vec![json!({"type": "section", "text": plain(&headline)})];
        let context = context(event, data);
        if !context.is_empty() {
            blocks.push(json!({"type": "context", "elements": [plain(&context.join("  ·  "))]}));
        }
        let mut actions = Vec::new();
        if let Some(url) = data["url"].as_str() {
            actions.push(json!({"type": "button", "text": plain("Open"), "url": url, "action_id": "holdpoint-open"}));
        }
        let asks = matches!(event, EventKind::Opened | EventKind::Escalated);
        if let Some(approval) = approval.filter(|_| asks)
            && let Some(call) = self.decidable(approval)
        {
            let preformatted = json!({"type": "rich_text_preformatted", "elements": [{"type": "text", "text": call}]});
            blocks.push(json!({"type": "rich_text", "elements": [preformatted]}));
            let value = format!("{}:{}", approval.id, digest_prefix(approval));
            let button = |words: &str, style: &str, id: &str| json!({"type": "button", "text": plain(words), "style": style, "action_id": id, "value": value});
            actions.push(button("Approve this call", "primary", APPROVE));
            actions.push(button("Deny", "danger", DENY));
        }
        if !actions.is_empty() {
            blocks.push(json!({"type": "actions", "elements": actions}));
        }
        json!({"text": escaped(&headline), "mrkdwn": false, "unfurl_links": false, "unfurl_media": false,
               "blocks": blocks})
    }

    /// The call as it is shown above the buttons; `None` where it is to be decided on its page.
    fn decidable(&self, approval: &Approval) -> Option<String> {
        let buttons = self.buttons.as_ref()?;
        if !buttons.may_decide(approval) || approval.status != ApprovalStatus::Pending {
            return None;
        }
        let call = indented(&approval.asked.call_text);
        (!call.is_empty() && call.chars().count() <= CALL_CHARS_MAX).then_some(call)
    }
}

impl Buttons {
    /// Whether calls of this kind are decided in Slack at all.
    pub fn may_decide(&self, approval: &Approval) -> bool {
        let tags = &approval.asked.envelope.meta.risk_tags;
        let is_short = indented(&approval.asked.call_text).chars().count() <= CALL_CHARS_MAX;
        is_short && !is_destructive(approval) && !tags.iter().any(|tag| self.except_risk_tags.contains(tag))
    }
}

/// How the digest begins, which a button carries back.
pub(super) fn digest_prefix(approval: &Approval) -> String {
    let digest = approval.asked.call_digest.to_string();
    let hex = digest.split_once(':').map_or(digest.as_str(), |(_, hex)| hex);
    hex.chars().take(DIGEST_CHARS).collect()
}

fn headline(event: EventKind, data: &Value, sentence: &str) -> String {
    match (event, data["status"].as_str()) {
        (EventKind::Opened, _) => format!("Waits for you: {sentence}"),
        (EventKind::Escalated, _) => format!("Nobody decided yet, you may too: {sentence}"),
        (EventKind::BrokenGlass, _) => format!("Glass was broken, one person approved alone: {sentence}"),
        (EventKind::Decided | EventKind::Expired, Some(status)) => {
            let word = match status {
                "approved" => "Approved",
                "denied" => "Denied",
                "revoked" => "Taken back",
                "withdrawn" => "Withdrawn by the caller",
                "superseded" => "Asked anew, because the policy changed",
                "lapsed" => "Approved, and not used in time",
                _ => "Expired",
            };
            format!("{word}: {sentence}")
        }
        (EventKind::Decided | EventKind::Expired | EventKind::Freeze | EventKind::Test, _) => sentence.to_owned(),
    }
}

fn context(event: EventKind, data: &Value) -> Vec<String> {
    let text = |member: &str| data[member].as_str().map(visible);
    let mut parts = Vec::new();
    if event.ends() || event == EventKind::BrokenGlass {
        parts.extend(text("decided_by").map(|by| format!("by {by}")));
    }
    parts.extend(text("reason").map(|reason| format!("“{reason}”")));
    if matches!(event, EventKind::Opened | EventKind::Escalated) {
        let rule = data["rules"][0]["text"].as_str().map(visible);
        parts.extend(rule);
        let groups = data["approvers"].as_array().into_iter().flatten();
        let groups: Vec<String> = groups
            .filter_map(|group| {
                let name = visible(group["group"].as_str()?);
                let name = if name == "*" { "any group".to_owned() } else { name };
                Some(format!("{} from {name}", group["min"]))
            })
            .collect();
        if !groups.is_empty() {
            parts.push(format!("needs {}", groups.join(" and ")));
        }
        parts.extend(data["expires_at_ms"].as_u64().map(|at_ms| format!("until {}", crate::text::time(at_ms))));
    }
    let tags: Vec<String> =
        data["risk_tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(visible)).collect();
    if !tags.is_empty() {
        parts.push(format!("risk: {}", tags.join(", ")));
    }
    parts
}

fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

/// The three characters that begin what Slack obeys.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
