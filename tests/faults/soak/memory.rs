//! Whether the filter's VMs, Envoy and the service come to need more and more memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use holdpoint_tests::stack::Stack;

/// What a process may need at the end of its longest life beside what it needed at its beginning: caches fill, allocators
/// keep. A leak of a kilobyte a call would be a tenfold of it in half an hour.
const GROWTH_MAX: f64 = 1.3;
/// Of a life of fewer looks nothing is said.
const LOOKS_MIN: usize = 30;

/// All of whom something is to be said at the end: where the system does not, that is a failure.
const PROGRAMS: [&str; 3] = ["the largest VM", "Envoy", "service"];

/// What was seen of all processes.
#[derive(Default)]
pub(super) struct Memory {
    /// By program and process id (a VM's is its Envoy's): when, since the soak began, and how many bytes.
    lives: BTreeMap<(&'static str, u32), Vec<(Duration, u64)>>,
}

/// The longest life of one program.
struct Growth {
    program: &'static str,
    lived: Duration,
    first_bytes: u64,
    last_bytes: u64,
}

impl Memory {
    /// Looks once. Both processes are alive.
    pub(super) async fn look(&mut self, now: Duration, stack: &Stack) -> anyhow::Result<()> {
        let (envoy, service) = (stack.envoy.process(), stack.service.process());
        let vm_bytes = stack.envoy.stat("wasmcustom.holdpoint.vm_memory_bytes").await?;
        ensure!(vm_bytes > 0, "the filter does not say how much memory its VMs have");
        let rss = |of: &'static str, bytes: Option<u64>| bytes.with_context(|| format!("no memory of {of} is known"));
        let looks = [
            (envoy, vm_bytes),
            (envoy, rss("Envoy", envoy.rss_bytes())?),
            (service, rss("the service", service.rss_bytes())?),
        ];
        for (program, (process, bytes)) in PROGRAMS.into_iter().zip(looks) {
            self.lives.entry((program, process.pid())).or_default().push((now, bytes));
        }
        Ok(())
    }

    /// Of the longest life of each program, the middle of its first third and of its last. What a process takes in its
    /// first tenth is left out: it has to read its policy, open its connections and fill its pools once.
    fn growths(&self) -> Vec<Growth> {
        let mut longest: BTreeMap<&'static str, &[(Duration, u64)]> = BTreeMap::new();
        for ((program, _), looks) in &self.lives {
            let one = longest.entry(program).or_default();
            if looks.len() > one.len() {
                *one = looks;
            }
        }
        let growth = |(program, looks): (&'static str, &[(Duration, u64)])| {
            let grown = looks.get(looks.len() / 10..).filter(|grown| grown.len() >= LOOKS_MIN)?;
            let third = grown.len() / 3;
            let middle = |looks: &[(Duration, u64)]| {
                let mut bytes: Vec<u64> = looks.iter().map(|(_, bytes)| *bytes).collect();
                bytes.sort_unstable();
                bytes.get(bytes.len() / 2).copied().unwrap_or_default()
            };
            Some(Growth {
                program,
                lived: looks.last()?.0.checked_sub(looks.first()?.0)?,
                first_bytes: middle(grown.get(..third)?),
                last_bytes: middle(grown.get(grown.len() - third..)?),
            })
        };
        longest.into_iter().filter_map(growth).collect()
    }

    /// A table.
    pub(super) fn report(&self) -> String {
        let mut out =
            "\n| memory of | longest life s | first third MB | last third MB | ratio |\n|---|---|---|---|---|\n"
                .to_owned();
        for growth in self.growths() {
            let megabytes = |bytes: u64| bytes as f64 / 1e6;
            let _ = writeln!(
                out,
                "| {} | {} | {:.1} | {:.1} | {:.3} |",
                growth.program,
                growth.lived.as_secs(),
                megabytes(growth.first_bytes),
                megabytes(growth.last_bytes),
                growth.ratio(),
            );
        }
        out
    }

    /// Fails when one of them grew.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let growths = self.growths();
        let known: Vec<&str> = growths.iter().map(|growth| growth.program).collect();
        let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !known.contains(program)).collect();
        ensure!(missing.is_empty(), "did not live long enough to say whether they grow: {missing:?}");
        for growth in growths {
            ensure!(growth.ratio() <= GROWTH_MAX, "{} grew: {}", growth.program, self.report());
        }
        Ok(())
    }
}

impl Growth {
    fn ratio(&self) -> f64 {
        self.last_bytes as f64 / self.first_bytes as f64
    }
}

/// A life of a hundred looks.
fn life(bytes: impl Fn(u64) -> u64) -> Vec<(Duration, u64)> {
    (0..100).map(|look| (Duration::from_millis(100 * look), bytes(look))).collect()
}

#[test]
fn memory_that_grows_or_of_which_nothing_is_known_is_a_finding() {
    let of = |lives: &[(&'static str, Vec<(Duration, u64)>)]| {
        let lives = lives.iter().map(|(program, looks)| ((*program, 1), looks.clone())).collect();
        Memory { lives }.check().map_err(|error| error.to_string())
    };
    let flat = || life(|_| 4_000_000);
    let [vm, envoy, service] = PROGRAMS;
    assert_eq!(of(&[(vm, flat()), (envoy, flat()), (service, flat())]), Ok(()));
    let leaking = of(&[(vm, life(|look| 4_000_000 + look * 65_536)), (envoy, flat()), (service, flat())]);
    assert!(leaking.is_err_and(|why| why.starts_with("the largest VM grew")));
    let untold = of(&[(envoy, flat()), (service, flat())]);
    assert!(untold.is_err_and(|why| why.ends_with(r#"["the largest VM"]"#)));
    assert!(Memory::default().check().is_err(), "nothing is known of anybody");
}
