//! A headless Chromium, driven over the pipe of its DevTools protocol. The approver's eyes and hands in step 8.

use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use holdpoint_tests::probe;
use holdpoint_tests::process::ChildProcess;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Names under which distributions install it.
const PROGRAMS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// The protocol's pipe: Chromium reads commands from the first and writes answers to the second.
const PIPE_FDS: [libc::c_int; 2] = [3, 4];
/// Above the pipe's, so that moving one end there cannot close the other.
const SPARE_FD_MIN: libc::c_int = 10;

/// One browser with one tab and a profile of its own.
pub(crate) struct Browser {
    pipe: BufReader<UnixStream>,
    last_id: u64,
    tab: String,
    /// What the browser reported as wrong: scripts that failed, content that the policy of the page kept out.
    complaints: Vec<String>,
    _process: ChildProcess,
    _profile: TempDir,
}

/// The browser's program; `None` when this machine has none.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    PROGRAMS.iter().flat_map(|name| dirs.iter().map(move |dir| dir.join(name))).find(|file| file.is_file())
}

impl Browser {
    /// Starts `program` with an empty tab.
    pub(crate) async fn start(program: &Path) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("holdpoint-browser-").tempdir()?;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut command = Command::new(program);
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe"]);
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        give_pipe(&mut command, theirs.as_raw_fd());
        let process = ChildProcess::start("chromium", command, profile.path())?;
        drop(theirs);
        ours.set_nonblocking(true)?;
        let pipe = BufReader::new(UnixStream::from_std(ours)?);
        let mut browser =
            Self { pipe, last_id: 0, tab: String::new(), complaints: Vec::new(), _process: process, _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"})).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await?;
        browser.tab = attached["sessionId"].as_str().context("no session of the tab")?.to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({})).await?;
        }
        Ok(browser)
    }

    /// Opens an address, as somebody who types it.
    pub(crate) async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let opened = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = opened["errorText"].as_str() {
            bail!("`{url}` cannot be opened: {error}");
        }
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'").await
    }

    /// The value that a promise in the page comes to.
    pub(crate) async fn awaited(&mut self, expression: &str) -> anyhow::Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", params).await?;
        if answer.get("exceptionDetails").is_some() {
            bail!("`{expression}` failed: {}", answer["result"]["description"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Presses a key as a person does: `key` is its name, such as `Tab` or `a`.
    pub(crate) async fn press(&mut self, key: &str) -> anyhow::Result<()> {
        let text = if key.chars().count() == 1 { key } else { "" };
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            _ => 0,
        };
        let text = if key == "Enter" { "\r" } else { text };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// The value of an expression in the page.
    pub(crate) async fn value(&mut self, expression: &str) -> anyhow::Result<Value> {
        let answer = self.call("Runtime.evaluate", json!({"expression": expression, "returnByValue": true})).await?;
        if answer.get("exceptionDetails").is_some() {
            bail!("`{expression}` failed: {}", answer["result"]["description"]);
        }
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until a condition holds in the page, across loads.
    pub(crate) async fn until(&mut self, condition: &str) -> anyhow::Result<()> {
        let deadline = std::time::Instant::now() + probe::PATIENCE;
        while std::time::Instant::now() < deadline {
            // While a page is being replaced there is nothing to ask.
            if matches!(self.value(condition).await, Ok(Value::Bool(true))) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let page = self.value("location.href + '\\n' + document.body.innerText").await.unwrap_or_default();
        bail!("`{condition}` never held; the page: {}", page.as_str().unwrap_or_default())
    }

    /// Clicks what a CSS selector finds.
    pub(crate) async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        self.value(&format!("document.querySelector({}).click()", json!(selector))).await.map(drop)
    }

    /// Sets the size of the window, and whether the reader likes it dark.
    pub(crate) async fn look(&mut self, width: u32, height: u32, dark: bool) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await?;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features})).await.map(drop)
    }

    /// A picture of the window: PNG in base64.
    pub(crate) async fn picture(&mut self) -> anyhow::Result<String> {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"})).await?;
        Ok(answer["data"].as_str().context("no picture")?.to_owned())
    }

    /// Turns the scripts of pages off.
    pub(crate) async fn without_scripts(&mut self) -> anyhow::Result<()> {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true})).await.map(drop)
    }

    /// What went wrong in the pages so far.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Sends one command, to the tab when there is one, and waits for its answer.
    async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let mut message = json!({"id": self.last_id, "method": method, "params": params});
        if !self.tab.is_empty() {
            message["sessionId"] = json!(self.tab);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.pipe.get_mut().write_all(&bytes).await?;
        let answered = tokio::time::timeout(ANSWER_MAX, self.answer()).await;
        answered.with_context(|| format!("the browser did not answer `{method}`"))?
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        loop {
            let mut bytes = Vec::new();
            self.pipe.read_until(0, &mut bytes).await?;
            if bytes.pop().is_none() {
                bail!("the browser has ended");
            }
            let message: Value = serde_json::from_slice(&bytes)?;
            if message["id"] == self.last_id {
                match message.get("error") {
                    Some(error) => bail!("the browser refuses: {error}"),
                    None => return Ok(message["result"].clone()),
                }
            }
            let params = &message["params"];
            match message["method"].as_str() {
                Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                    self.complaints.push(params["entry"].to_string());
                }
                Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
                _ => {}
            }
        }
    }
}

/// Gives a command its end of the pipe under the numbers that Chromium expects.
fn give_pipe(command: &mut Command, end: libc::c_int) {
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            let spare = libc::fcntl(end, libc::F_DUPFD, SPARE_FD_MIN);
            for fd in PIPE_FDS {
                if spare < 0 || libc::dup2(spare, fd) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            libc::close(spare);
            Ok(())
        });
    }
}
