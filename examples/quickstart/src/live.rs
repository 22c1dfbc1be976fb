//! The record as it grows, one line a happening: what `cargo demo` shows above its prompt. The reading end of step 12.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use holdpoint_tests::approver::Person;

/// How often the record is asked for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const PROMPT: &str = "> ";
/// Methods that use something; the others only prepare it.
const CALLS: [&str; 3] = ["tools/call", "resources/read", "prompts/get"];

/// How a line is marked. The word says it too.
#[derive(Clone, Copy)]
enum Mark {
    Good,
    Bad,
    Wait,
    Soft,
}

/// The place where lines appear, above the prompt if a person sits there.
#[derive(Clone)]
pub(crate) struct Board {
    prompted: bool,
    coloured: bool,
}

impl Board {
    pub(crate) fn new() -> Self {
        let screen = std::io::stdout().is_terminal();
        let coloured = screen && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { prompted: screen && std::io::stdin().is_terminal(), coloured }
    }

    /// Writes a line above the prompt.
    pub(crate) fn line(&self, line: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that has gone ends nothing: the parts that run are still of use.
        let _ = if self.prompted { write!(out, "\r\x1b[K{line}\n{PROMPT}") } else { writeln!(out, "{line}") };
        let _ = out.flush();
    }

    /// Asks for the next command.
    pub(crate) fn prompt(&self) {
        if self.prompted {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[K{PROMPT}");
            let _ = out.flush();
        }
    }

    fn marked(&self, mark: Mark, word: &str) -> String {
        let code = match mark {
            Mark::Good => "32",
            Mark::Bad => "31",
            Mark::Wait => "33",
            Mark::Soft => "2",
        };
        let word = format!("{word:<9}");
        if self.coloured { format!("\x1b[{code}m{word}\x1b[0m") } else { word }
    }
}

/// Shows what the record gets from now on, until the handle is aborted.
pub(crate) fn show(auditor: Person, board: Board) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut next = 0;
        let mut first = true;
        loop {
            let path = if next == 0 {
                "/v1/audit?limit=1000".to_owned()
            } else {
                format!("/v1/audit?limit=1000&after={}", next - 1)
            };
            // The service may be on its way up again; the record waits for us.
            if let Ok(page) = auditor.get(&path).await {
                for numbered in page["entries"].as_array().into_iter().flatten() {
                    next = numbered["seq"].as_u64().map_or(next, |seq| seq + 1);
                    if let Some(line) = line(&numbered["entry"], &board).filter(|_| !first) {
                        board.line(&line);
                    }
                }
                first = false;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
}

/// One entry in a line, if people care for it.
fn line(entry: &Value, board: &Board) -> Option<String> {
    let word = |name: &str| entry[name].as_str().unwrap_or_default();
    let target = if entry["target"].is_string() { word("target") } else { word("method") };
    let rule = entry["rule_ids"][0].as_str().map_or_else(String::new, |rule| format!("rule {rule}"));
    let who = entry["principal"]["subject"].as_str().unwrap_or_default();
    let by = word("by").rsplit(' ').next().unwrap_or_default();
    let (mark, what, text) = match (word("kind"), word("status")) {
        ("decision", _) => match word("verdict") {
            "allow" if !CALLS.contains(&word("method")) => (Mark::Soft, "allowed", format!("{who}: {target}")),
            "allow" => (Mark::Good, "ALLOWED", format!("{who} may run {target}  ({rule})")),
            "require_approval" => (Mark::Wait, "HELD", format!("{who} wants {target}: waits for a person  ({rule})")),
            _ => (Mark::Bad, "DENIED", format!("{who} may not run {target}  ({rule})")),
        },
        ("refusal", _) => (Mark::Bad, "REFUSED", word("detail").to_owned()),
        ("review", "approve") => (Mark::Good, "APPROVED", format!("{by} approved {target}")),
        ("review", _) => (Mark::Bad, "DENIED", format!("{by} denied {target}: {}", word("detail"))),
        ("claim", _) => (Mark::Soft, "claimed", format!("the approval of {target} is used up by this one call")),
        ("outcome", _) => {
            let took = entry["latency_ms"].as_u64().map_or_else(String::new, |ms| format!(" after {ms} ms"));
            (Mark::Soft, "ran", format!("{target}: {}{took}", word("outcome")))
        }
        ("approval_closed", "expired") => (Mark::Bad, "EXPIRED", format!("nobody decided {target}: nothing ran")),
        ("approval_closed", "lapsed") => {
            (Mark::Bad, "LAPSED", format!("the approval of {target} was not used in time"))
        }
        ("approval_closed", "withdrawn") => (Mark::Soft, "withdrawn", format!("{who} did not wait for {target}")),
        ("approval_joined", _) => {
            (Mark::Wait, "again", format!("{who} asks for {target} again, and joins its request"))
        }
        ("freeze_changed", status) => (Mark::Bad, "FREEZE", format!("{status} by {by}: {}", word("detail"))),
        _ => return None,
    };
    Some(format!("  {} {}", board.marked(mark, what), visible(text.trim_end())))
}

/// Names come from callers: nothing in them may move the cursor.
fn visible(text: &str) -> String {
    text.chars().flat_map(|one| if one.is_control() { one.escape_unicode().collect() } else { vec![one] }).collect()
}
