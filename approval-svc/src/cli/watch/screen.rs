//! What a person who watches sees, and what their keys do: a state machine without a terminal, clock or network.
//!
//! `handle` takes one input and tells what is to be done outside; `draw` shows the state. Nothing is approved before
//! `draw` has shown the end of the call: what was approved is what was on the screen.

use holdpoint_core::approval::{ApprovalState, ApprovalStatus};
use holdpoint_core::digest::Digest;

use super::feed::{Happening, News};
use crate::approvals::ReviewVerdict;
use crate::approvals::view::{ApprovalLine, ApprovalView};

mod draw;

#[cfg(test)]
mod tests;

/// What became of approvals that were on the list, kept at most.
const RECENT_MAX: usize = 8;
/// Longest reason that can be typed; the service keeps no more.
const REASON_CHARS_MAX: usize = 1_000;

/// A key, or what else comes from outside.
#[derive(Debug)]
pub(super) enum Input {
    Key(Key),
    /// Text that was pasted.
    Pasted(String),
    News(News),
    Listed(Result<(Vec<ApprovalLine>, bool), String>),
    Shown(Box<Result<ApprovalView, String>>),
    Reviewed(Result<ApprovalState, String>),
}

/// The keys that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Character(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-U: away with what was typed.
    Clear,
    /// Ctrl-C.
    Interrupt,
}

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    List,
    Show { id: String },
    Review { id: String, verdict: ReviewVerdict, call_digest: Digest, reason: Option<String> },
    Quit,
}

/// Everything on the screen.
pub(super) struct Screen {
    server: String,
    rows: Vec<ApprovalLine>,
    more_wait: bool,
    /// Approvals that left the list, the last one first, and what became of them.
    recent: Vec<(ApprovalLine, String)>,
    /// What was last heard of approvals that are on the list.
    heard: Vec<(String, String)>,
    chosen: Option<String>,
    /// The first row that is shown.
    top: usize,
    details: Option<Details>,
    help: bool,
    line: LineState,
    /// What the person has to know: the result of what they did, or why it was not done.
    message: Option<(String, bool)>,
    /// A list is on its way, and whether another one is wanted after it.
    listing: bool,
    stale: bool,
}

/// How the connection stands.
#[derive(Debug, PartialEq, Eq)]
enum LineState {
    Connecting,
    Up,
    Down(String),
}

/// One approval, opened.
struct Details {
    id: String,
    /// Absent until it was read.
    view: Option<Box<ApprovalView>>,
    scroll: usize,
    /// The end of the call has been on the screen.
    end_seen: bool,
    step: Step,
}

/// Where the person stands with the opened approval.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Reading,
    /// Asked to approve; has yet to say yes.
    Approving,
    /// Writes why not.
    Denying {
        reason: String,
    },
    /// The answer of the service is awaited.
    Sent,
}

impl Screen {
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            rows: Vec::new(),
            more_wait: false,
            recent: Vec::new(),
            heard: Vec::new(),
            chosen: None,
            top: 0,
            details: None,
            help: false,
            line: LineState::Connecting,
            message: None,
            listing: false,
            stale: false,
        }
    }

    /// Takes one input; tells what is to be done.
    pub(super) fn handle(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Key(Key::Interrupt) => vec![Effect::Quit],
            Input::Key(key) => self.key(key),
            Input::Pasted(text) => {
                // A line break in what was pasted is no Enter.
                for character in text.chars() {
                    self.type_in(if character.is_whitespace() { ' ' } else { character });
                }
                Vec::new()
            }
            Input::News(news) => self.news(news),
            Input::Listed(listed) => self.listed(listed),
            Input::Shown(shown) => {
                self.shown(*shown);
                Vec::new()
            }
            Input::Reviewed(reviewed) => self.reviewed(reviewed),
        }
    }

    fn news(&mut self, news: News) -> Vec<Effect> {
        match news {
            News::Up => {
                self.line = LineState::Up;
                self.read_anew()
            }
            News::Reload => self.read_anew(),
            News::Happened(happening) => self.happened(happening),
            News::Down { why, again_in } => {
                self.line = LineState::Down(format!("{why}; again in {:.1} s", again_in.as_secs_f64()));
                Vec::new()
            }
            News::Refused(why) => {
                self.line = LineState::Down(why.clone());
                self.message = Some((why, false));
                Vec::new()
            }
        }
    }

    fn happened(&mut self, happening: Happening) -> Vec<Effect> {
        let Happening { approval_id: id, kind, status, .. } = happening;
        let mut effects = self.list();
        if self.details.as_ref().is_some_and(|details| details.id == id) {
            effects.push(Effect::Show { id: id.clone() });
        }
        if let Some(status) = status.filter(|_| kind == "approval_closed") {
            self.heard.retain(|(other, _)| *other != id);
            self.heard.push((id, status));
        }
        effects
    }

    fn read_anew(&mut self) -> Vec<Effect> {
        let mut effects = self.list();
        if let Some(details) = &self.details {
            effects.push(Effect::Show { id: details.id.clone() });
        }
        effects
    }

    /// Asks for the list; while one is on its way, once more after it, however often that is wanted.
    fn list(&mut self) -> Vec<Effect> {
        if self.listing {
            self.stale = true;
            return Vec::new();
        }
        self.listing = true;
        vec![Effect::List]
    }

    fn listed(&mut self, listed: Result<(Vec<ApprovalLine>, bool), String>) -> Vec<Effect> {
        self.listing = false;
        match listed {
            Err(why) => self.message = Some((why, false)),
            Ok((rows, more_wait)) => {
                let place = self.place();
                let gone: Vec<ApprovalLine> = std::mem::take(&mut self.rows)
                    .into_iter()
                    .filter(|old| rows.iter().all(|row| row.state.id != old.state.id))
                    .collect();
                for line in gone {
                    let heard = self.heard.iter().position(|(id, _)| *id == line.state.id);
                    // Below the end of a list that is cut, an approval may go on waiting.
                    let Some(at) = heard else { continue };
                    let (_, status) = self.heard.remove(at);
                    self.recent.insert(0, (line, status));
                }
                self.recent.truncate(RECENT_MAX);
                self.heard.retain(|(id, _)| rows.iter().any(|row| row.state.id == *id));
                self.rows = rows;
                self.more_wait = more_wait;
                if self.row_of_chosen().is_none() {
                    let at = place.min(self.rows.len().saturating_sub(1));
                    self.chosen = self.rows.get(at).map(|row| row.state.id.clone());
                }
            }
        }
        if std::mem::take(&mut self.stale) { self.list() } else { Vec::new() }
    }

    fn shown(&mut self, shown: Result<ApprovalView, String>) {
        match shown {
            Err(why) => {
                self.message = Some((why, false));
                self.details = self.details.take().filter(|details| details.view.is_some());
            }
            Ok(view) => {
                let Some(details) = self.details.as_mut().filter(|details| details.id == view.state.id) else { return };
                let status = view.state.status;
                if status != ApprovalStatus::Pending && details.step != Step::Reading {
                    if details.step != Step::Sent {
                        self.message = Some((format!("nothing was sent: by now it is {status}"), false));
                    }
                    details.step = Step::Reading;
                }
                details.view = Some(Box::new(view));
            }
        }
    }

    fn reviewed(&mut self, reviewed: Result<ApprovalState, String>) -> Vec<Effect> {
        match reviewed {
            Ok(state) => {
                let said = match state.status {
                    ApprovalStatus::Pending => "your approval counts; others have yet to approve".to_owned(),
                    status => format!("{} is {status}", state.id),
                };
                self.message = Some((said, true));
                self.details = None;
            }
            Err(why) => {
                self.message = Some((format!("not done: {why}"), false));
                if let Some(details) = &mut self.details {
                    details.step = Step::Reading;
                }
            }
        }
        self.read_anew()
    }

    fn key(&mut self, key: Key) -> Vec<Effect> {
        if self.help {
            self.help = false;
            return Vec::new();
        }
        let typing = self.details.as_ref().is_some_and(|details| matches!(details.step, Step::Denying { .. }));
        if key == Key::Character('?') && !typing {
            self.help = true;
            return Vec::new();
        }
        if self.details.is_some() { self.key_in_details(key) } else { self.key_in_list(key) }
    }

    fn key_in_list(&mut self, key: Key) -> Vec<Effect> {
        self.message = None;
        match key {
            Key::Character('q') => return vec![Effect::Quit],
            Key::Character('r') => return self.list(),
            Key::Character('j') | Key::Down => self.choose(self.place() + 1),
            Key::Character('k') | Key::Up => self.choose(self.place().saturating_sub(1)),
            Key::PageDown => self.choose(self.place() + 10),
            Key::PageUp => self.choose(self.place().saturating_sub(10)),
            Key::Home | Key::Character('g') => self.choose(0),
            Key::End | Key::Character('G') => self.choose(usize::MAX),
            Key::Enter => return self.open(Step::Reading),
            Key::Character('a') => return self.open(Step::Approving),
            Key::Character('d') => return self.open(Step::Denying { reason: String::new() }),
            Key::Character(_) | Key::Escape | Key::Backspace | Key::Clear | Key::Interrupt => {}
        }
        Vec::new()
    }

    fn key_in_details(&mut self, key: Key) -> Vec<Effect> {
        let Some(details) = &mut self.details else { return Vec::new() };
        if matches!(details.step, Step::Denying { .. }) {
            return self.key_in_reason(key);
        }
        self.message = None;
        match key {
            Key::Character('j') | Key::Down => details.scroll += 1,
            Key::Character('k') | Key::Up => details.scroll = details.scroll.saturating_sub(1),
            Key::PageDown | Key::Character(' ') => details.scroll += 10,
            Key::PageUp => details.scroll = details.scroll.saturating_sub(10),
            Key::Home | Key::Character('g') => details.scroll = 0,
            Key::End | Key::Character('G') => details.scroll = usize::MAX,
            Key::Character('r') => return self.read_anew(),
            Key::Character('y') if details.step == Step::Approving => return self.approve(),
            Key::Escape | Key::Character('n') if details.step == Step::Approving => details.step = Step::Reading,
            Key::Character('a') if details.step == Step::Reading => self.begin(Step::Approving),
            Key::Character('d') if details.step == Step::Reading => self.begin(Step::Denying { reason: String::new() }),
            Key::Escape | Key::Character('q') | Key::Backspace => {
                self.details = None;
                self.message = None;
            }
            Key::Character(_) | Key::Enter | Key::Clear | Key::Interrupt => {}
        }
        Vec::new()
    }

    fn key_in_reason(&mut self, key: Key) -> Vec<Effect> {
        let Some(details) = &mut self.details else { return Vec::new() };
        let Step::Denying { reason } = &mut details.step else { return Vec::new() };
        match key {
            Key::Character(character) => self.type_in(character),
            Key::Backspace => drop(reason.pop()),
            Key::Clear => reason.clear(),
            Key::Escape => {
                details.step = Step::Reading;
                self.message = None;
            }
            Key::Up => details.scroll = details.scroll.saturating_sub(1),
            Key::Down => details.scroll += 1,
            Key::PageUp => details.scroll = details.scroll.saturating_sub(10),
            Key::PageDown => details.scroll += 10,
            Key::Home => details.scroll = 0,
            Key::End => details.scroll = usize::MAX,
            Key::Enter => return self.deny(),
            Key::Interrupt => {}
        }
        Vec::new()
    }

    fn type_in(&mut self, character: char) {
        let Some(Step::Denying { reason }) = self.details.as_mut().map(|details| &mut details.step) else { return };
        if reason.chars().count() < REASON_CHARS_MAX && !character.is_control() {
            reason.push(character);
        }
    }

    /// Opens the chosen approval; what follows is decided when it is there.
    fn open(&mut self, step: Step) -> Vec<Effect> {
        let Some(id) = self.chosen.clone() else {
            self.message = Some(("nothing waits".to_owned(), false));
            return Vec::new();
        };
        self.details = Some(Details { id: id.clone(), view: None, scroll: 0, end_seen: false, step });
        vec![Effect::Show { id }]
    }

    /// Goes on to a decision where there is one to make.
    fn begin(&mut self, step: Step) {
        let Some(details) = &mut self.details else { return };
        match details.view.as_ref().map(|view| view.state.status) {
            Some(ApprovalStatus::Pending) | None => {
                details.step = step;
                self.message = None;
            }
            Some(status) => self.message = Some((format!("it is {status}: there is nothing to decide"), false)),
        }
    }

    fn approve(&mut self) -> Vec<Effect> {
        let Some(details) = &mut self.details else { return Vec::new() };
        let Some(view) = &details.view else { return Vec::new() };
        if !details.end_seen {
            self.message = Some(("first see the whole call: scroll down to its end".to_owned(), false));
            return Vec::new();
        }
        details.step = Step::Sent;
        self.message = None;
        let (id, call_digest) = (details.id.clone(), view.state.call_digest);
        vec![Effect::Review { id, verdict: ReviewVerdict::Approve, call_digest, reason: None }]
    }

    fn deny(&mut self) -> Vec<Effect> {
        let Some(details) = &mut self.details else { return Vec::new() };
        let Step::Denying { reason } = &details.step else { return Vec::new() };
        let Some(view) = &details.view else {
            self.message = Some(("not sent: the call is still being read".to_owned(), false));
            return Vec::new();
        };
        let reason = reason.trim().to_owned();
        if reason.is_empty() {
            self.message = Some(("a denial needs a reason: the agent reads it".to_owned(), false));
            return Vec::new();
        }
        details.step = Step::Sent;
        self.message = None;
        let (id, call_digest) = (details.id.clone(), view.state.call_digest);
        vec![Effect::Review { id, verdict: ReviewVerdict::Deny, call_digest, reason: Some(reason) }]
    }

    fn row_of_chosen(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.rows.iter().position(|row| row.state.id == *chosen)
    }

    fn place(&self) -> usize {
        self.row_of_chosen().unwrap_or(0)
    }

    fn choose(&mut self, at: usize) {
        let at = at.min(self.rows.len().saturating_sub(1));
        self.chosen = self.rows.get(at).map(|row| row.state.id.clone());
    }
}
