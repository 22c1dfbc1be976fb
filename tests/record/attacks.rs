//! Every way to tamper with the record, on copies of a real one: `holdpoint audit verify` finds it, with the right words.

use holdpoint_tests::repository;

use super::desk::{self, Desk};

/// An attack, against what `verify` is run, and how its first finding begins. `tests/README.md` shows these rows.
struct Attack {
    name: &'static str,
    /// Whether the auditor holds the record against a checkpoint that was kept elsewhere.
    kept: bool,
    finding: &'static str,
}

const ATTACKS: &[Attack] = &[
    Attack { name: "changed", kept: false, finding: "entry 3 was changed" },
    Attack {
        name: "changed, all hashes made anew",
        kept: false,
        finding: "checkpoint 10 was signed for other entries",
    },
    Attack { name: "removed", kept: false, finding: "entries 7 to 7 are missing" },
    Attack {
        name: "removed, all hashes made anew",
        kept: false,
        finding: "checkpoint 10 was signed for other entries",
    },
    Attack { name: "inserted", kept: false, finding: "entry 5 was changed" },
    Attack {
        name: "inserted, all hashes made anew",
        kept: false,
        finding: "checkpoint 10 was signed for other entries",
    },
    Attack { name: "reordered", kept: false, finding: "checkpoint 10 was signed for other entries" },
    Attack {
        name: "reordered, all hashes made anew",
        kept: false,
        finding: "checkpoint 10 was signed for other entries",
    },
    Attack { name: "truncated", kept: false, finding: "the log's head counts 20 entries, only 15 are there" },
    Attack {
        name: "truncated, with its checkpoints",
        kept: true,
        finding: "checkpoint `kept` was signed, and the log has only 10 entries",
    },
    Attack { name: "forged checkpoint", kept: false, finding: "checkpoint 19 is not to be believed: the signature" },
    Attack { name: "edited arguments", kept: false, finding: "the arguments beside entry 3 were edited" },
    Attack { name: "arguments taken away", kept: false, finding: "what stood beside entry 3 is gone" },
    Attack { name: "no checkpoints", kept: true, finding: "checkpoint `kept` was signed for other entries" },
];

/// A record of twenty entries with checkpoints after ten and after all; the last of them, kept.
async fn written() -> anyhow::Result<(Desk, String)> {
    let desk = Desk::open().await?;
    desk.append("edge/boot", 0, 10 - 2).await?;
    desk.checkpoint().await?;
    desk.append("edge/boot", 10 - 2, 10).await?;
    let kept = desk.checkpoint().await?;
    Ok((desk, kept))
}

#[tokio::test]
async fn every_attack_on_a_record_is_found_with_the_right_words() -> anyhow::Result<()> {
    let (desk, kept) = written().await?;
    let whole = desk.copy()?;
    let note = whole.path().join("kept.note");
    std::fs::write(&note, &kept)?;
    let verified = desk::verify(whole.path(), &[])?;
    assert_eq!((verified.findings, verified.entries), (Vec::new(), 20));
    for attack in ATTACKS {
        let copy = desk::copy(whole.path())?;
        desk::tamper(copy.path(), attack.name)?;
        let named = note.display().to_string();
        let more: &[&str] = if attack.kept { &["--checkpoint", &named] } else { &[] };
        let findings = desk::verify(copy.path(), more)?.findings;
        let found = findings.iter().any(|finding| finding.replace(&named, "kept").starts_with(attack.finding));
        assert!(found, "{}: {findings:?}", attack.name);
    }
    Ok(())
}

#[tokio::test]
async fn a_database_that_was_put_back_and_a_log_that_was_forked_do_not_fit_a_kept_checkpoint() -> anyhow::Result<()> {
    let (mut desk, _) = written().await?;
    let old = desk.copy()?;
    desk.service.restart().await?;
    desk.append("edge/boot", 18, 5).await?;
    let kept = old.path().join("kept.note");
    std::fs::write(&kept, desk.checkpoint().await?)?;
    let kept = kept.display().to_string();

    let findings = desk::verify(old.path(), &["--checkpoint", &kept])?.findings;
    assert!(findings[0].contains("an old copy put back"), "{findings:?}");

    // The old copy goes on with other entries.
    desk.service.kill();
    for name in ["holdpoint.db", "holdpoint.db-wal", "holdpoint.db-shm"] {
        let (from, to) = (old.path().join(name), desk.service.data_dir().join(name));
        if to.exists() {
            std::fs::remove_file(&to)?;
        }
        if from.exists() {
            std::fs::copy(from, to)?;
        }
    }
    desk.service.restart().await?;
    desk.append("elsewhere/boot", 0, 9).await?;
    desk.checkpoint().await?;
    let forked = desk.copy()?;
    assert!(desk::verify(forked.path(), &[])?.is_whole, "by itself a fork looks whole");
    let findings = desk::verify(forked.path(), &["--checkpoint", &kept])?.findings;
    assert!(findings[0].contains("was signed for other entries"), "{findings:?}");
    Ok(())
}

#[tokio::test]
async fn a_swapped_key_is_found_by_whoever_kept_the_public_one() -> anyhow::Result<()> {
    let (mut desk, _) = written().await?;
    let key = desk.service.service_key()?;
    let stranger = Desk::open().await?;
    desk.service.kill();
    desk::tamper(&desk.service.data_dir(), "bare")?;
    std::fs::copy(
        stranger.service.data_dir().join("service-key.hex"),
        desk.service.data_dir().join("service-key.hex"),
    )?;
    desk.service.restart().await?;
    desk.append("edge/boot", 18, 1).await?;
    desk.checkpoint().await?;
    let swapped = desk.copy()?;
    let findings = desk::verify(swapped.path(), &["--key", &key])?.findings;
    assert!(findings.iter().any(|finding| finding.contains("has not signed it")), "{findings:?}");
    Ok(())
}

#[test]
fn the_readme_shows_every_attack() -> anyhow::Result<()> {
    let readme = repository::text("tests/README.md")?;
    for Attack { name, kept, finding } in ATTACKS {
        let against = if *kept { "a kept checkpoint" } else { "its own checkpoints" };
        let row = format!("| {name} | {against} | {finding} |");
        assert!(readme.contains(&row), "tests/README.md lacks the row\n{row}");
    }
    Ok(())
}
