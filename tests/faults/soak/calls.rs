//! What agents ask and how, and what they saw of it. Each call is known by its number on every side: in its title, as its
//! JSON-RPC id, and as its W3C trace.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdpoint_tests::client::{HttpAnswer, HttpCall};
use holdpoint_tests::upstream::{Answer, Received};
use serde_json::{Value, json};

use super::{Ground, dice::Dice};

/// Longer than anything may take.
const PATIENCE: Duration = Duration::from_secs(50);
/// Set in the traces of messages that are no calls, but about one.
const BESIDE: u64 = 1 << 60;
/// How long an agent waits whose connection broke: there may be nobody to call.
const AFTER_BREAK: Duration = Duration::from_millis(500);
/// What no client may ever read.
pub(super) const SECRET: &str = "sk-live-4242";

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// A read that is allowed.
    Read,
    /// The same, answered by a stream of events.
    Stream,
    /// A read whose answer has something to be taken out.
    Secret,
    /// The list of tools.
    List,
    /// A write that waits for people.
    Write,
    /// A write whose server breaks off when it has it.
    BreaksOff,
    /// What nobody may.
    Never,
}

impl Ask {
    fn tool(self) -> &'static str {
        match self {
            Self::Read => "list_issues",
            Self::Stream => "watch_issue",
            Self::Secret => "show_secret",
            Self::List => "",
            Self::Write | Self::BreaksOff => "create_issue",
            Self::Never => "delete_project",
        }
    }

    /// Whether people decide about it.
    pub(super) fn is_held(self) -> bool {
        match self {
            Self::Write | Self::BreaksOff => true,
            Self::Read | Self::Stream | Self::Secret | Self::List | Self::Never => false,
        }
    }
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Manner {
    /// Waits for its answer.
    Patient,
    /// Leaves after a while.
    Leaves(Duration),
    /// Sends its body in pieces with pauses.
    Dawdles(Duration),
    /// Cancels by a notification after a while, and waits.
    Cancels(Duration),
}

/// What a client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// A result that looks like success.
    Result,
    /// A refusal, with its sentence.
    Refused(String),
    /// The connection broke.
    Broken,
    /// Nothing: it had left.
    Left,
}

/// One call from its client's side. Times are since the soak began.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) number: u64,
    pub(super) ask: Ask,
    pub(super) manner: Manner,
    pub(super) seen: Seen,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// The answer, of which nothing must be readable that is not for clients.
    pub(super) leaked: bool,
}

/// One agent with its token.
pub(super) struct Agent {
    number: u64,
    token: String,
    dice: Dice,
}

impl Agent {
    pub(super) fn new(number: u64, token: String, dice: Dice) -> Self {
        Self { number, token, dice }
    }

    /// Calls until the soak is over.
    pub(super) async fn work(mut self, ground: Arc<Ground>) -> Vec<Called> {
        let mut called = Vec::new();
        while !ground.over.load(Ordering::Relaxed) {
            let number = (self.number + 1) * 10_000_000 + u64::try_from(called.len()).unwrap_or(u64::MAX);
            let one = self.call(number, &ground).await;
            if one.seen == Seen::Broken {
                tokio::time::sleep(AFTER_BREAK).await;
            }
            called.push(one);
            // What an agent thinks about between two calls.
            tokio::time::sleep(self.dice.between_ms(50, 250)).await;
        }
        called
    }

    async fn call(&mut self, number: u64, ground: &Ground) -> Called {
        let ask = self.dice.choose(&[
            (30, Ask::Read),
            (15, Ask::Stream),
            (10, Ask::Secret),
            (8, Ask::List),
            (25, Ask::Write),
            (2, Ask::BreaksOff),
            (10, Ask::Never),
        ]);
        let wait = self.dice.between_ms(0, 1_500);
        let mut manner = self.dice.choose(&[
            (80, Manner::Patient),
            (10, Manner::Leaves(wait)),
            (7, Manner::Dawdles(wait / 20)),
            (3, Manner::Cancels(wait)),
        ]);
        // What runs at once is over before it could be cancelled.
        if !ask.is_held() && matches!(manner, Manner::Cancels(_)) {
            manner = Manner::Patient;
        }
        let began = ground.began.elapsed();
        let (seen, text) = self.ask(number, ask, manner, ground.port.load(Ordering::Relaxed)).await;
        let leaked = text.contains(SECRET) || (ask == Ask::List && text.contains("delete_project"));
        Called { number, ask, manner, seen, began, ended: ground.began.elapsed(), leaked }
    }

    async fn ask(&self, number: u64, ask: Ask, manner: Manner, port: u16) -> (Seen, String) {
        let call = self.message(number, &message(number, ask));
        let call = match manner {
            Manner::Dawdles(pause) => call.in_pieces(24, pause),
            Manner::Patient | Manner::Leaves(_) | Manner::Cancels(_) => call,
        };
        let Ok(running) = call.begin(port).await else { return (Seen::Broken, String::new()) };
        match manner {
            Manner::Leaves(after) => {
                tokio::time::sleep(after).await;
                if !running.is_answered() {
                    running.abandon();
                    return (Seen::Left, String::new());
                }
            }
            Manner::Cancels(after) => {
                tokio::time::sleep(after).await;
                let cancel =
                    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}});
                // It may come too late, or while Envoy is away.
                let _ = self.message(number | BESIDE, &cancel).send(port).await;
            }
            Manner::Patient | Manner::Dawdles(_) => {}
        }
        match tokio::time::timeout(PATIENCE, running.answer()).await {
            Ok(Ok(answer)) => (seen(&answer, ask), answer.text()),
            Ok(Err(_)) => (Seen::Broken, String::new()),
            Err(_) => (Seen::Refused("(no answer)".to_owned()), String::new()),
        }
    }

    fn message(&self, number: u64, body: &Value) -> HttpCall {
        HttpCall::post(body.to_string())
            .header("mcp-protocol-version", "2025-11-25")
            .header("traceparent", format!("00-{number:032x}-{number:016x}-01"))
            .bearer(&self.token)
    }
}

fn message(number: u64, ask: Ask) -> Value {
    match ask {
        Ask::List => json!({"jsonrpc": "2.0", "id": number, "method": "tools/list", "params": {}}),
        Ask::Read | Ask::Stream | Ask::Secret | Ask::Write | Ask::BreaksOff | Ask::Never => {
            let arguments = json!({"title": number, "breaks_off": ask == Ask::BreaksOff});
            json!({"jsonrpc": "2.0", "id": number, "method": "tools/call",
                "params": {"name": ask.tool(), "arguments": arguments}})
        }
    }
}

fn seen(answer: &HttpAnswer, ask: Ask) -> Seen {
    let message = answer.json();
    let succeeded = match ask {
        Ask::List => message["result"]["tools"].is_array(),
        Ask::Read | Ask::Stream | Ask::Secret | Ask::Write | Ask::BreaksOff | Ask::Never => {
            message["result"]["isError"] == false
        }
    };
    if answer.status == 200 && succeeded {
        return Seen::Result;
    }
    let sentence = message["result"]["content"][0]["text"].as_str().or(message["error"]["message"].as_str());
    Seen::Refused(sentence.map_or_else(|| format!("{} {}", answer.status, answer.text()), str::to_owned))
}

/// The number that a trace names.
pub(super) fn number_of(trace_id: &str) -> Option<u64> {
    u64::from_str_radix(trace_id, 16).ok()
}

/// The server: answers as soon as it is asked, but for writes, which take their time.
pub(super) fn answer(message: &Received) -> (Duration, Answer) {
    let asked = message.json();
    let arguments = &asked["params"]["arguments"];
    if asked["method"] == "tools/list" {
        let names = ["list_issues", "watch_issue", "show_secret", "create_issue", "delete_project"];
        let tools = names.map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
        let body = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"tools": tools}}).to_string();
        return (Duration::ZERO, Answer::Json { status: 200, body });
    }
    match asked["params"]["name"].as_str() {
        Some("watch_issue") => {
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "looking"}});
            let result = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": [{"type": "text", "text": "seen"}], "isError": false}});
            let event = |message: Value| format!("event: message\ndata: {message}\n\n");
            let events = vec![(Duration::ZERO, event(progress)), (Duration::from_millis(15), event(result))];
            (Duration::ZERO, Answer::Sse { events })
        }
        Some("show_secret") => (Duration::ZERO, Answer::tool_result(message, &format!("the key is {SECRET}"))),
        Some("create_issue") if arguments["breaks_off"] == true => (Duration::from_millis(5), Answer::Drop),
        Some("create_issue") => (Duration::from_millis(20), Answer::tool_result(message, "created")),
        Some(_) => (Duration::ZERO, Answer::tool_result(message, "listed")),
        None => (Duration::ZERO, Answer::Json { status: 202, body: String::new() }),
    }
}
