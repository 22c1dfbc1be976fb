//! Step 6 measured where it runs: the decisions of `policy.rs`, in wasm or natively, as one line each in nanoseconds.
//!
//! `cargo build -p holdpoint-core --example measure --profile filter --target wasm32-wasip1`, then
//! `node filter/core/benches/wasm.mjs target/wasm32-wasip1/filter/examples/measure.wasm`. Node's V8 is the engine that
//! Envoy runs wasm on.

use std::hint::black_box;
use std::time::Instant;

use holdpoint_core::policy::{NoUsage, compile, read_file};

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
