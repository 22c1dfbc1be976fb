//! The filter's wasm without Envoy, on wasmtime: the corpus once more, and a host that breaks each call in turn. Whatever the
//! host answers, the module does not die and nothing unjudged goes on (invariants 2 and 8). Steps 1 to 10.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use holdpoint_tests::corpus::{self, Expect, Message};
use holdpoint_tests::filter_document::FilterDocument;
use holdpoint_tests::{cargo, wasm};
use serde_json::{Value, json};

#[path = "../filter/src/identity/metadata/encode.rs"]
mod encode;

/// Any key will do: no call here is held.
const SERVICE_KEY: &str = "ed25519:7ca06f9da9355ebfaafe9e7a53f8ce896c68bf1d88d9aedc7d342be05b40604f";

/// Statuses that the ABI knows, and one that it does not: not found, bad argument, empty, internal failure, and 77.
const FAULTS: &[u32] = &[1, 2, 7, 10, 77];

/// Host calls whose failure leaves a request unjudged or unanswerable; the others only cost a metric, a line or a fact.
const NEEDED_TO_FORWARD: &[&str] = &["proxy_get_header_map_pairs", "proxy_get_buffer_bytes", "proxy_get_property"];

/// The host process.
struct Abi {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _files: tempfile::TempDir,
}

impl Abi {
    fn start() -> anyhow::Result<Self> {
        let arguments = ["-p", "holdpoint-abi", "--features", "host", "--profile", "abi"];
        let binary = cargo::build("the wasmtime host", &arguments, |name| name.ends_with("/holdpoint-abi"))?;
        let files = tempfile::tempdir()?;
        let document = files.path().join("filter.yaml");
        std::fs::write(&document, FilterDocument::quickstart(SERVICE_KEY)?.text())?;
        let mut command = Command::new(binary);
        command.arg(wasm::module()?).arg(document).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the wasmtime host")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout, _files: files })
    }

    /// Plays one request. `fault` is a host call and the status that it fails with.
    fn play(&mut self, message: &Message, framing: Framing, fault: Option<(&str, u32)>) -> anyhow::Result<Value> {
        let mut headers = vec![
            (b":method".to_vec(), message.method.clone().into_bytes()),
            (b":path".to_vec(), message.path.clone().into_bytes()),
            (b":authority".to_vec(), b"gateway".to_vec()),
        ];
        headers.extend(message.headers.iter().filter(|(name, _)| name != b"host").cloned());
        let body = match framing {
            Framing::Whole | Framing::Trailers if message.body.is_empty() => Vec::new(),
            Framing::Whole | Framing::Trailers => vec![message.body.clone()],
            Framing::Pieces => message.body.chunks(7).map(<[u8]>::to_vec).collect(),
        };
        let claims = json!({"jwt": {"iss": "https://idp.example", "sub": "agent-7"}});
        let identity = encode::metadata("envoy.filters.http.jwt_authn", &claims);
        let route = encode::metadata("holdpoint", &json!({"server": "tracker"}));
        let asked = json!({
            "headers": headers,
            "body": body,
            "has_trailers": framing == Framing::Trailers,
            "properties": [
                ("metadata", identity),
                ("xds\0route_metadata", route),
                ("xds\0cluster_name", b"tracker"),
            ],
            "fault": fault,
        });
        writeln!(self.stdin, "{asked}")?;
        self.stdin.flush()?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the wasmtime host ended: {:?}", self.child.try_wait()))
    }
}

impl Drop for Abi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Whole,
    Pieces,
    Trailers,
}

#[test]
fn corpus_on_wasmtime_is_stopped_as_the_corpus_says() -> anyhow::Result<()> {
    let mut abi = Abi::start()?;
    let mut wrong = Vec::new();
    let mut played = 0;
    for case in corpus::cases()? {
        let Some(message) = case.message() else { continue };
        // Pieces of seven bytes of a megabyte would only take long.
        let framings: &[Framing] = match message.body.len() {
            0..5_000 => &[Framing::Whole, Framing::Pieces, Framing::Trailers],
            _ => &[Framing::Whole],
        };
        for framing in framings {
            let became = abi.play(&message, *framing, None)?;
            played += 1;
            let status = became["reply"][0].as_u64();
            let is_right = match &case.expect {
                Expect::Passes => became["forwarded"] == true && status.is_none(),
                Expect::Denied => became["forwarded"] == false && status == Some(200),
                Expect::Refused { status: wanted, .. } => {
                    became["forwarded"] == false && status == Some(u64::from(*wanted))
                }
                Expect::Stopped | Expect::Envoy { .. } => became["forwarded"] == false && status.is_some(),
            };
            if !is_right || became["forwarded_early"] == true || !became["trap"].is_null() {
                wrong.push(format!(
                    "{}/{} {framing:?}: expected {:?}, became {became}",
                    case.file, case.name, case.expect
                ));
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played >= 600, "only {played} requests were played");
    Ok(())
}

#[test]
fn host_call_that_fails_kills_no_vm_and_lets_nothing_unjudged_through() -> anyhow::Result<()> {
    let mut abi = Abi::start()?;
    let cases = corpus::cases()?;
    let message = |name: &str| cases.iter().find(|case| case.name == name).and_then(corpus::Case::message);
    let allowed = message("allowed-call").context("the case of an allowed call")?;
    let denied = message("plain-denied-call").context("the case of a denied call")?;
    let mut calls: Vec<String> = Vec::new();
    for message in [&allowed, &denied] {
        let became = abi.play(message, Framing::Pieces, None)?;
        calls.extend(
            became["calls"].as_array().into_iter().flatten().filter_map(|call| call.as_str().map(str::to_owned)),
        );
    }
    calls.sort();
    calls.dedup();
    assert!(calls.len() >= 8 && calls.iter().any(|call| call == "proxy_log"), "{calls:?}");
    let mut wrong = Vec::new();
    for call in &calls {
        for status in FAULTS {
            let fault = Some((call.as_str(), *status));
            let ran = abi.play(&allowed, Framing::Pieces, fault)?;
            let refused = abi.play(&denied, Framing::Pieces, fault)?;
            let is_alive = ran["trap"].is_null() && refused["trap"].is_null();
            let is_closed = refused["forwarded"] == false && refused["forwarded_early"] == false;
            let is_judged = !NEEDED_TO_FORWARD.contains(&call.as_str()) || ran["forwarded"] == false;
            if !(is_alive && is_closed && is_judged && ran["forwarded_early"] == false) {
                wrong.push(format!("{call} answers {status}: allowed {ran}, denied {refused}"));
            }
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}
