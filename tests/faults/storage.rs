//! The database cannot be written: the service says so, gated calls are refused, and nothing is acknowledged that is not
//! on the disk. All is well again by itself when the cause is gone.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use holdpoint_tests::approver::Person;
use holdpoint_tests::client::tools_call;
use holdpoint_tests::small_disk::SmallDisk;
use holdpoint_tests::stack::Stack;
use holdpoint_tests::{installed, probe, service_binary};

use super::seen::{assert_record_verifies, runs, sentence, succeeded};

/// Longer than an empty database, its log of writes and a few calls need.
const DISK_MEGABYTES: u32 = 12;

/// Begins a write transaction, says so, and keeps it until its standard input ends.
const LOCK: &str = "import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()
database.execute('ROLLBACK')";

/// Another process that keeps the database to itself until dropped.
struct Locked {
    process: Child,
}

impl Locked {
    fn begin(stack: &Stack) -> anyhow::Result<Self> {
        let mut process = Command::new("python3")
            .args(["-c", LOCK])
            .arg(stack.service.data_dir().join("holdpoint.db"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        BufReader::new(process.stdout.take().context("stdout")?).read_line(&mut said)?;
        anyhow::ensure!(said.trim() == "locked", "the other process said `{said}`");
        Ok(Self { process })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

async fn ready(stack: &Stack, wanted: bool) -> anyhow::Result<()> {
    let what = if wanted { "the service is ready" } else { "the service says that it is not ready" };
    probe::until(what, probe::PATIENCE, async || {
        let answer = reqwest::get(stack.service.url("/readyz")).await.ok()?;
        (answer.status().is_success() == wanted).then_some(())
    })
    .await
}

/// While nothing can be written: gated calls are refused, allowed ones run. Afterwards a held call runs once.
async fn refuses_meanwhile(
    stack: &Stack,
    bob: &Person,
    relieve: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let token = stack.agent("agent-7")?;
    let before = runs(&stack.upstream, "create_issue");
    let answer = tools_call("create_issue", r#"{"title":"meanwhile"}"#, &token).send(stack.port()).await?;
    assert!(sentence(&answer).contains("approval service is unavailable"), "{}", answer.text());
    ready(stack, false).await?;
    assert!(succeeded(&tools_call("list_issues", "{}", &token).send(stack.port()).await?));
    assert_eq!(runs(&stack.upstream, "create_issue"), before);

    relieve()?;
    ready(stack, true).await?;
    let held = tools_call("create_issue", r#"{"title":"afterwards"}"#, &token).begin(stack.port()).await?;
    let view = probe::until("the new request is pending", probe::PATIENCE, async || {
        for id in bob.ids("pending").await.ok()? {
            let view = bob.show(&id).await.ok()?;
            if view.to_string().contains("afterwards") {
                return Some(view);
            }
        }
        None
    })
    .await?;
    bob.approve(&view).await?;
    let answer = held.answer().await?;
    assert!(succeeded(&answer), "{}", answer.text());
    assert_eq!(runs(&stack.upstream, "create_issue"), before + 1);
    Ok(())
}

#[tokio::test]
async fn database_that_another_process_keeps_locked_refuses_gated_calls_until_it_is_free() -> anyhow::Result<()> {
    let stack = Stack::builder().document(|document| document.outage_ms_max = 500).start().await?;
    // Before: to make a token is to write.
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    let token = stack.agent("agent-7")?;
    let held = tools_call("create_issue", r#"{"title":"before"}"#, &token).begin(stack.port()).await?;
    bob.approve(&bob.pending().await?).await?;
    assert!(succeeded(&held.answer().await?));

    let locked = Locked::begin(&stack)?;
    refuses_meanwhile(&stack, &bob, || {
        drop(locked);
        Ok(())
    })
    .await?;
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn full_disk_refuses_gated_calls_until_there_is_space() -> anyhow::Result<()> {
    let Some(disk) = installed::or_skip("a full disk", SmallDisk::mount(DISK_MEGABYTES))? else { return Ok(()) };
    let dir = disk.path().to_owned();
    let stack = Stack::builder()
        .service_settings(|service| service.dir = Some(dir))
        .document(|document| document.outage_ms_max = 500)
        .start()
        .await?;
    let bob = Person::approver(&stack.service, "bob", &["sre"])?;
    disk.fill()?;
    refuses_meanwhile(&stack, &bob, || disk.free()).await?;
    assert_record_verifies(&stack.service)
}

#[tokio::test]
async fn command_beside_a_database_that_is_busy_for_long_says_what_it_waits_for_and_then_does_it() -> anyhow::Result<()>
{
    // Three seconds each: longer than the service itself would wait.
    const TIMES_TOLD: usize = 2;
    let stack = Stack::builder().start().await?;
    let locked = Locked::begin(&stack)?;
    let mut command = Command::new(service_binary::holdpoint()?)
        .args(["token", "create", "--role", "auditor", "--subject", "ann", "--data-dir"])
        .arg(stack.service.data_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut told = BufReader::new(command.stderr.take().context("stderr")?).lines();
    let writer = format!("process {} writes to it", locked.process.id());
    for _ in 0..TIMES_TOLD {
        let line = told.next().context("it ended without a word")??;
        anyhow::ensure!(line.starts_with("waiting for the database of") && line.contains(&writer), "{line}");
    }
    drop(locked);
    let rest: Vec<String> = told.collect::<Result<_, _>>()?;
    anyhow::ensure!(command.wait()?.success(), "{rest:?}");
    Ok(())
}

#[tokio::test]
async fn command_that_waits_for_a_server_blames_nobody_else() -> anyhow::Result<()> {
    // Connections are taken by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(service_binary::holdpoint()?)
        .args(["token", "create", "--role", "auditor", "--subject", "ann", "--data-dir"])
        .arg(dir.path())
        .args(["--database-url", &format!("postgres://ann@{}/holdpoint", silent.local_addr()?)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(command.stderr.take().context("stderr")?).lines().next();
    command.kill()?;
    command.wait()?;
    let line = said.context("it ended without a word")??;
    let wanted = format!("waiting for the PostgreSQL server at `{}`: it has not answered for", silent.local_addr()?);
    anyhow::ensure!(line.starts_with(&wanted), "{line}");
    Ok(())
}
