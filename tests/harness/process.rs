//! A child process that cannot outlive us, with its output in files. Serves every part of the stack that is a program.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc};

use anyhow::Context;

/// A running program. Killed and reaped when dropped, and killed by the kernel when this process dies in any way.
#[derive(Debug)]
pub struct ChildProcess {
    name: String,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl ChildProcess {
    /// Starts `command` with its output in `<log_dir>/<name>.stdout` and `.stderr`, from their beginning.
    pub fn start(name: &str, mut command: Command, log_dir: &Path) -> anyhow::Result<Self> {
        let stdout = log_dir.join(format!("{name}.stdout"));
        let stderr = log_dir.join(format!("{name}.stderr"));
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = spawn_from_keeper(command).with_context(|| format!("cannot start `{program}`"))?;
        Ok(Self { name: name.to_owned(), child: Mutex::new(child), stdout, stderr })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child().id()
    }

    /// Its resident memory now, in bytes; `None` where the system does not say, or when it has ended.
    pub fn rss_bytes(&self) -> Option<u64> {
        rss_bytes(self.pid())
    }

    /// How it ended, or `None` while it runs.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Ends it at once (SIGKILL) and reaps it. Harmless when it has ended already.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end (SIGTERM); does not wait.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Has it stand still, as a machine that is suspended (SIGSTOP), until [`ChildProcess::resume`].
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&self, signal: libc::c_int) {
        let child = &mut *self.child();
        if let (Ok(None), Ok(pid)) = (child.try_wait(), libc::pid_t::try_from(child.id())) {
            // SAFETY: kill(2) has no memory effects; the child is not reaped, so the id is still its own.
            unsafe { libc::kill(pid, signal) };
        }
    }

    /// Everything it has written to standard output so far.
    pub fn stdout_text(&self) -> String {
        text(&self.stdout)
    }

    /// Everything it has written to standard error so far.
    pub fn stderr_text(&self) -> String {
        text(&self.stderr)
    }

    /// Its name and its last lines, for an error.
    pub fn last_words(&self) -> String {
        const LINES_MAX: usize = 30;
        let log = self.stdout_text() + &self.stderr_text();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LINES_MAX)..);
        let state = match self.exited() {
            Some(status) => format!("ended ({status})"),
            None => "runs".to_owned(),
        };
        format!("`{}` {state}; its last lines:\n{}", self.name, tail.unwrap_or_default().join("\n"))
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Resident memory of a process, in bytes; `None` on systems without Linux's `/proc`.
pub fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?;
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

fn text(path: &Path) -> String {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("(cannot read `{}`: {error})\n", path.display()),
    }
}

struct Order {
    command: Command,
    started: mpsc::Sender<io::Result<Child>>,
}

/// Starts a child from a thread that lives as long as this process. The parent-death signal fires when the *thread* that
/// spawned the child ends, and a test's thread ends long before the test binary does.
fn spawn_from_keeper(mut command: Command) -> anyhow::Result<Child> {
    static KEEPER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for mut order in inbox {
                let _ = order.started.send(order.command.spawn());
            }
        });
        orders
    });
    die_with_parent(&mut command);
    let (started, child) = mpsc::channel();
    keeper.send(Order { command, started }).context("the thread that starts children is gone")?;
    Ok(child.recv().context("the thread that starts children is gone")??)
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the line above took hold.
            if u32::try_from(libc::getppid()) != Ok(parent) {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

/// Other systems have no such signal; a child outlives a killed parent there.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}
