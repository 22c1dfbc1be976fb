//! `holdpoint approvals`: what waits, what exactly it would do, and the decision.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use holdpoint_core::approval::{ApprovalState, ApprovalStatus};

use super::client::{Client, Server};
use super::{Form, Output, is_terminal};
use crate::approvals::ReviewVerdict;
use crate::approvals::review::ReviewBody;
use crate::approvals::revoke::RevokeBody;
use crate::approvals::view::{ApprovalLine, ApprovalView};
use crate::http::approvals::ApprovalPage;
use crate::store::sql::machine_clock;
use crate::text::{indented, span, time, visible};
use crate::web::history::outcome_words;

/// Digits of an id that may stand for it, at least.
const PREFIX_CHARS_MIN: usize = 4;
const ID_CHARS: usize = 32;

#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// List approvals, newest first
    #[command(after_help = "Examples:
  holdpoint approvals list
  holdpoint approvals list --all --output json")]
    List {
        /// Not only the pending ones
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Watch what waits, live, and decide it by keyboard
    #[command(after_help = "Examples:
  holdpoint approvals watch
  holdpoint approvals watch --output json | jq .approval.sentence

On a terminal: j and k move, enter shows everything, a approves, d denies, q quits; `?` shows all keys. Nothing is \
approved before the whole call was shown. Elsewhere, one line for each thing that happens.")]
    Watch {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Show everything about one: rule, constraints, and the call with all its arguments
    #[command(after_help = "Examples:
  holdpoint approvals show 4f1c
  holdpoint approvals show 4f1c --output json | jq -r .call_text")]
    Show {
        /// Its id, or how it alone begins or ends
        id: String,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Approve a call
    #[command(after_help = "Examples:
  holdpoint approvals show 4f1c
  holdpoint approvals approve 4f1c
  holdpoint approvals approve 4f1c --call-digest sha256:…   # as `show` printed it

On a terminal the whole call is shown and you are asked, unless `--call-digest` or `--yes` says that you have seen it.")]
    Approve {
        /// Its id, or how it alone begins or ends
        id: String,
        /// A word to the record
        #[arg(long)]
        reason: Option<String>,
        /// The digest that `show` printed
        #[arg(long, value_name = "DIGEST")]
        call_digest: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Deny a call; the reason reaches the agent
    #[command(after_help = "Example:
  holdpoint approvals deny 4f1c --reason 'not during the freeze'")]
    Deny {
        /// Its id, or how it alone begins or ends
        id: String,
        /// What the agent is told
        #[arg(long)]
        reason: String,
        /// The digest that `show` printed
        #[arg(long, value_name = "DIGEST")]
        call_digest: Option<String>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
    /// Take back an approval that has not been used
    #[command(after_help = "Example:
  holdpoint approvals revoke 4f1c --reason 'wrong project'")]
    Revoke {
        /// Its id, or how it alone begins or ends
        id: String,
        /// A word to the record
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        output: Output,
    },
}

pub async fn run(command: ApprovalsCommand) -> anyhow::Result<ExitCode> {
    match command {
        ApprovalsCommand::List { all, server, output } => list(&server.client()?, all, output.output).await?,
        ApprovalsCommand::Watch { server, output } => super::watch::run(server.client()?, output.output).await?,
        ApprovalsCommand::Show { id, server, output } => {
            let view = view(&server.client()?, &id).await?;
            match output.output {
                Form::Text => print!("{}", describe(&view)),
                Form::Json => println!("{}", serde_json::to_string(&view)?),
            }
        }
        ApprovalsCommand::Approve { id, reason, call_digest, yes, server, output } => {
            let asks = !yes && call_digest.is_none() && output.output == Form::Text;
            if asks && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
                return ask_and_approve(&server.client()?, &id, reason).await;
            }
            review(&server.client()?, &id, ReviewVerdict::Approve, reason, call_digest, output.output).await?;
        }
        ApprovalsCommand::Deny { id, reason, call_digest, server, output } => {
            review(&server.client()?, &id, ReviewVerdict::Deny, Some(reason), call_digest, output.output).await?;
        }
        ApprovalsCommand::Revoke { id, reason, server, output } => {
            let client = server.client()?;
            let id = resolve(&client, &id).await?;
            let state = client.post(&format!("/v1/approvals/{id}/revoke"), &RevokeBody { reason }).await?;
            print_state(&state, output.output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &Client, all: bool, form: Form) -> anyhow::Result<()> {
    let narrowed = if all { "" } else { "&status=pending" };
    let page: ApprovalPage = client.get(&format!("/v1/approvals?limit=200{narrowed}")).await?;
    match form {
        Form::Json => println!("{}", serde_json::to_string(&page)?),
        Form::Text if page.approvals.is_empty() => println!("nothing waits"),
        Form::Text => {
            let now_ms = machine_clock()();
            for line in &page.approvals {
                println!("{}", describe_line(line, now_ms));
            }
            if page.next_cursor.is_some() {
                println!("… and older ones");
            }
        }
    }
    Ok(())
}

fn describe_line(line: &ApprovalLine, now_ms: u64) -> String {
    let status = coloured(line.state.status);
    let left = match line.state.status {
        ApprovalStatus::Pending => format!(", {} left", span(line.state.expires_at_ms.saturating_sub(now_ms))),
        _ => String::new(),
    };
    format!("{}  {status}  {}  (rule {}{left})", line.state.id, visible(&line.sentence), visible(&line.rule_id))
}

fn coloured(status: ApprovalStatus) -> String {
    let word = format!("{:<10}", status.as_str());
    let colour = match status {
        ApprovalStatus::Pending => "33",
        ApprovalStatus::Approved | ApprovalStatus::Consumed => "32",
        ApprovalStatus::Denied | ApprovalStatus::Revoked => "31",
        ApprovalStatus::Expired | ApprovalStatus::Withdrawn | ApprovalStatus::Superseded | ApprovalStatus::Lapsed => {
            "2"
        }
    };
    if is_terminal() { format!("\u{1b}[{colour}m{word}\u{1b}[0m") } else { word }
}

/// Everything, for a person who is to decide.
fn describe(view: &ApprovalView) -> String {
    let mut lines = vec![visible(&view.sentence), String::new()];
    let mut field = |name: &str, value: &str| lines.push(format!("{name:<12} {value}"));
    field("id", &view.state.id);
    field("status", coloured(view.state.status).trim_end());
    for reason in &view.reasons {
        field("rule", &format!("{}: {}", visible(&reason.rule_id), visible(&reason.text)));
    }
    if let Some(definition) = &view.definition {
        field("definition", definition.standing.sentence());
        for line in definition.changed_lines() {
            field("", &format!("{} {}", line.mark.sign(), visible(&line.text)));
        }
    }
    field("server", &visible(&view.server));
    field("asked by", &visible(&format!("{} {}", view.principal.issuer, view.principal.subject)));
    if let Some(agent) = &view.principal.agent_id {
        field("agent", &visible(agent));
    }
    field("opened", &time(view.opened_at_ms));
    field("until", &time(view.state.expires_at_ms));
    field("runs under", &visible(&view.constraints.to_string()));
    for group in &view.requirement.all_of {
        field("needs", &format!("{} of {}", group.min, visible(&group.group)));
    }
    for group in &view.still_needed {
        field("missing", &format!("{} of {}", group.min, visible(&group.group)));
    }
    for review in &view.reviews {
        let reason = review.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", visible(reason)));
        field(review.verdict.as_str(), &format!("{} at {}{reason}", visible(&review.who()), time(review.at_ms)));
    }
    if let Some(reason) = &view.state.reason {
        field("because", &visible(reason));
    }
    if let Some(outcome) = view.outcome {
        field("outcome", outcome_words(Some(outcome)));
    }
    let waiting = match view.holds_waiting {
        0 => "nobody; an identical call can still use the approval".to_owned(),
        holds => format!("{holds} live call(s)"),
    };
    field("waiting", &waiting);
    let approved = format!("one such call runs within {} of the approval", span(view.requirement.claim_within_ms));
    field("if approved", &approved);
    field("digest", &view.state.call_digest.to_string());
    lines.push(match &view.arguments_withheld {
        Some(withheld) => format!("\nThe call is not shown: {withheld}.\n"),
        None => format!("\nThe call as judged:\n{}\n", indented(&view.call_text)),
    });
    lines.join("\n")
}

/// Shows the whole call, and approves what was shown if the answer is yes.
async fn ask_and_approve(client: &Client, id: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let view = view(client, id).await?;
    print!("{}\nApprove exactly this call, once? [y/N] ", describe(&view));
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        println!("nothing was decided");
        return Ok(ExitCode::FAILURE);
    }
    let call_digest = Some(view.state.call_digest);
    let body = ReviewBody { verdict: ReviewVerdict::Approve, call_digest, reason, scope: None };
    let state = client.post(&format!("/v1/approvals/{}/reviews", view.state.id), &body).await?;
    print_state(&state, Form::Text)?;
    Ok(ExitCode::SUCCESS)
}

async fn review(
    client: &Client,
    id: &str,
    verdict: ReviewVerdict,
    reason: Option<String>,
    seen: Option<String>,
    form: Form,
) -> anyhow::Result<()> {
    let view = view(client, id).await?;
    let call_digest = match seen {
        Some(digest) => digest.parse().map_err(|error| anyhow::anyhow!("`--call-digest`: {error}"))?,
        None => view.state.call_digest,
    };
    let body = ReviewBody { verdict, call_digest: Some(call_digest), reason, scope: None };
    if form == Form::Text {
        println!("{}", visible(&view.sentence));
    }
    let state = client.post(&format!("/v1/approvals/{}/reviews", view.state.id), &body).await?;
    print_state(&state, form)
}

fn print_state(state: &ApprovalState, form: Form) -> anyhow::Result<()> {
    match form {
        Form::Text => println!("{} is {}", state.id, state.status),
        Form::Json => println!("{}", serde_json::to_string(state)?),
    }
    Ok(())
}

async fn view(client: &Client, id: &str) -> anyhow::Result<ApprovalView> {
    let id = resolve(client, id).await?;
    client.get(&format!("/v1/approvals/{id}")).await
}

/// The whole id of the one recent approval that begins or ends so. Ids that are made at one time begin alike, so the
/// end tells them apart sooner.
async fn resolve(client: &Client, id: &str) -> anyhow::Result<String> {
    if !id.chars().all(|character| character.is_ascii_hexdigit()) {
        bail!("`{}` is no id: ids are hex digits, see `holdpoint approvals list`", visible(id));
    }
    if id.len() >= ID_CHARS {
        return Ok(id.to_owned());
    }
    if id.len() < PREFIX_CHARS_MIN {
        bail!("`{id}` is too short: give at least {PREFIX_CHARS_MIN} digits of the id");
    }
    let page: ApprovalPage = client.get("/v1/approvals?limit=200").await?;
    let ids = page.approvals.into_iter().map(|line| line.state.id);
    let mut found: Vec<String> = ids.filter(|full| full.starts_with(id) || full.ends_with(id)).collect();
    match (found.pop(), found.len()) {
        (Some(id), 0) => Ok(id),
        (Some(_), others) => bail!("`{id}` fits {} approvals: give more digits", others + 1),
        (None, _) => bail!("no recent approval begins or ends with `{id}`: see `holdpoint approvals list --all`"),
    }
}
