//! What the numbers rest on: ranks, medians, and knowing when an answer is whole.

use crate::compare;
use crate::gateways::Variant;
use crate::load::{Answer, whole};
use crate::samples::{median, percentile};

#[test]
fn percentile_is_the_nearest_rank() {
    let hundred: Vec<u64> = (1..=100).collect();
    assert_eq!(percentile(&hundred, 50), 50);
    assert_eq!(percentile(&hundred, 99), 99);
    assert_eq!(percentile(&[7], 99), 7);
    assert_eq!(percentile(&[], 50), 0);
}

#[test]
fn median_of_an_even_number_is_the_mean_of_the_middle_two() {
    assert!((median(&[4.0, 1.0, 3.0]) - 3.0).abs() < f64::EPSILON);
    assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
    assert!(median(&[]).is_nan());
}

#[test]
fn every_variant_comes_first_in_its_turn() {
    let firsts: Vec<_> = (0..5).filter_map(|round| Variant::in_turn(round).next()).collect();
    assert_eq!(firsts, Variant::ALL);
    assert_eq!(Variant::in_turn(2).count(), Variant::ALL.len());
}

#[test]
fn answer_is_whole_when_its_length_has_come() {
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    let answer = whole(bytes).expect("it is an answer");
    assert_eq!(answer, Some(Answer { status: 200, body: b"done".to_vec() }));
    for missing in 1..bytes.len() {
        assert_eq!(whole(&bytes[..bytes.len() - missing]).expect("it may become one"), None);
    }
    assert!(whole(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    assert!(whole(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab").is_err());
}

#[test]
fn comparison_has_a_row_for_each_cell_that_both_runs_have() {
    let run = |variant: &str, calls_per_s: f64| {
        serde_json::json!({"cells": [{"body": "small", "connections": 16, "variant": variant,
            "median": {"calls_per_s": calls_per_s, "envoy_cpu_us": 10.0},
            "against_none": {"calls_per_s": {"median": 0.5}}}]})
    };
    let table = compare::markdown(&run("native", 100.0), &run("native", 150.0));
    assert!(table.contains("| small | 16 | native | 100 → 150 | 1.50 | 10.0 → 10.0 | 0.50 → 0.50 |"), "{table}");
    assert_eq!(compare::markdown(&run("native", 1.0), &run("none", 1.0)).lines().count(), 2);
}
