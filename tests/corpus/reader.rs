//! Step 3 alone: what the corpus says about a case is what the reader finds.

use holdpoint_core::json::Limits;
use holdpoint_core::mcp::{self, Head};
use holdpoint_tests::corpus::{self, Case, Expect, Message};

/// Walls that stand before or behind the reader.
const OTHER_WALLS: &[&str] = &["too_large"];

fn read(message: &Message) -> Result<(), mcp::Malformed> {
    let head = Head { method: message.method.as_bytes(), path: message.path.as_bytes(), headers: &message.headers };
    match message.method.as_str() {
        "GET" | "DELETE" => mcp::read_bodiless(&head, !message.body.is_empty()).map(drop),
        _ => mcp::read_posted(&head, message.body.clone(), &Limits::default()).map(drop),
    }
}

#[test]
fn reader_stops_what_the_corpus_says_and_nothing_else() -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for case in corpus::cases()? {
        let Some(message) = case.message() else { continue };
        let found = read(&message);
        let found = match &found {
            Ok(()) => "read".to_owned(),
            Err(error) => format!("{} {} ({})", error.kind.as_str(), error.status, error.detail),
        };
        if !agrees(&case, &found) {
            wrong.push(format!("{}/{}: expected {:?}, found {found}", case.file, case.name, case.expect));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn agrees(case: &Case, found: &str) -> bool {
    match &case.expect {
        Expect::Passes | Expect::Denied => found == "read",
        Expect::Refused { kind, .. } if OTHER_WALLS.contains(&kind.as_str()) => true,
        Expect::Refused { kind, status } => found.starts_with(&format!("{kind} {status} ")),
        Expect::Envoy { .. } | Expect::Stopped => true,
    }
}

#[test]
fn corpus_is_large_and_every_case_says_why() -> anyhow::Result<()> {
    let cases = corpus::cases()?;
    assert!(cases.len() >= 250, "{} cases", cases.len());
    let passing = cases.iter().filter(|case| case.expect == Expect::Passes).count();
    assert!(passing >= 30, "{passing} cases that must pass");
    for case in &cases {
        assert!(
            !case.why.is_empty() && !case.why.ends_with('.'),
            "{}: `why` is a sentence without full stop",
            case.name
        );
    }
    Ok(())
}
