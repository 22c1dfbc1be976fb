//! Reports of several workers, summed up; on both databases.

use holdpoint_core::candidate::CandidateSample;
use holdpoint_core::simulate::Change;

use super::*;
use crate::store::contract::{self, Bench, START_MS};
use crate::store::postgres;

fn id(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn differs(tool: &str, (today, then): (Verdict, Verdict), calls: u64, at_ms: u64) -> CandidateDifference {
    CandidateDifference {
        server: "tracker".to_owned(),
        method: "tools/call".to_owned(),
        tool: Some(tool.to_owned()),
        change: if then > today { Change::Tighter } else { Change::Looser },
        verdict: today,
        rule_id: "today".to_owned(),
        candidate_verdict: then,
        candidate_rule_id: "then".to_owned(),
        calls,
        sample: CandidateSample { call_digest: Some(id(tool)), at_ms },
    }
}

fn report(source: &str, candidate: &str, compared: u64, differences: Vec<CandidateDifference>) -> CandidateReport {
    CandidateReport {
        gateway: source.split('/').next().unwrap_or_default().to_owned(),
        source: source.to_owned(),
        plugin: "holdpoint".to_owned(),
        snapshot_id: id("in force"),
        candidate_id: id(candidate),
        since_ms: START_MS,
        until_ms: START_MS + compared,
        compared,
        unlisted: 0,
        differences,
    }
}

const DENIES: (Verdict, Verdict) = (Verdict::Allow, Verdict::Deny);
const FREES: (Verdict, Verdict) = (Verdict::RequireApproval, Verdict::Allow);

#[tokio::test]
async fn workers_are_summed_up_each_by_its_latest_report() {
    let mut benches = vec![contract::open().await];
    benches.extend(postgres::tests::fresh().await);
    for bench in benches {
        sums_up(&bench).await;
    }
}

async fn sums_up(bench: &Bench) {
    let store = &*bench.store;
    assert!(list(store).await.unwrap().is_empty());
    for one in [
        report("edge-1/a", "next", 100, vec![differs("drop", DENIES, 5, 1)]),
        report("edge-1/a", "next", 200, vec![differs("drop", DENIES, 8, 3)]),
        // Late: it says less than is known.
        report("edge-1/a", "next", 150, vec![differs("drop", DENIES, 6, 2)]),
        report("edge-2/b", "next", 50, vec![differs("drop", DENIES, 4, 9), differs("pay", FREES, 1, 4)]),
        report("edge-2/b", "other", 7, Vec::new()),
    ] {
        take(store, one).await.unwrap();
    }
    let views = list(store).await.unwrap();
    assert_eq!(views.iter().map(|view| view.candidate_id).collect::<Vec<_>>(), [id("next"), id("other")]);
    let next = &views[0];
    assert_eq!((next.compared, next.differing, next.unlisted), (250, 13, 0));
    assert_eq!(next.gateways, ["edge-1", "edge-2"]);
    assert!(next.in_force_on.is_empty());
    let told: Vec<_> = next.differences.iter().map(|one| (one.tool.as_deref(), one.calls, one.sample.at_ms)).collect();
    assert_eq!(told, [(Some("drop"), 12, 9), (Some("pay"), 1, 4)]);
    assert_eq!(
        next.summary,
        format!(
            "Of 250 calls since {}, the candidate would deny 12 that run today, let 1 run that wait for people today.",
            time(START_MS)
        )
    );
    assert!(views[1].summary.ends_with("would decide all alike."), "{}", views[1].summary);
    bench.advance(REMEMBERED_MS + 1);
    take(store, report("edge-3/c", "last", 1, Vec::new())).await.unwrap();
    let views = list(store).await.unwrap();
    assert_eq!(
        views.iter().map(|view| view.candidate_id).collect::<Vec<_>>(),
        [id("last")],
        "the others are forgotten"
    );
}

#[tokio::test]
async fn reports_that_make_no_sense_are_refused() {
    let bench = contract::open().await;
    let refused = async |change: fn(&mut CandidateReport)| {
        let mut one = report("edge/a", "next", 10, vec![differs("drop", DENIES, 5, 1)]);
        change(&mut one);
        take(&*bench.store, one).await.unwrap_err()
    };
    assert!(matches!(refused(|one| one.gateway.clear()).await, ReportError::Name("gateway")));
    assert!(matches!(refused(|one| one.compared = 4).await, ReportError::Sum));
    assert!(matches!(refused(|one| one.unlisted = u64::MAX).await, ReportError::Sum));
    assert!(matches!(refused(|one| one.differences[0].tool = Some("x".repeat(201))).await, ReportError::LongName));
    let many = |one: &mut CandidateReport| one.differences = vec![one.differences[0].clone(); 321];
    assert!(matches!(refused(many).await, ReportError::TooMany));
}
