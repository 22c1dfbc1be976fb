//! How the screen looks at a size and a time. Only what fits is made; what does not fit can be scrolled to.

use holdpoint_core::approval::ApprovalStatus;

use super::{Details, LineState, Screen, Step};
use crate::approvals::view::{ApprovalLine, ApprovalView};
use crate::cli::watch::layout::{Line, Span, Style, fitted, ours, said, wrapped};
use crate::inventory::difference::Mark;
use crate::text::{JsonPart, laid_out, span, time};

/// Columns of the words before a value.
const NAME_COLUMNS: usize = 14;

const HELP: [(&str, &str); 13] = [
    ("j  ↓  k  ↑", "move in the list, scroll in a call"),
    ("g  G  PgUp  PgDn", "to the first, to the last, by pages"),
    ("enter", "show everything about the chosen call"),
    ("a", "approve: shows the whole call and its digest, then asks"),
    ("y", "yes, approve exactly this, once its end was on the screen"),
    ("d", "deny: asks for a reason, which the agent reads"),
    ("esc", "back; leaves a question unanswered"),
    ("r", "read everything anew"),
    ("q  ctrl-c", "quit; nothing is decided by it"),
    ("", ""),
    ("", "A call that nobody decides expires: nothing runs."),
    ("", "Characters that would be hidden are written out as \\u{…}."),
    ("", "Any key closes this."),
];

impl Screen {
    /// The lines of the whole screen, each `columns` wide, and where the cursor stands if there is one.
    pub(in crate::cli::watch) fn draw(
        &mut self,
        columns: usize,
        rows: usize,
        now_ms: u64,
    ) -> (Vec<Line>, Option<(usize, usize)>) {
        let foot_rows = self.foot(columns, rows).len();
        let body_rows = rows.saturating_sub(foot_rows + 2);
        let mut lines = vec![self.head(), rule(columns)];
        let body = if self.help {
            help()
        } else if self.details.is_some() {
            self.details_lines(columns, body_rows, now_ms)
        } else {
            self.list_lines(columns, body_rows, now_ms)
        };
        // Only now is it known whether the end of the call is on the screen, which the question depends on.
        let mut foot = self.foot(columns, rows);
        lines.extend(body.into_iter().take(body_rows));
        lines.resize(rows.saturating_sub(foot.len()), Line::new());
        let typing = self.details.as_ref().is_some_and(|details| matches!(details.step, Step::Denying { .. }));
        lines.append(&mut foot);
        lines.truncate(rows);
        let cursor = typing.then(|| {
            let width: usize = lines.last().map_or(0, fitted_width);
            (width.min(columns.saturating_sub(1)), rows.saturating_sub(1))
        });
        (lines.into_iter().map(|line| fitted(line, columns)).collect(), cursor)
    }

    fn head(&self) -> Line {
        let count = match (self.rows.len(), self.more_wait) {
            (0, _) => "nothing waits".to_owned(),
            (count, true) => format!("{count}+ wait"),
            (1, false) => "1 waits".to_owned(),
            (count, false) => format!("{count} wait"),
        };
        let mut line = ours(" holdpoint", Style::Strong);
        line.extend(ours(format!("  {count}"), if self.rows.is_empty() { Style::Soft } else { Style::Wait }));
        line.extend(ours(format!("  {}  ", self.server), Style::Soft));
        match &self.line {
            LineState::Connecting => line.extend(ours("connecting…", Style::Soft)),
            LineState::Up => line.extend(ours("● live", Style::Yes)),
            LineState::Down(why) => line.extend(said(&format!("○ connection lost: {why}"), Style::No)),
        }
        line
    }

    fn foot(&self, columns: usize, rows: usize) -> Vec<Line> {
        let mut lines = self.whole_foot(columns);
        // Of a very small screen, the question at its end is what matters.
        lines.drain(..lines.len().saturating_sub(rows.saturating_sub(2)));
        lines
    }

    fn whole_foot(&self, columns: usize) -> Vec<Line> {
        let mut lines = vec![rule(columns)];
        if let Some((text, good)) = &self.message {
            let style = if *good { Style::Yes } else { Style::No };
            lines.extend(wrapped(said(&format!(" {text}"), style), columns, 1));
        }
        let keys = match &self.details {
            _ if self.help => " any key: back",
            None => " j/k move · enter details · a approve · d deny · r refresh · ? help · q quit",
            // A question is asked only about what is on the screen.
            Some(details) if details.view.is_none() => " reading … · esc back",
            Some(details) => match &details.step {
                Step::Reading => " j/k scroll · a approve · d deny · esc back · ? help",
                Step::Sent => " sent …",
                Step::Approving => {
                    if let Some(view) = &details.view {
                        let digest = format!(" digest {}", view.state.call_digest);
                        lines.extend(wrapped(ours(digest, Style::Soft), columns, 1));
                    }
                    if details.end_seen {
                        let text = " Approve exactly this call, once?  y yes · n no";
                        lines.push(ours(text, Style::Strong));
                    } else {
                        lines.push(ours(
                            " Scroll to the end of the call (j, space, G), then: y yes · n no",
                            Style::Wait,
                        ));
                    }
                    return lines;
                }
                Step::Denying { reason } => {
                    lines.push(ours(" Why not? The agent reads it. enter sends · esc leaves it", Style::Strong));
                    // The end of a long reason is where it is written.
                    let room = columns.saturating_sub(4);
                    let from = reason.chars().count().saturating_sub(room);
                    let tail: String = reason.chars().skip(from).collect();
                    let mut line = ours(" > ", Style::Strong);
                    line.extend(said(&tail, Style::Plain));
                    lines.push(line);
                    return lines;
                }
            },
        };
        lines.push(ours(keys, Style::Soft));
        lines
    }

    fn list_lines(&mut self, columns: usize, rows: usize, now_ms: u64) -> Vec<Line> {
        if self.rows.is_empty() && self.recent.is_empty() {
            let text = match self.line {
                LineState::Connecting => "",
                _ => " Nothing waits for a decision. A call that a policy holds appears here by itself.",
            };
            return vec![Line::new(), ours(text, Style::Soft)];
        }
        let recent_rows = if self.recent.is_empty() { 0 } else { (self.recent.len() + 2).min(rows / 2) };
        let list_rows = rows.saturating_sub(recent_rows).max(1);
        let chosen = self.place();
        self.top = self.top.min(chosen).max((chosen + 1).saturating_sub(list_rows));
        let mut lines: Vec<Line> = Vec::new();
        for (at, row) in self.rows.iter().enumerate().skip(self.top).take(list_rows) {
            let (before, style) = if at == chosen { (" ▸ ", Style::Chosen) } else { ("   ", Style::Plain) };
            let mut line = ours(before, style);
            line.extend(ours(format!("{:<13}", left(row.state.expires_at_ms, now_ms)), pick(style, Style::Wait)));
            line.extend(said(&row.sentence, style));
            line.extend(said(&format!("  {}", row.rule_id), pick(style, Style::Soft)));
            lines.push(fitted(line, columns));
        }
        if self.rows.is_empty() {
            lines.push(ours("   nothing waits", Style::Soft));
        }
        if recent_rows > 2 {
            lines.push(Line::new());
            lines.push(ours(" Left this list", Style::Soft));
            lines.extend(self.recent.iter().take(recent_rows - 2).map(|(line, status)| recent(line, status)));
        }
        lines
    }

    fn details_lines(&mut self, columns: usize, rows: usize, now_ms: u64) -> Vec<Line> {
        let Some(details) = &mut self.details else { return Vec::new() };
        let Some(view) = &details.view else { return vec![Line::new(), ours(" reading …", Style::Soft)] };
        let (lines, call_end) = describe(view, columns, now_ms);
        details.show(lines, call_end, rows)
    }
}

impl Details {
    /// The part of the lines that is on the screen.
    fn show(&mut self, mut lines: Vec<Line>, call_end: usize, rows: usize) -> Vec<Line> {
        let last = lines.len().saturating_sub(rows);
        self.scroll = self.scroll.min(last);
        let mut shown: Vec<Line> = lines.drain(self.scroll..).take(rows).collect();
        let below = last - self.scroll;
        if below > 0
            && let Some(line) = shown.last_mut()
        {
            *line = ours(format!(" ▾ {} more lines", below + 1), Style::Wait);
        }
        // The line that says how much is below stands in the place of one.
        let shown_to = (self.scroll + shown.len()).saturating_sub(usize::from(below > 0));
        self.end_seen |= shown_to >= call_end;
        shown
    }
}

/// Everything about one approval, and the number of the line after the call's last one.
fn describe(view: &ApprovalView, columns: usize, now_ms: u64) -> (Vec<Line>, usize) {
    let mut lines = vec![Line::new()];
    lines.extend(wrapped(said(&format!(" {}", view.sentence), Style::Strong), columns, 1));
    lines.push(Line::new());
    let mut field = |name: &str, value: Line| {
        let mut line = ours(format!(" {name:<width$}", width = NAME_COLUMNS - 1), Style::Soft);
        line.extend(value);
        lines.extend(wrapped(line, columns, NAME_COLUMNS));
    };
    let status = view.state.status;
    let mut standing = ours(status.as_str(), status_style(status.as_str()));
    if status == ApprovalStatus::Pending {
        let text = format!("  {} · until {}", left(view.state.expires_at_ms, now_ms), time(view.state.expires_at_ms));
        standing.extend(ours(text, Style::Wait));
    }
    field("status", standing);
    for reason in &view.reasons {
        field("held by", said(&format!("{}: {}", reason.rule_id, reason.text), Style::Plain));
    }
    let risk: Vec<&str> = view.envelope.meta.risk_tags.iter().map(String::as_str).collect();
    if !risk.is_empty() {
        field("risk", said(&risk.join(", "), Style::No));
    }
    if let Some(definition) = &view.definition {
        let style = if definition.is_warning() { Style::No } else { Style::Plain };
        field("definition", ours(definition.standing.sentence(), style));
        for line in definition.changed_lines() {
            let style = if line.mark == Mark::After { Style::Yes } else { Style::No };
            field("", said(&format!("{} {}", line.mark.sign(), line.text), style));
        }
    }
    field("asked by", said(&format!("{} {}", view.principal.issuer, view.principal.subject), Style::Plain));
    if let Some(agent) = &view.principal.agent_id {
        field("agent", said(agent, Style::Plain));
    }
    for need in &view.requirement.all_of {
        let missing = view.still_needed.iter().find(|missing| missing.group == need.group).map_or(0, |group| group.min);
        let text = format!("{} of {} from {}", need.min.saturating_sub(missing), need.min, need.group);
        field("approvals", said(&text, if missing == 0 { Style::Yes } else { Style::Plain }));
    }
    for review in &view.reviews {
        let reason = review.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        field(
            review.verdict.as_str(),
            said(&format!("{} at {}{reason}", review.who(), time(review.at_ms)), Style::Plain),
        );
    }
    let waiting = match view.holds_waiting {
        0 => "nobody just now: an approval is kept for an identical call".to_owned(),
        1 => "one live call".to_owned(),
        holds => format!("{holds} live calls, of which one will run"),
    };
    field("waiting", ours(waiting, Style::Plain));
    let within = span(view.requirement.claim_within_ms);
    field(
        "if approved",
        said(&format!("exactly this call runs, once, within {within}: {}", view.constraints), Style::Plain),
    );
    field("if denied", ours("nothing runs; the agent is told your reason", Style::Plain));
    field("if neither", ours("it expires and nothing runs", Style::Plain));
    lines.push(Line::new());
    lines.push(ours(" The call, exactly as it would run:", Style::Soft));
    lines.push(Line::new());
    match &view.arguments_withheld {
        Some(why) => lines.extend(wrapped(said(&format!("   not shown: {why}"), Style::No), columns, 5)),
        None => lines.extend(call_lines(&view.call_text, columns)),
    }
    let call_end = lines.len();
    lines.push(Line::new());
    lines.extend(wrapped(ours(format!(" digest {}", view.state.call_digest), Style::Soft), columns, 1));
    (lines, call_end)
}

fn call_lines(call_text: &str, columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut now = ours("   ", Style::Plain);
    for part in laid_out(call_text) {
        match part {
            JsonPart::Layout(text) => {
                for (at, piece) in text.split('\n').enumerate() {
                    if at > 0 {
                        let done = std::mem::replace(&mut now, ours("   ", Style::Plain));
                        lines.extend(wrapped(done, columns, 5));
                    }
                    now.push(Span { text: piece.to_owned(), style: Style::Plain });
                }
            }
            JsonPart::Name(text) => now.extend(said(text, Style::Soft)),
            JsonPart::Text(text) => now.extend(said(text, Style::Strong)),
        }
    }
    lines.extend(wrapped(now, columns, 5));
    lines
}

fn recent(line: &ApprovalLine, status: &str) -> Line {
    let mut shown = said(&format!("   {status:<12}"), status_style(status));
    shown.extend(said(&line.sentence, Style::Soft));
    shown
}

fn status_style(status: &str) -> Style {
    match status {
        "pending" => Style::Wait,
        "approved" | "consumed" => Style::Yes,
        "denied" | "revoked" => Style::No,
        _ => Style::Soft,
    }
}

/// The chosen row is of one style throughout.
fn pick(row: Style, part: Style) -> Style {
    if row == Style::Chosen { row } else { part }
}

fn left(until_ms: u64, now_ms: u64) -> String {
    match until_ms.checked_sub(now_ms) {
        Some(ms) if ms >= 1_000 => format!("{} left", span(ms)),
        _ => "time is up".to_owned(),
    }
}

fn rule(columns: usize) -> Line {
    ours("─".repeat(columns), Style::Soft)
}

fn help() -> Vec<Line> {
    let lines = HELP.iter().map(|(keys, meaning)| {
        let mut line = ours(format!("   {keys:<18}"), Style::Strong);
        line.extend(ours(*meaning, Style::Plain));
        line
    });
    std::iter::once(Line::new()).chain(lines).collect()
}

fn fitted_width(line: &Line) -> usize {
    use unicode_width::UnicodeWidthStr;
    line.iter().map(|span| span.text.width()).sum()
}
