//! The corpus of lies as data: `tests/corpus/*.yaml` → cases, each as the exact bytes of one request. Near side of step 1.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use holdpoint_core::yaml;
use serde::Deserialize;

use crate::repository;

/// The files, in the order of the table.
const FILES: &[&str] = &["honest", "json", "keys", "messages", "headers", "framing"];

/// One request, why it is dangerous, and what must become of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file it stands in, without its ending.
    pub file: &'static str,
    /// Unique in the corpus.
    pub name: String,
    /// Who reads it how, in one sentence.
    pub why: String,
    /// What must become of it.
    pub expect: Expect,
    /// The request line.
    pub line: String,
    /// Header lines as bytes, without their line ends; no length among them unless the case itself says one.
    pub header_lines: Vec<Vec<u8>>,
    /// The bytes after the head. With [`Framing::Chunked`] not yet in chunks.
    pub body: Vec<u8>,
    /// How the end of the body is told.
    pub framing: Framing,
    /// The client closes its side after the last byte.
    pub closes: bool,
    /// How many answers come back for it.
    pub answers: usize,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framing {
    /// By its true length.
    Length,
    /// In chunks of one byte.
    Chunked,
    /// By what the case itself says, true or not.
    None,
}

/// What must become of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// It reaches the server, byte for byte.
    Passes,
    /// It is read, and the policy says no.
    Denied,
    /// It is not read: the wall it runs into, and the HTTP status of the answer.
    Refused { kind: String, status: u16 },
    /// Envoy itself refuses it with this status; the filter never sees it.
    Envoy { status: u16 },
    /// It does not reach the server; how it is stopped is not laid down here.
    Stopped,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    why: String,
    expect: String,
    #[serde(default = "post")]
    line: String,
    #[serde(default)]
    drop: Vec<String>,
    #[serde(default)]
    add: Vec<String>,
    body: String,
    #[serde(default = "by_length")]
    framing: Framing,
    #[serde(default)]
    close: bool,
    #[serde(default = "one")]
    answers: usize,
}

fn post() -> String {
    "POST /mcp HTTP/1.1".to_owned()
}

fn by_length() -> Framing {
    Framing::Length
}

fn one() -> usize {
    1
}

/// Header lines that every case has unless it drops them by name.
const HEADER_LINES: &[&str] =
    &["host: 127.0.0.1", "content-type: application/json", "accept: application/json, text/event-stream"];

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;

/// Every case, in the order of the table.
pub fn cases() -> anyhow::Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    for file in FILES {
        let path = format!("tests/corpus/{file}.yaml");
        let text = repository::text(&path)?;
        let document = yaml::read(&text, &yaml::Limits::default()).map_err(|problems| {
            anyhow::anyhow!("{path}:{}", problems.first().map(ToString::to_string).unwrap_or_default())
        })?;
        let written: Vec<Written> =
            serde_json::from_value(yaml::to_json(&document)).with_context(|| format!("cannot read `{path}`"))?;
        for case in written {
            let name = case.name.clone();
            let case = Case::read(file, case).with_context(|| format!("`{path}`: case `{name}`"))?;
            if cases.iter().any(|other| other.name == case.name) {
                bail!("`{path}`: two cases are named `{name}`");
            }
            cases.push(case);
        }
    }
    Ok(cases)
}

impl Case {
    fn read(file: &'static str, written: Written) -> anyhow::Result<Self> {
        let mut header_lines = Vec::new();
        for line in HEADER_LINES {
            let name = line.split(':').next().unwrap_or_default();
            if !written.drop.iter().any(|dropped| dropped == name) {
                header_lines.push(line.as_bytes().to_vec());
            }
        }
        for line in &written.add {
            header_lines.push(bytes(line)?);
        }
        let call = |tool: &str, meta: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"{meta}}}}}"#)
                .into_bytes()
        };
        let meta = format!(",{META}");
        let body = match written.body.as_str() {
            "@allowed" => call("list_issues", ""),
            "@denied" => call("delete_project", ""),
            "@allowed_modern" => call("list_issues", &meta),
            "@denied_modern" => call("delete_project", &meta),
            other => bytes(other)?,
        };
        Ok(Self {
            file,
            expect: Expect::read(&written.expect)?,
            name: written.name,
            why: written.why,
            line: written.line,
            header_lines,
            body,
            framing: written.framing,
            closes: written.close,
            answers: written.answers,
        })
    }

    /// The request as it goes over an HTTP/1.1 connection, with `bearer` as its token.
    pub fn http1(&self, bearer: &str) -> Vec<u8> {
        let mut out = self.line.clone().into_bytes();
        out.extend_from_slice(b"\r\n");
        for line in &self.header_lines {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(format!("authorization: Bearer {bearer}\r\n").as_bytes());
        match self.framing {
            Framing::Length => out.extend_from_slice(format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes()),
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
            Framing::None => out.extend_from_slice(b"\r\n"),
        }
        if self.framing == Framing::Chunked {
            for byte in &self.body {
                out.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
            }
            out.extend_from_slice(b"0\r\n\r\n");
        } else {
            out.extend_from_slice(&self.body);
        }
        out
    }

    /// The request as Envoy hands it to the filter, for cases whose framing is sound; nothing for the others.
    pub fn message(&self) -> Option<Message> {
        if self.framing == Framing::None || matches!(self.expect, Expect::Envoy { .. }) {
            return None;
        }
        let mut words = self.line.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        if words.next() != Some("HTTP/1.1") || words.next().is_some() || !path.starts_with('/') {
            return None;
        }
        let mut headers = Vec::new();
        for line in &self.header_lines {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            headers.push((name.to_ascii_lowercase(), value.get(1..)?.trim_ascii().to_vec()));
        }
        Some(Message { method: method.to_owned(), path: path.to_owned(), headers, body: self.body.clone() })
    }
}

/// A request without its framing.
#[derive(Debug, Clone)]
pub struct Message {
    /// The HTTP method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// Names in lower case, no pseudo headers.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Expect {
    fn read(text: &str) -> anyhow::Result<Self> {
        Ok(match text.split_once(' ') {
            None => match text {
                "passes" => Self::Passes,
                "denied" => Self::Denied,
                "stopped" => Self::Stopped,
                other => bail!("`expect: {other}` is none of passes, denied, stopped"),
            },
            Some(("envoy", status)) => Self::Envoy { status: status.parse()? },
            Some((kind, status)) => Self::Refused { kind: kind.to_owned(), status: status.parse()? },
        })
    }
}

/// The bytes that a text of the corpus stands for: `⟦c3 28⟧` is hexadecimal, `⟦3×ab⟧` repeats, `↵` is CR LF.
fn bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('⟦') {
        out.extend_from_slice(plain.replace('↵', "\r\n").as_bytes());
        let (inside, after) = after.split_once('⟧').context("`⟦` without `⟧`")?;
        match inside.split_once('×') {
            Some((count, repeated)) => out.extend(repeated.repeat(count.parse()?).into_bytes()),
            None => {
                let digits: String = inside.split_whitespace().collect();
                for at in (0..digits.len()).step_by(2) {
                    let pair = digits.get(at..at + 2).context("an odd number of hexadecimal digits")?;
                    out.push(u8::from_str_radix(pair, 16)?);
                }
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest.replace('↵', "\r\n").as_bytes());
    Ok(out)
}

/// Bytes as a line of text for a failing test, cut short.
pub fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(400) {
        match byte {
            0x20..=0x7e => text.push(char::from(*byte)),
            other => {
                let _ = write!(text, "\\x{other:02x}");
            }
        }
    }
    text
}
