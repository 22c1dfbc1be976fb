//! What Envoy and the service wrote, life by life, so that a call that does not add up can be looked at afterwards.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holdpoint_tests::process::ChildProcess;

/// How long before a call and after it lines are shown.
const BEFORE_MS: u64 = 50;
const AFTER_MS: u64 = 250;
/// How many lines of each program are shown, and how much of each.
const LINES_MAX: usize = 60;
const LINE_CHARS_MAX: usize = 500;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The logs of all lives that are over.
pub(super) struct Logs {
    /// When the soak began, by the clock that the logs have their times of.
    began: SystemTime,
    ended: Vec<(&'static str, String)>,
}

impl Logs {
    /// Of a soak that began then.
    pub(super) fn since(began: Instant) -> Self {
        Self { began: SystemTime::now() - began.elapsed(), ended: Vec::new() }
    }

    /// Keeps what this life has written. To be called before another one takes its place.
    pub(super) fn keep(&mut self, program: &'static str, process: &ChildProcess) {
        self.ended.push((program, process.stdout_text() + &process.stderr_text()));
    }

    /// The lines of both programs about the time of a call, which is told since the soak began.
    pub(super) fn around(&self, began: Duration, ended: Duration) -> String {
        let began_ms =
            millis(self.began.duration_since(UNIX_EPOCH).unwrap_or_default() + began).saturating_sub(BEFORE_MS);
        let lasted_ms = millis(ended.saturating_sub(began)) + BEFORE_MS + AFTER_MS;
        let mut told = String::new();
        for (program, text) in &self.ended {
            let lines: Vec<&str> = text.lines().filter(|line| is_within(line, began_ms, lasted_ms)).collect();
            for line in lines.iter().take(LINES_MAX) {
                let line: String = line.chars().take(LINE_CHARS_MAX).collect();
                told += &format!("    {program}: {line}\n");
            }
            if let Some(more @ 1..) = lines.len().checked_sub(LINES_MAX) {
                told += &format!("    {program}: … and {more} more lines\n");
            }
        }
        told
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the line was written within that time. Both write the date, a letter or a space, and the time of the day, Envoy
/// after a bracket.
fn is_within(line: &str, began_ms: u64, lasted_ms: u64) -> bool {
    const DATE: usize = "2026-11-26T".len();
    let time = line.trim_start_matches('[').get(DATE..).unwrap_or_default();
    let number = |from: usize, digits: usize| time.get(from..from + digits)?.parse::<u64>().ok();
    let (Some(hours), Some(minutes), Some(seconds), Some(ms)) =
        (number(0, 2), number(3, 2), number(6, 2), number(9, 3))
    else {
        return false;
    };
    let at_ms = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms;
    (at_ms + DAY_MS - began_ms % DAY_MS) % DAY_MS <= lasted_ms
}

#[cfg(test)]
mod tests {
    //! Lines are found by their time, past midnight too.

    use super::*;

    #[test]
    fn lines_of_the_time_of_a_call_are_shown_and_no_others() {
        let text = "[2026-11-25 23:59:59.100][7][info][wasm] early\n\
                    2026-11-25T23:59:59.980000Z  INFO holdpoint: service\n\
                    no time at all\n\
                    [2026-11-26 00:00:00.120][7][error][wasm] late\n\
                    [2026-11-26 00:00:00.900][7][info][wasm] after\n";
        let began = UNIX_EPOCH + Duration::from_millis(DAY_MS - 1_000);
        let logs = Logs { began, ended: vec![("Envoy", text.to_owned())] };
        let told = logs.around(Duration::from_millis(950), Duration::from_millis(1_050));
        assert!(told.contains("service") && told.contains("late"), "{told}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }
}
