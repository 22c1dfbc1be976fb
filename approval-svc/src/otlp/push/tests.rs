//! What a collector is sent and how often, what it is never sent, and what becomes of what it does not take.

use std::collections::BTreeMap;

use holdpoint_core::audit::payload::{Part, Payload, Salt};
use holdpoint_core::audit::{AuditEntry, EntryKind, Outcome};
use holdpoint_core::decision::{AuditLevel, Verdict};
use holdpoint_tests::upstream::{Answer, Received, Upstream};

use super::*;
use crate::store::contract::{self, Bench};

const KEY: &str = "Bearer the-collectors-key";

struct Desk {
    bench: Bench,
    collector: Upstream,
    metrics: Arc<Metrics>,
    push: Push,
    stop: watch::Sender<bool>,
    gathered: Option<(u64, Gatherer)>,
}

impl Desk {
    /// A record that a collector is told from its next entry on.
    async fn open() -> Self {
        let bench = contract::open().await;
        let collector = Upstream::start().await.unwrap();
        let metrics = Arc::new(Metrics::default());
        let push = push(&bench, &collector, &metrics);
        let mut desk = Self { bench, collector, metrics, push, stop: watch::channel(false).0, gathered: None };
        desk.answer(|_| (200, "{}"));
        desk.send().await;
        assert_eq!(desk.collector.count(), 0, "there is nothing yet");
        desk
    }

    fn answer(&self, script: impl Fn(usize) -> (u16, &'static str) + Send + Sync + 'static) {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        self.collector.answer_with(move |_| {
            let (status, body) = script(asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
            (Duration::ZERO, Answer::Json { status, body: body.to_owned() }.header("retry-after", "0"))
        });
    }

    async fn record(&self, entries: Vec<AuditEntry>) {
        self.bench.store.commit(Change { writes: Vec::new(), entries }).await.unwrap();
    }

    async fn send(&mut self) {
        let mut stopping = self.stop.subscribe();
        self.push.send_all(&mut self.gathered, &mut stopping).await.unwrap();
    }

    /// The service ends and another one begins.
    fn restart(&mut self) {
        self.push = push(&self.bench, &self.collector, &self.metrics);
        (self.stop, self.gathered) = (watch::channel(false).0, None);
    }

    fn told(&self, path: &str) -> Vec<Received> {
        self.collector.received().into_iter().filter(|request| request.path == path).collect()
    }

    /// Which entries it was told of, in order.
    fn seqs(&self) -> Vec<u64> {
        let records = self.told("/v1/logs").into_iter().flat_map(|request| {
            let body = request.json();
            body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().cloned().unwrap_or_default()
        });
        let seq =
            |record: Value| record["attributes"][0]["value"]["intValue"].as_str().and_then(|seq| seq.parse().ok());
        records.filter_map(seq).collect()
    }

    fn counted(&self, signal: &str, result: &str) -> u64 {
        let text = self.metrics.text(&BTreeMap::new(), 0, &[], 0).unwrap();
        let name = format!("otlp_records_total{{signal=\"{signal}\",result=\"{result}\"}} ");
        let line = text.lines().find_map(|line| line.split_once(&name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.1.parse().unwrap()
    }
}

fn push(bench: &Bench, collector: &Upstream, metrics: &Arc<Metrics>) -> Push {
    let file = bench.dir.join("headers");
    std::fs::write(&file, format!("authorization: {KEY}\n")).unwrap();
    let settings = OtlpSettings::new(&format!("http://127.0.0.1:{}", collector.port()), Some(&file)).unwrap();
    let requests = RequestSpans::new(Arc::clone(metrics));
    Push::new(settings, Arc::clone(&bench.store), requests, Arc::clone(metrics)).unwrap()
}

fn entries(count: u64) -> Vec<AuditEntry> {
    (0..count).map(|at| AuditEntry::new(EntryKind::TokenChanged, at)).collect()
}

#[tokio::test]
async fn arguments_are_never_sent_though_they_are_kept_and_the_key_is_shown_to_the_collector_alone() {
    let mut desk = Desk::open().await;
    let mut call = AuditEntry::new(EntryKind::Decision, 1);
    (call.method, call.verdict) = (Some("tools/call".to_owned()), Some(Verdict::Allow));
    call.outcome = Some(Outcome::Committed);
    let mut payload = Payload::new(Salt::new([7; 16]));
    call.arguments = payload.keep(Part::Arguments, AuditLevel::Full, r#"{"note":"hunter2"}"#);
    call.result = payload.keep(Part::Result, AuditLevel::Full, r#"{"said":"hunter3"}"#);
    let digest = call.arguments.as_ref().unwrap().digest.unwrap().to_string();
    call.payload = Some(Box::new(payload));
    desk.record(vec![call]).await;
    desk.send().await;
    let told = desk.collector.received();
    assert_eq!(told.iter().map(|one| one.path.as_str()).collect::<Vec<_>>(), ["/v1/traces", "/v1/logs"]);
    for request in &told {
        assert_eq!(request.header("authorization"), Some(KEY));
        let body = request.json().to_string();
        assert!(!body.contains("hunter") && !body.contains("0707"), "{body}");
    }
    assert!(told[1].json().to_string().contains(&digest), "by its digest");
    let shown = format!("{:?}", desk.push.settings);
    assert!(!shown.contains("collectors-key"), "{shown}");
}

#[tokio::test]
async fn what_the_collector_cannot_take_now_is_sent_again_until_it_does_and_then_no_more() {
    let mut desk = Desk::open().await;
    desk.answer(|asked| ([429, 502, 503, 504, 200][asked.min(4)], "{}"));
    desk.record(entries(3)).await;
    desk.send().await;
    desk.send().await;
    assert_eq!(desk.seqs(), [0, 1, 2].repeat(5));
    assert_eq!((desk.counted("logs", "tried_again"), desk.counted("logs", "sent")), (4, 3));
    assert_eq!(desk.counted("logs", "dropped"), 0);
    desk.restart();
    desk.send().await;
    assert_eq!(desk.seqs().len(), 15, "nor after a restart");
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_what_comes_after_it_is_sent() {
    let mut desk = Desk::open().await;
    let partly = r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}"#;
    desk.answer(move |asked| [(400, "no"), (200, partly), (200, "{}")][asked.min(2)]);
    for count in [3, 5, 1] {
        desk.record(entries(count)).await;
        desk.send().await;
    }
    assert_eq!(desk.seqs(), (0..9).collect::<Vec<_>>());
    assert_eq!((desk.counted("logs", "sent"), desk.counted("logs", "dropped")), (3 + 1, 3 + 2));
    assert_eq!(rejected(br#"{"partialSuccess":{"rejectedSpans":7}}"#), 7);
}

#[tokio::test]
async fn nothing_is_sent_where_the_collector_points_to() {
    let mut desk = Desk::open().await;
    let elsewhere = Upstream::start().await.unwrap();
    let location = format!("http://127.0.0.1:{}/v1/logs", elsewhere.port());
    desk.collector.answer_with(move |_| {
        let answer = Answer::Json { status: 307, body: String::new() }.header("location", &location);
        (Duration::ZERO, answer)
    });
    desk.record(entries(1)).await;
    desk.send().await;
    assert_eq!((elsewhere.count(), desk.counted("logs", "dropped")), (0, 1));
}

#[tokio::test]
async fn service_that_stops_before_the_collector_has_taken_it_sends_it_again_when_it_runs() {
    let mut desk = Desk::open().await;
    desk.answer(|_| (503, "later"));
    desk.record(entries(2)).await;
    desk.stop.send_replace(true);
    desk.send().await;
    desk.restart();
    desk.answer(|_| (200, "{}"));
    desk.record(entries(1)).await;
    desk.send().await;
    assert_eq!(desk.seqs(), [0, 1, 0, 1, 2]);
}

#[tokio::test]
async fn call_that_was_under_way_at_a_restart_is_one_span_from_its_beginning() {
    let mut desk = Desk::open().await;
    let of_call = |kind, at_ms| AuditEntry {
        method: Some("tools/call".to_owned()),
        verdict: Some(Verdict::Allow),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        span_id: Some("00f067aa0ba902b7".to_owned()),
        source: Some("edge/1".to_owned()),
        ..AuditEntry::new(kind, at_ms)
    };
    desk.record(vec![of_call(EntryKind::Decision, 10)]).await;
    desk.send().await;
    assert_eq!(desk.told("/v1/traces").len(), 0, "it is not over");
    desk.restart();
    let outcome = AuditEntry { outcome: Some(Outcome::Committed), ..of_call(EntryKind::Outcome, 90) };
    desk.record(vec![outcome]).await;
    desk.send().await;
    let spans = desk.told("/v1/traces")[0].json();
    let span = &spans["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["kind"], &span["startTimeUnixNano"]), (&2.into(), &"10000000".into()), "{spans}");
}

#[tokio::test]
async fn of_too_long_a_backlog_the_oldest_are_given_up_and_counted() {
    let mut desk = Desk::open().await;
    desk.push.backlog_max = 4;
    desk.record(entries(10)).await;
    desk.send().await;
    assert_eq!(desk.seqs(), [6, 7, 8, 9]);
    assert_eq!((desk.counted("logs", "dropped"), desk.counted("logs", "sent")), (6, 4));
}

#[test]
fn collector_says_how_long_to_wait_though_not_for_ever() {
    let second = Duration::from_secs(1);
    assert_eq!(wait_before(second, None), second);
    assert_eq!(wait_before(second, Some(second * 7)), second * 7);
    assert_eq!(wait_before(second, Some(second * 86_400)), PAUSE_MAX);
}

#[test]
fn address_with_a_secret_is_refused_and_headers_that_cannot_be_read_are_not_repeated() {
    for address in ["http://user:secret@collector:4318", "ftp://collector", "collector:4318", "http://collector/?key=1"]
    {
        assert!(OtlpSettings::new(address, None).is_err(), "{address}");
    }
    let dir = contract::scratch_dir();
    let file = dir.join("headers");
    for text in ["a-secret without a name", "bad name: a-secret", "name: a-secret\u{7f}"] {
        std::fs::write(&file, text).unwrap();
        let error = format!("{:#}", OtlpSettings::new("http://collector:4318", Some(&file)).unwrap_err());
        assert!(error.contains("headers:1: no `name: value`") && !error.contains("a-secret"), "{error}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}
