//! Watching without a terminal: one line for each thing that happens, as text or as one JSON object.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::feed::{self, Happening, News};
use super::waiting;
use crate::approvals::view::{ApprovalLine, ApprovalView};
use crate::cli::Form;
use crate::cli::client::Client;
use crate::text::{time, visible};

/// Approvals whose sentence is remembered, so that what happens to them needs no further question.
const KNOWN_MAX: usize = 1_000;

pub(super) async fn run(client: Client, form: Form) -> anyhow::Result<()> {
    // A wrong address or token is an error at once, not a connection to wait for.
    let (first, _) = waiting(&client).await?;
    let mut lines = Lines { form, known: Known::default() };
    for line in first.into_iter().rev() {
        lines.waits(line);
    }
    let mut news = feed::follow(client.clone());
    while let Some(news) = news.recv().await {
        match news {
            News::Up | News::Reload => {
                // What was opened while nobody listened is not told again by the stream.
                for line in waiting(&client).await.map(|(rows, _)| rows).unwrap_or_default().into_iter().rev() {
                    if !lines.known.lines.contains_key(&line.state.id) {
                        lines.waits(line);
                    }
                }
            }
            News::Happened(happening) => {
                let id = &happening.approval_id;
                if !lines.known.lines.contains_key(id)
                    && let Ok(view) = client.get::<ApprovalView>(&format!("/v1/approvals/{id}")).await
                {
                    lines.known.add(line_of(view));
                }
                lines.happened(&happening);
            }
            News::Down { why, again_in } => {
                eprintln!("holdpoint: connection lost ({why}); again in {:.1} s", again_in.as_secs_f64());
            }
            News::Refused(why) => anyhow::bail!("{why}"),
        }
    }
    Ok(())
}

/// A line of a list out of everything.
pub(super) fn line_of(view: ApprovalView) -> ApprovalLine {
    let rule_id = view.reasons.first().map_or_else(String::new, |reason| reason.rule_id.clone());
    ApprovalLine {
        state: view.state,
        sentence: view.sentence,
        server: view.server,
        rule_id,
        opened_at_ms: view.opened_at_ms,
    }
}

/// The approvals seen lately.
#[derive(Default)]
struct Known {
    lines: BTreeMap<String, ApprovalLine>,
    order: VecDeque<String>,
}

impl Known {
    fn add(&mut self, line: ApprovalLine) {
        let id = line.state.id.clone();
        if self.lines.insert(id.clone(), line).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > KNOWN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.lines.remove(&oldest);
            }
        }
    }
}

struct Lines {
    form: Form,
    known: Known,
}

impl Lines {
    /// Tells what waited before anything happened.
    fn waits(&mut self, line: ApprovalLine) {
        match self.form {
            Form::Json => println!("{}", json!({ "event": "waiting", "approval": line })),
            Form::Text => {
                let id = &line.state.id;
                println!("{}  {:<9} {id}  {}", time(line.opened_at_ms), "waiting", visible(&line.sentence));
            }
        }
        self.known.add(line);
    }

    fn happened(&self, happening: &Happening) {
        let line = self.known.lines.get(&happening.approval_id);
        match self.form {
            Form::Json => {
                let approval = line.map_or_else(|| json!({ "id": happening.approval_id }), shown);
                let status = &happening.status;
                println!(
                    "{}",
                    json!({ "event": happening.kind, "seq": happening.seq, "status": status, "approval": approval })
                );
            }
            Form::Text => {
                let word = word(happening);
                let sentence = line.map_or_else(String::new, |line| visible(&line.sentence));
                println!("{}  {word:<9} {}  {sentence}", time(now_ms()), happening.approval_id);
            }
        }
    }
}

/// A line as it was when it was read: its status and version are those of then, so they are left out.
fn shown(line: &ApprovalLine) -> Value {
    json!({
        "id": line.state.id, "sentence": line.sentence, "server": line.server, "rule_id": line.rule_id,
        "call_digest": line.state.call_digest, "opened_at_ms": line.opened_at_ms,
    })
}

/// What happened, in a word or two.
pub(super) fn word(happening: &Happening) -> String {
    match (happening.kind.as_str(), happening.status.as_deref()) {
        ("approval_opened", _) => "opened".to_owned(),
        ("approval_joined", _) => "joined".to_owned(),
        ("claim", _) => "runs".to_owned(),
        ("outcome", _) => "ran".to_owned(),
        ("hold_ended", _) => "left".to_owned(),
        (_, Some(status)) => visible(status),
        (kind, None) => visible(kind),
    }
}

pub(super) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
