//! Step 6 measured: how long a decision takes with few and with many rules, and what surrounds it.
//!
//! `cargo bench -p holdpoint-core --bench policy`; in wasm: `measure.rs`.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use holdpoint_core::edits::Edits;
use holdpoint_core::envelope::Offered;
use holdpoint_core::mcp::answer::Answer;
use holdpoint_core::policy::{NoUsage, compile, read_file};
use holdpoint_core::secrets;

mod subjects;

fn evaluate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    for rules in subjects::SIZES {
        let policy = subjects::policy(rules);
        for (name, params) in subjects::CALLS {
            let envelope = subjects::seal(&policy, params);
            group.bench_function(BenchmarkId::new(name, rules), |bencher| {
                bencher.iter(|| policy.evaluate(black_box(&envelope), &NoUsage));
            });
        }
    }
    group.finish();
}

fn around(criterion: &mut Criterion) {
    let policy = subjects::policy(100);
    let [(_, read), ..] = subjects::CALLS;
    let call = subjects::call(read);
    criterion.bench_function("seal a read", |bencher| bencher.iter(|| policy.seal(black_box(call.clone())).is_ok()));
    let envelope = subjects::seal(&policy, read);
    let principal = envelope.principal();
    criterion.bench_function("may_ever of a tool at 100 rules", |bencher| {
        bencher.iter(|| policy.may_ever(principal, "s2", black_box(Offered::Tool("list_issues"))));
    });
    let text = "Nothing in this sentence is a secret, as ordinary as arguments are. ".repeat(1_000);
    criterion.bench_function("search 68 kB of prose for secrets", |bencher| {
        bencher.iter(|| secrets::find(black_box(&text)));
    });
    for rules in [100, 1_000] {
        let text = subjects::policy_text(rules);
        criterion.bench_function(&format!("load a policy of {rules} rules"), |bencher| {
            bencher.iter(|| read_file(black_box(&text)).map(|document| compile(&document).is_ok()));
        });
    }
}

/// A list on its way: read strictly, each entry asked about, what is hidden cut out, the rest byte for byte.
fn lists(criterion: &mut Criterion) {
    let policy = subjects::policy(100);
    let [(_, read), ..] = subjects::CALLS;
    let envelope = subjects::seal(&policy, read);
    let principal = envelope.principal();
    let text = subjects::list_of_tools(1_000);
    let mut group = criterion.benchmark_group("list");
    group.throughput(Throughput::Bytes(u64::try_from(text.len()).unwrap_or(u64::MAX)));
    group.bench_function("filter 1,000 tools at 100 rules", |bencher| {
        let filter = |text: Vec<u8>| {
            let answer = Answer::read(text).ok()?;
            let mut edits = Edits::default();
            let mut onlooker = policy.onlooker(principal, "s2");
            let hidden = answer.hide(&mut |offered, _| onlooker.may_ever(offered), &mut edits);
            Some((hidden, edits.apply(answer.bytes())))
        };
        bencher.iter_batched(|| text.clone().into_bytes(), |text| filter(black_box(text)), BatchSize::SmallInput);
    });
    group.bench_function("read 1,000 tools", |bencher| {
        bencher.iter_batched(|| text.clone().into_bytes(), |text| Answer::read(black_box(text)), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, evaluate, around, lists);
criterion_main!(benches);
