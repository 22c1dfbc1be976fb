//! A session is its own principal's: its stream, its messages and its end.

use super::*;

const ID: &str = "s-1";

pub(super) fn by(method: &str, subject: &str, more: &[(&str, &str)]) -> RequestHead {
    let mut head = head(subject, more);
    head.headers[0].1 = method.as_bytes().to_vec();
    if method != "POST" {
        head.headers.retain(|(name, _)| name != b"content-type");
    }
    head
}

impl Bench {
    /// A request by HTTP alone.
    fn bodiless(&mut self, method: &str, subject: &str, more: &[(&str, &str)]) -> Did {
        let mut exchange = self.exchange();
        self.give(&mut exchange, HostEvent::RequestHead(by(method, subject, more)));
        self.give(&mut exchange, HostEvent::RequestComplete { body: Vec::new(), has_trailers: false })
    }

    /// `subject` initializes and is given [`ID`].
    pub(super) fn initialize(&mut self, subject: &str) {
        let mut exchange = self.exchange();
        let body =
            json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}});
        self.give(&mut exchange, HostEvent::RequestHead(head(subject, &[])));
        let body = body.to_string().into_bytes();
        let did = self.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        assert!(did.forwards());
        let given = Some(Digest::of(ID.as_bytes()));
        let answer = ResponseHead { status: 200, mcp_session: given, ..ResponseHead::default() };
        self.give(&mut exchange, HostEvent::ResponseHead(answer));
    }
}

pub(super) const SESSION: (&str, &str) = ("mcp-session-id", ID);
pub(super) const VERSION: (&str, &str) = ("mcp-protocol-version", "2025-11-25");

#[test]
fn stream_and_end_of_a_session_pass_for_whom_it_was_given_and_for_nobody_else() {
    let mut bench = Bench::new();
    for method in ["GET", "DELETE"] {
        assert_eq!(bench.bodiless(method, "alice", &[SESSION, VERSION]).reply().status, 404, "before it is given");
    }
    bench.initialize("alice");
    for method in ["GET", "DELETE"] {
        assert!(bench.bodiless(method, "alice", &[SESSION, VERSION]).forwards(), "{method}");
        let did = bench.bodiless(method, "mallory", &[SESSION, VERSION]);
        assert_eq!((did.reply().status, did.forwards()), (404, false), "{method}");
        assert_eq!(did.entries()[0].detail.as_deref(), Some("a session that this principal was not given"));
    }
    let resumed = bench.bodiless("GET", "mallory", &[SESSION, VERSION, ("last-event-id", "1")]);
    assert_eq!(resumed.reply().status, 404);
}

#[test]
fn messages_of_a_session_pass_for_whom_it_was_given_and_for_nobody_else() {
    let mut bench = Bench::new();
    bench.initialize("alice");
    for (subject, passes) in [("alice", true), ("mallory", false)] {
        let mut exchange = bench.exchange();
        bench.give(&mut exchange, HostEvent::RequestHead(head(subject, &[SESSION])));
        let body = call("list_issues").into_bytes();
        let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        assert_eq!(did.forwards(), passes, "{subject}");
        if !passes {
            assert_eq!((did.reply().status, did.reply_json()["id"].as_i64()), (404, Some(7)));
        }
    }
}

#[test]
fn stream_is_not_cut_by_the_routes_timeout_and_repeats_no_message() {
    let mut bench = Bench::new();
    bench.initialize("alice");
    let stale = ("mcp-method", "server/discover");
    let did = bench.bodiless("GET", "alice", &[SESSION, ("mcp-protocol-version", "2026-07-28"), stale]);
    let edits = &did.forward().edits;
    assert!(edits.contains(&HeaderEdit::Set("x-envoy-upstream-rq-timeout-ms", "0".to_owned())), "{edits:?}");
    assert!(edits.contains(&HeaderEdit::Remove("mcp-method".to_owned())), "{edits:?}");
}

#[test]
fn stream_or_end_that_no_session_stands_behind_is_refused() {
    let mut bench = Bench::new();
    for (method, more, status) in [
        ("GET", &[][..], 405),
        ("GET", &[("mcp-protocol-version", "2026-07-28")], 405),
        ("DELETE", &[("mcp-protocol-version", "2026-07-28")], 405),
        ("DELETE", &[], 400),
    ] {
        let did = bench.bodiless(method, "alice", more);
        assert_eq!((did.reply().status, did.forwards()), (status, false), "{method} {more:?}");
    }
    let mut exchange = bench.exchange();
    bench.initialize("alice");
    bench.give(&mut exchange, HostEvent::RequestHead(by("GET", "alice", &[SESSION])));
    let body = call("delete_project").into_bytes();
    let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
    assert_eq!((did.reply().status, did.forwards()), (400, false), "a GET with a body");
}

#[test]
fn cancellation_names_the_held_call_to_the_service() {
    let mut bench = Bench::new();
    let (_, did) = bench.hold();
    let open: OpenApproval = did.asked_record();
    let cancel = |bench: &mut Bench, subject: &str, id: Value| {
        let mut exchange = bench.exchange();
        bench.give(&mut exchange, HostEvent::RequestHead(head(subject, &[])));
        let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        let body = body.to_string().into_bytes();
        let did = bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false });
        assert!(did.forwards(), "whether it runs at the server is the server's to know");
        let told = did.told();
        let [told] = told[..] else { panic!("{:?}", did.0) };
        assert_eq!(told.path, "/v1/cancellations");
        serde_json::from_slice::<CancelHolds>(&told.body).expect("a record").cancel_key
    };
    assert_eq!(Some(cancel(&mut bench, "alice", json!(7))), open.cancel_key);
    for (subject, id) in [("alice", json!("7")), ("alice", json!(8)), ("mallory", json!(7))] {
        assert_ne!(Some(cancel(&mut bench, subject, id)), open.cancel_key);
    }
}

#[test]
fn entries_name_revision_and_session_and_do_not_hold_its_id() {
    let mut bench = Bench::new();
    bench.initialize("alice");
    let mut exchange = bench.exchange();
    bench.give(&mut exchange, HostEvent::RequestHead(head("alice", &[SESSION, VERSION])));
    let body = call("list_issues").into_bytes();
    assert!(bench.give(&mut exchange, HostEvent::RequestComplete { body, has_trailers: false }).forwards());
    let did = bench.give(&mut exchange, HostEvent::Closed);
    let [entry] = did.entries()[..] else { panic!("one entry: {:?}", did.0) };
    assert_eq!(entry.protocol_version.as_deref(), Some("2025-11-25"));
    assert_eq!(entry.mcp_session, Some(Digest::of(ID.as_bytes())));
    assert!(!serde_json::to_string(entry).expect("JSON").contains("\"s-1\""));
}
