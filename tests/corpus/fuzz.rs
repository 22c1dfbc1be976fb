//! What fuzzing found worth keeping, and the whole corpus, through the same checks on a stable toolchain. With
//! `HOLDPOINT_FULL=1` the fuzzers themselves run. Steps 1 to 6.

use std::process::Command;

use anyhow::Context;
use holdpoint_tests::{cargo, corpus, repository};

#[path = "../fuzz/checks.rs"]
mod checks;

/// How long each target is fuzzed with `HOLDPOINT_FULL=1`, in seconds.
const LONG_SECONDS: &str = "600";

#[test]
fn what_fuzzing_kept_breaks_no_promise() -> anyhow::Result<()> {
    for (target, check) in checks::TARGETS {
        let path = format!("tests/fuzz/kept/{target}.txt");
        let text = repository::text(&path)?;
        assert!(text.lines().count() >= 20, "`{path}` holds next to nothing");
        for line in text.lines() {
            check(&unescaped(line).with_context(|| format!("`{path}`: {line}"))?);
        }
    }
    Ok(())
}

#[test]
fn no_case_of_the_corpus_breaks_a_promise() -> anyhow::Result<()> {
    for case in corpus::cases()? {
        checks::json(&case.body);
        let mut lines = case.header_lines.join(&b'\n');
        lines.extend_from_slice(b"\n\n");
        lines.extend_from_slice(&case.body);
        checks::message(&lines);
        checks::yaml(&case.body);
    }
    Ok(())
}

#[test]
fn long_fuzzing_finds_nothing() -> anyhow::Result<()> {
    if std::env::var("HOLDPOINT_FULL").is_ok_and(|value| value == "1") {
        let status = Command::new("python3")
            .arg(repository::path("tests/fuzz/run.py"))
            .args(["--seconds", LONG_SECONDS])
            .status()
            .context("cannot run `python3`")?;
        anyhow::ensure!(status.success(), "the fuzzers found something");
    } else {
        // Says nothing of the readers, and must not look as if it did.
        cargo::say("not fuzzed: that takes `HOLDPOINT_FULL=1` and over an hour; what was found before is replayed");
    }
    Ok(())
}

/// The bytes of one line of `tests/fuzz/kept/`: `\xNN` is a byte, everything else itself.
fn unescaped(line: &str) -> anyhow::Result<Vec<u8>> {
    let mut pieces = line.split("\\x");
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, plain) = piece.split_at_checked(2).context("half an escape")?;
        bytes.push(u8::from_str_radix(digits, 16)?);
        bytes.extend_from_slice(plain.as_bytes());
    }
    Ok(bytes)
}
