//! The watch on a terminal: keys in, lines out. The only file that knows the terminal, and it is always given back.

use std::io::{Stdout, Write, stdout};

use crossterm::event::{
    DisableBracketedPaste, EnableBracketedPaste, Event, EventStream, KeyCode, KeyEvent, KeyEventKind, KeyModifiers,
};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
    disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{cursor, execute, queue};
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::feed::{self, News};
use super::layout::{Line, Style};
use super::plain::now_ms;
use super::screen::{Effect, Input, Key, Screen};
use super::waiting;
use crate::approvals::review::ReviewBody;
use crate::cli::client::Client;

/// Answers that may wait for the screen.
const ANSWERS_MAX: usize = 64;

pub(super) async fn run(client: Client) -> anyhow::Result<()> {
    // A wrong address or token is an error in the shell, not on a screen that vanishes.
    let first = waiting(&client).await?;
    let mut screen = Screen::new(client.server().to_string().trim_end_matches('/').to_owned());
    let mut todo = screen.handle(Input::Listed(Ok(first)));
    let (answers_in, mut answers) = mpsc::channel(ANSWERS_MAX);
    let mut news = feed::follow(client.clone());
    let mut terminal = Terminal::enter()?;
    let mut keys = EventStream::new();
    let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut refused = None;
    loop {
        for effect in todo.drain(..) {
            match effect {
                Effect::Quit => return Ok(()),
                effect => perform(client.clone(), effect, answers_in.clone()),
            }
        }
        terminal.show(&mut screen)?;
        todo = tokio::select! {
            event = keys.next() => match event {
                // A terminal that is gone has nobody in front of it.
                None | Some(Err(_)) => return Ok(()),
                Some(Ok(event)) => read(event).map_or_else(Vec::new, |input| screen.handle(input)),
            },
            Some(answer) = answers.recv() => screen.handle(answer),
            told = news.recv(), if refused.is_none() => match told {
                Some(News::Refused(why)) => {
                    refused = Some(why.clone());
                    screen.handle(Input::News(News::Refused(why)))
                }
                Some(told) => screen.handle(Input::News(told)),
                None => return Ok(()),
            },
            _ = second.tick() => Vec::new(),
            _ = hangup.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
        };
    }
}

/// Does what the screen asked for, and brings the answer back to it.
fn perform(client: Client, effect: Effect, answers: mpsc::Sender<Input>) {
    tokio::spawn(async move {
        let text = |error: anyhow::Error| format!("{error:#}");
        let input = match effect {
            Effect::Quit => return,
            Effect::List => Input::Listed(waiting(&client).await.map_err(text)),
            Effect::Show { id } => {
                Input::Shown(Box::new(client.get(&format!("/v1/approvals/{id}")).await.map_err(text)))
            }
            Effect::Review { id, verdict, call_digest, reason } => {
                let body = ReviewBody { verdict, call_digest: Some(call_digest), reason, scope: None };
                Input::Reviewed(client.post(&format!("/v1/approvals/{id}/reviews"), &body).await.map_err(text))
            }
        };
        // The screen may be gone by now.
        let _ = answers.send(input).await;
    });
}

fn read(event: Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => key_of(key).map(Input::Key),
        Event::Paste(text) => Some(Input::Pasted(text)),
        Event::Key(_) | Event::Resize(..) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => None,
    }
}

fn key_of(key: KeyEvent) -> Option<Key> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Key::Interrupt),
            KeyCode::Char('u') => Some(Key::Clear),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Char(character) if !key.modifiers.contains(KeyModifiers::ALT) => Some(Key::Character(character)),
        KeyCode::Enter => Some(Key::Enter),
        KeyCode::Esc => Some(Key::Escape),
        KeyCode::Backspace => Some(Key::Backspace),
        KeyCode::Up => Some(Key::Up),
        KeyCode::Down => Some(Key::Down),
        KeyCode::PageUp => Some(Key::PageUp),
        KeyCode::PageDown => Some(Key::PageDown),
        KeyCode::Home => Some(Key::Home),
        KeyCode::End => Some(Key::End),
        _ => None,
    }
}

/// The terminal while it is ours. Dropping it gives it back as it was.
struct Terminal {
    out: Stdout,
    coloured: bool,
    size: (u16, u16),
}

impl Terminal {
    fn enter() -> std::io::Result<Self> {
        let coloured = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        enable_raw_mode()?;
        let mut terminal = Self { out: stdout(), coloured, size: (0, 0) };
        execute!(terminal.out, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
        Ok(terminal)
    }

    fn show(&mut self, screen: &mut Screen) -> std::io::Result<()> {
        let (columns, rows) = size().unwrap_or((80, 24));
        queue!(self.out, BeginSynchronizedUpdate)?;
        if self.size != (columns, rows) {
            self.size = (columns, rows);
            queue!(self.out, Clear(ClearType::All))?;
        }
        let (lines, cursor) = screen.draw(usize::from(columns), usize::from(rows), now_ms());
        for (line, row) in lines.iter().zip(0..rows) {
            queue!(self.out, cursor::MoveTo(0, row))?;
            self.line(line)?;
        }
        match cursor {
            Some((column, row)) => {
                let place = (u16::try_from(column).unwrap_or(u16::MAX), u16::try_from(row).unwrap_or(u16::MAX));
                queue!(self.out, cursor::MoveTo(place.0, place.1), cursor::Show)?;
            }
            None => queue!(self.out, cursor::Hide)?,
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    fn line(&mut self, line: &Line) -> std::io::Result<()> {
        for span in line {
            let (colour, attribute) = look(span.style);
            if let Some(attribute) = attribute {
                queue!(self.out, SetAttribute(attribute))?;
            }
            if let Some(colour) = colour.filter(|_| self.coloured) {
                queue!(self.out, SetForegroundColor(colour))?;
            }
            queue!(self.out, Print(&span.text), SetAttribute(Attribute::Reset))?;
            if self.coloured {
                queue!(self.out, ResetColor)?;
            }
        }
        Ok(())
    }
}

fn look(style: Style) -> (Option<Color>, Option<Attribute>) {
    match style {
        Style::Plain => (None, None),
        Style::Strong => (None, Some(Attribute::Bold)),
        Style::Soft => (None, Some(Attribute::Dim)),
        Style::Wait => (Some(Color::DarkYellow), None),
        Style::Yes => (Some(Color::DarkGreen), None),
        Style::No => (Some(Color::DarkRed), None),
        Style::Hidden => (Some(Color::DarkMagenta), Some(Attribute::Reverse)),
        Style::Chosen => (None, Some(Attribute::Reverse)),
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Also when the program ends by a panic; a terminal that is gone needs nothing.
        let _ = execute!(self.out, EndSynchronizedUpdate, DisableBracketedPaste, cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}
