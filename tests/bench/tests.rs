//! What the numbers rest on: ranks, medians, and knowing when an answer is whole.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;

use crate::calls::{self, Calls, Kind};
use crate::gateways::Variant;
use crate::holds::{Waiting, until_all_wait};
use crate::judge::{Frames, bytes_at};
use crate::load::{Answer, Load, Wire, whole};
use crate::picture::{Bar, Group, svg};
use crate::samples::{Cell, Sample, Samples, median, percentile};
use crate::workers::{self, Footprint};
use crate::{Settings, compare};

#[test]
fn percentile_is_the_nearest_rank() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!(percentile(&hundred, 500), 50);
    assert_eq!(percentile(&hundred, 990), 99);
    assert_eq!(percentile(&[7], 999), 7);
    assert_eq!(percentile(&[], 500), 0);
}

#[test]
fn median_of_an_even_number_is_the_mean_of_the_middle_two() {
    assert!((median(&[4.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
    assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
    assert!(median(&[]).is_nan());
}

#[test]
fn every_variant_comes_first_in_its_turn() {
    let firsts: Vec<_> = (0..11).filter_map(|round| Variant::in_turn(round).next()).collect();
    assert_eq!(firsts, Variant::ALL);
    assert_eq!(Variant::in_turn(2).count(), Variant::ALL.len());
}

#[test]
fn answer_is_whole_when_its_length_has_come() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    let answer = whole(bytes).expect("it is an answer");
    assert_eq!(answer, Some(Answer { status: 200, body: Bytes::from_static(b"done") }));
    for missing in 1..bytes.len() {
        assert_eq!(whole(&bytes[..bytes.len() - missing]).expect("it may become one"), None);
    }
    assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    assert!(whole(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").is_err());
}

#[test]
fn answer_in_chunks_is_whole_when_the_last_one_has_come() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
    let answer = whole(bytes).expect("it is an answer");
    assert_eq!(answer, Some(Answer { status: 200, body: Bytes::from_static(b"0\r\n\r\n0123456789") }));
    for missing in 1..bytes.len() {
        assert_eq!(whole(&bytes[..bytes.len() - missing]).expect("it may become one"), None, "{missing} missing");
    }
    assert!(whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n0\r\n\r\n").is_err());
}

#[test]
fn messages_of_grpc_are_whole_when_their_length_has_come() {
    let bytes = [0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, b'c'];
    let mut frames = Frames::default();
    let mut read = Vec::new();
    for byte in bytes {
        frames.push(&[byte]);
        while let Some(message) = frames.next() {
            read.push(message);
        }
    }
    assert_eq!(read, [&b"ab"[..], b"", b"c"]);
}

#[test]
fn text_in_a_message_is_found_by_the_numbers_of_its_fields() {
    // 1: a number; 2: {1: "no", 3: "ab"}; 2: {3: "last"}
    let message = [8, 150, 1, 18, 8, 10, 2, b'n', b'o', 26, 2, b'a', b'b', 18, 6, 26, 4, b'l', b'a', b's', b't'];
    let at = |bytes: &[u8], path: &[u32]| bytes_at(Bytes::copy_from_slice(bytes), path);
    assert_eq!(at(&message, &[2, 3]).as_deref(), Some(&b"last"[..]));
    assert_eq!(at(&message[..13], &[2, 3]).as_deref(), Some(&b"ab"[..]));
    assert_eq!(at(&message, &[2, 4]), None);
    assert_eq!(at(&message[..20], &[2, 3]), None, "a length beyond the end");
}

#[test]
fn cost_added_is_what_exceeds_the_variant_without_a_filter_on_both_sides() {
    let mut samples = Samples::default();
    let cell = |variant| Cell { kind: Kind::Small, wire: Wire::Http1, at_once: 16, variant };
    let load = || Load { latencies_ns: vec![1_000; 10], elapsed: Duration::from_secs(1) };
    for (none_ns, own_ns, beside_ns) in
        [(100_000, 400_000, 50_000), (200_000, 500_000, 70_000), (100_000, 450_000, 60_000)]
    {
        samples.add(cell(Variant::None), Sample::new(&load(), Some(none_ns), None, None));
        samples.add(cell(Variant::ExtProc), Sample::new(&load(), Some(own_ns), Some(beside_ns), None));
    }
    let added = samples.added_us(cell(Variant::ExtProc)).expect("both were measured");
    assert!((added.envoy_us - 35.0).abs() < 1e-9, "{added:?}");
    assert!((added.beside_us - 6.0).abs() < 1e-9, "{added:?}");
    let ratio = samples.ratio(cell(Variant::ExtProc), Variant::None, |sample| sample.envoy_cpu_us).expect("a ratio");
    assert!((ratio.median - 4.0).abs() < 1e-9 && (ratio.least - 2.5).abs() < 1e-9, "{ratio:?}");
    assert!(samples.added_us(cell(Variant::Native)).is_none());
}

#[test]
fn picture_has_a_bar_for_each_variant_as_long_as_its_cost() {
    let bar = |name, envoy_us, beside_us, ours| Bar { name, envoy_us, beside_us, ours };
    let bars =
        vec![bar("native", 20.0, 0.0, false), bar("ext <proc>", 60.0, 40.0, false), bar("ours", -1.0, 0.0, true)];
    let picture = svg(&[Group { title: "calls & lists".to_owned(), bars }], "one machine");
    let widths: Vec<f64> = picture
        .split("<rect class=\"")
        .filter(|rest| !rest.starts_with("back"))
        .filter_map(|rest| rest.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    let [native, _, envoy, beside, ours, _] = widths[..] else { panic!("{widths:?}") };
    assert!((native / (envoy + beside) - 0.2).abs() < 0.01, "{widths:?}");
    assert!((beside / envoy - 2.0 / 3.0).abs() < 0.01, "{widths:?}");
    assert!(ours.abs() < f64::EPSILON, "a cost below nothing has no length: {widths:?}");
    assert!(picture.contains("ext &lt;proc&gt;") && picture.contains("calls &amp; lists"), "{picture}");
    assert_eq!(svg(&[], "").matches("<rect").count(), 1);
}

#[test]
fn lists_have_what_nobody_may_call_and_say_how_much() {
    for kind in Kind::ALL {
        let answer = kind.answer();
        assert_eq!(kind.tools().is_some(), answer.contains("delete_thing_0"), "{}", kind.as_str());
        if let Some(count) = kind.tools() {
            assert_eq!(answer.matches(r#""list_thing_"#).count(), calls::visible(count));
        }
    }
}

#[test]
fn callers_who_take_turns_differ_in_token_tool_and_arguments_and_in_nothing_else() {
    const CALLS: usize = 3_000;
    let tokens: Vec<String> = (0..1_000).map(|number| format!("token-{number:03}.")).collect();
    let calls = Calls::new("alone", &tokens).expect("calls");
    let script = calls.allowed(Kind::Callers);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let word = |message: &str, before: &str| {
        message.split(before).nth(1).and_then(|rest| rest.split(['"', '\r']).next()).expect("the word").to_owned()
    };
    let (mut pairs, mut projects, mut sizes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for number in 0..CALLS {
        let message = text(&script.http1());
        assert_eq!(word(&message, "Bearer "), tokens[number % tokens.len()], "all others call before one comes again");
        pairs.insert((word(&message, "Bearer "), word(&message, r#""name":""#)));
        projects.insert(word(&message, r#""project":""#));
        sizes.insert(message.split("\r\n\r\n").nth(1).expect("a body").len());
    }
    assert_eq!((pairs.len(), projects.len()), (CALLS, CALLS), "never the same");
    assert_eq!(sizes, BTreeSet::from([calls::body_bytes(Kind::Small).0]), "as long as the call that is repeated");
    let same = calls.allowed(Kind::Small);
    assert_eq!(same.http1(), same.http1());
}

#[test]
fn callers_who_take_turns_are_measured_beside_none_and_native() {
    let variants: Vec<&str> =
        Variant::in_turn(0).filter(|variant| variant.is_measured(Kind::Callers)).map(Variant::as_str).collect();
    assert_eq!(variants, ["direct", "none", "native", "wasm, nothing judged", "holdpoint"]);
    assert!(Variant::ALL.into_iter().all(|variant| variant.is_measured(Kind::Small)));
}

#[tokio::test]
async fn wait_for_all_calls_ends_with_the_error_of_one() {
    let waits_for = async |call: anyhow::Result<()>| {
        let mut waiting = Waiting::new();
        waiting.spawn(std::future::pending());
        waiting.spawn(std::future::ready(call));
        until_all_wait(&mut waiting, std::future::pending()).await.expect_err("nobody counts").to_string()
    };
    assert_eq!(waits_for(Err(anyhow::anyhow!("call 7 was answered with 503"))).await, "call 7 was answered with 503");
    assert_eq!(waits_for(Ok(())).await, "a call was answered before anybody had decided");
    let mut waiting = Waiting::new();
    waiting.spawn(std::future::pending());
    until_all_wait(&mut waiting, std::future::ready(Ok(()))).await.expect("all are counted");
}

#[test]
fn settings_choose_kinds_of_calls_by_their_first_words() {
    let plan = |words: &[&str]| {
        let words = ["cargo bench-mesh"].iter().chain(words);
        Settings::try_parse_from(words).map(|settings| settings.plan())
    };
    assert_eq!(plan(&[]).expect("no settings are needed").len(), 12);
    let lists = plan(&["--only", "list of 100 ,huge", "--full"]).expect("kinds of calls");
    assert!(lists.iter().all(|(kind, _, _)| matches!(kind, Kind::Tools100 | Kind::Huge)), "{lists:?}");
    assert!(lists.contains(&(Kind::Tools100, Wire::Http2, 64)) && !lists.contains(&(Kind::Huge, Wire::Http1, 64)));
    assert!(plan(&["--only", "tiny"]).expect("any word").is_empty());
    assert!(plan(&["--seconds", "0"]).is_err() && plan(&["--quick", "--rounds", "3"]).is_err());
}

#[test]
fn comparison_has_a_row_for_each_cell_that_both_runs_have() {
    let run = |variant: &str, calls_per_s: f64| {
        serde_json::json!({"cells": [{"call": "small", "wire": "HTTP/2", "at_once": 16, "variant": variant,
            "median": {"calls_per_s": calls_per_s, "envoy_cpu_us": 10.0, "p50_us": 1e6 / calls_per_s, "p99_us": 9.0},
            "against_none": {"calls_per_s": {"median": 0.5}}}],
            "module_bytes": calls_per_s, "load_ms": {variant: 7.0}, "rss_loaded_bytes": {variant: calls_per_s * 1e6}})
    };
    let table = compare::markdown(&run("native", 100.0), &run("native", 150.0));
    let row = "| small | HTTP/2 | 16 | native | 10000 → 6667 | 9 → 9 | 100 → 150 | 1.50 | 10.0 → 10.0 | 0.50 → 0.50 |";
    assert!(table.contains(row), "{table}");
    assert!(table.contains("Module, bytes: 100 → 150.") && table.contains("| native | 7 → 7 | 100 → 150 |"), "{table}");
    let none = compare::markdown(&run("native", 1.0), &run("none", 1.0));
    assert!(!none.contains("| small |") && none.contains("| none | – | – |"), "{none}");
}

#[test]
fn what_a_worker_takes_is_shown_beside_an_envoy_without_the_filter() {
    let known =
        Footprint { workers: 2, none_bytes: Some(64_000_000), holdpoint_bytes: Some(139_500_000), vm_bytes: 1_310_720 };
    let unknown = Footprint { workers: 4, none_bytes: None, holdpoint_bytes: None, vm_bytes: 1_310_720 };
    let table = workers::markdown(&[known, unknown]);
    let rows: Vec<&str> = table.lines().skip(2).collect();
    assert_eq!(rows, ["| 2 | 64.0 | 139.5 | 75.5 | 1.3 |", "| 4 | – | – | – | 1.3 |"]);
}
