//! Step 6 measured where it runs: the decisions of `policy.rs`, in wasm or natively, as one line each in nanoseconds.
//!
//! `cargo build -p holdpoint-core --example measure --profile filter --target wasm32-wasip1`, then
//! `node filter/core/benches/wasm.mjs target/wasm32-wasip1/filter/examples/measure.wasm`. Node's V8 is the engine that
//! Envoy runs wasm on.

use std::hint::black_box;
use std::time::Instant;

use holdpoint_core::envelope::Offered;
use holdpoint_core::policy::{NoUsage, compile, read_file};
use holdpoint_core::secrets;

mod subjects;

const ROUNDS: u32 = 2_000;
const REPEATS: usize = 15;

fn main() {
    for rules in subjects::SIZES {
        let text = subjects::policy_text(rules);
        let began = Instant::now();
        let is_read = read_file(&text).is_ok_and(|document| compile(&document).is_ok());
        println!("load        {rules:>6} rules {:>9} us, {} bytes, {is_read}", began.elapsed().as_micros(), text.len());
        let policy = subjects::policy(rules);
        for (name, params) in subjects::CALLS {
            let envelope = subjects::seal(&policy, params);
            let best = best_ns(|| {
                black_box(policy.evaluate(black_box(&envelope), &NoUsage));
            });
            println!("evaluate    {rules:>6} rules {best:>9} ns {name}");
        }
    }
    around();
}

/// What stands around a decision: the search of arguments for secrets, and the question of a list.
fn around() {
    let text = "Nothing in this sentence is a secret, as ordinary as arguments are. ".repeat(100);
    let best = best_ns(|| {
        black_box(secrets::find(black_box(&text)));
    });
    println!("secrets     {:>6} bytes {best:>9} ns", text.len());
    let policy = subjects::policy(100);
    let [(_, read), ..] = subjects::CALLS;
    let envelope = subjects::seal(&policy, read);
    let best = best_ns(|| {
        black_box(policy.may_ever(envelope.principal(), "s2", Offered::Tool("list_issues")));
    });
    println!("may_ever       100 rules {best:>9} ns");
}

/// The least of several means: what is more is the machine's other business.
fn best_ns(mut once: impl FnMut()) -> u128 {
    let mut means = Vec::new();
    for _ in 0..REPEATS {
        let began = Instant::now();
        (0..ROUNDS).for_each(|_| once());
        means.push(began.elapsed().as_nanos() / u128::from(ROUNDS));
    }
    means.into_iter().min().unwrap_or_default()
}
