//! `holdpoint approvals watch`: what waits, live. On a terminal a list to decide from; elsewhere one line an event.
//!
//! `feed` brings what happens, `screen` is what a person sees and does as a state machine without a terminal, `layout`
//! fits text into columns, `terminal` is the only file that knows the terminal, `plain` serves everything else.

use std::io::IsTerminal;

use super::Form;
use super::client::Client;
use crate::approvals::view::ApprovalLine;
use crate::http::approvals::ApprovalPage;

mod feed;
mod layout;
mod plain;
mod screen;
mod terminal;

/// Approvals shown at most; a page of the API.
const ROWS_MAX: usize = 200;

/// Watches until the person quits, the reader goes, or the service refuses the token.
pub async fn run(client: Client, form: Form) -> anyhow::Result<()> {
    let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    let person = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !dumb;
    if form == Form::Text && person { terminal::run(client).await } else { plain::run(client, form).await }
}

/// What waits, newest first, and whether there is more than that.
async fn waiting(client: &Client) -> anyhow::Result<(Vec<ApprovalLine>, bool)> {
    let page: ApprovalPage = client.get(&format!("/v1/approvals?status=pending&limit={ROWS_MAX}")).await?;
    Ok((page.approvals, page.next_cursor.is_some()))
}
