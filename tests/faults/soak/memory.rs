//! Whether Envoy (with its filter's VMs) and the service come to need more and more memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::ensure;
use holdpoint_tests::process::ChildProcess;
use holdpoint_tests::stack::Stack;

/// What a process may need at the end of its longest life beside what it needed at its beginning: caches fill, allocators
/// keep. A leak of a kilobyte a call would be a tenfold of it in half an hour.
const GROWTH_MAX: f64 = 1.3;
/// Of a life of fewer looks nothing is said.
const LOOKS_MIN: usize = 30;

/// What was seen of all processes.
#[derive(Default)]
pub(super) struct Memory {
    /// By program and process id: when, since the soak began, and how many bytes.
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
    /// Looks once.
    pub(super) fn look(&mut self, now: Duration, stack: &Stack) {
        for (program, process) in [("Envoy", stack.envoy.process()), ("service", stack.service.process())] {
            let Some(bytes) = ChildProcess::rss_bytes(process) else { continue };
            self.lives.entry((program, process.pid())).or_default().push((now, bytes));
        }
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
        // Where the system says nothing of memory there is nothing to hold against anybody.
        ensure!(self.lives.is_empty() || growths.len() == 2, "no process lived long enough to say whether it grows");
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
