//! A program on a pseudo-terminal, and an emulator that says what is on its screen. The approver's eyes and hands.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use holdpoint_tests::probe;

const PATIENCE: Duration = Duration::from_secs(180);

/// A program that believes that a person sits in front of it. Killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Everything that was written, escape sequences and all.
    written: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts `command` on a terminal of this size.
    pub(crate) fn start(mut command: Command, columns: u16, rows: u16) -> anyhow::Result<Self> {
        let (ours, theirs) = open(columns, rows)?;
        for stdio in [Command::stdin, Command::stdout, Command::stderr] {
            stdio(&mut command, Stdio::from(theirs.try_clone()?));
        }
        // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = command.spawn()?;
        drop(command);
        drop(theirs);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let mut reader = ours.try_clone()?;
        let (seen, kept) = (screen.clone(), written.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            // Reading fails when the program has ended.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                seen.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Self { child, keys: ours, screen, written })
    }

    /// Types.
    pub(crate) fn keys(&mut self, text: &str) -> anyhow::Result<()> {
        self.keys.write_all(text.as_bytes())?;
        Ok(())
    }

    /// What is on the screen now.
    pub(crate) fn text(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().contents()
    }

    /// Whether the program has taken the whole screen.
    pub(crate) fn is_full_screen(&self) -> bool {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen().alternate_screen()
    }

    /// Everything that was written, escape sequences and all.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits until the screen is as wanted; the screen is the error otherwise.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let seen = probe::until(what, PATIENCE, async || Some(self.text()).filter(|text| wanted(text))).await;
        seen.with_context(|| format!("the screen:\n{}\n", self.text()))
    }

    /// Waits until the screen shows this.
    pub(crate) async fn shows(&self, text: &str) -> anyhow::Result<String> {
        self.until(&format!("the screen shows `{text}`"), |screen| screen.contains(text)).await
    }

    /// Makes the window another size, as a person does with the mouse.
    pub(crate) fn resize(&self, columns: u16, rows: u16) -> anyhow::Result<()> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).screen_mut().set_size(rows, columns);
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open and the structure outlives the call.
        let done = unsafe { libc::ioctl(self.keys.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        anyhow::ensure!(done == 0, "{}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Whether the terminal is as a shell wants it: lines are edited and echoed.
    pub(crate) fn is_given_back(&self) -> anyhow::Result<bool> {
        // SAFETY: all zeroes is a valid termios, and tcgetattr fills it in.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open and the structure outlives the call.
        let done = unsafe { libc::tcgetattr(self.keys.as_raw_fd(), &raw mut modes) };
        anyhow::ensure!(done == 0, "{}", std::io::Error::last_os_error());
        Ok(modes.c_lflag & libc::ICANON != 0 && modes.c_lflag & libc::ECHO != 0 && !self.is_full_screen())
    }

    /// Waits until it is; what a program wrote at its end may still be on its way.
    pub(crate) async fn until_given_back(&self) -> anyhow::Result<()> {
        probe::until("the terminal is given back", PATIENCE, async || self.is_given_back().ok().filter(|given| *given))
            .await
            .map(drop)
    }

    /// Waits for the end of the program.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let child = Mutex::new(&mut self.child);
        probe::until("the program ends", PATIENCE, async || {
            child.lock().unwrap_or_else(PoisonError::into_inner).try_wait().ok().flatten()
        })
        .await
    }

    /// The process, to signal it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(columns: u16, rows: u16) -> anyhow::Result<(File, OwnedFd)> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: both numbers are written by the call; name and modes may be null.
    let done = unsafe {
        libc::openpty(&raw mut ours, &raw mut theirs, std::ptr::null_mut(), std::ptr::null(), &raw const size)
    };
    anyhow::ensure!(done == 0, "no pseudo-terminal: {}", std::io::Error::last_os_error());
    // SAFETY: the call above opened them, and nobody else owns them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    // Children get the descriptors that they are given, and not these.
    for fd in [&ours, &theirs] {
        // SAFETY: the descriptor is open.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok((File::from(ours), theirs))
}
