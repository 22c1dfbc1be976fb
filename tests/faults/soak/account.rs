//! Each call, held against all three sides: what its client saw, how often the server ran it, what the record says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, bail};
use holdpoint_tests::approver::Person;
use holdpoint_tests::probe;
use holdpoint_tests::stack::Stack;

use super::calls::{Ask, Called, Manner, Seen, number_of};
use super::logs::Logs;
use super::mischief::{Broke, Fault};
use super::people::{Decisions, denies};

/// What Envoy dies with has not been handed over: of calls that ended so shortly before, the record may have no end.
const BUFFERED_MS: u64 = 2_000;
/// How long a fault may be felt after it is over: polls end, connections open again, holds go on.
const AFTERMATH_MS: u64 = 6_000;
/// What the record says of a claim after which nothing ran.
const UNUSED: &str = "ended between the claim and the forward";
/// How many findings are told.
const TOLD_MAX: usize = 20;

/// What the record says of one call.
#[derive(Debug, Default)]
struct Recorded {
    /// The verdicts of its decisions.
    verdicts: Vec<String>,
    /// How often an approval of it was used.
    claims: usize,
    /// How often its wait ended between the claim and the forward, as when its tool was first listed just then: it is asked anew.
    unused: usize,
    /// What became of it otherwise.
    outcomes: Vec<String>,
}

/// All of a soak.
pub(super) struct Account {
    calls: Vec<Called>,
    runs: BTreeMap<u64, usize>,
    recorded: BTreeMap<u64, Recorded>,
    entries: usize,
    findings: Vec<Finding>,
}

/// What does not add up, and when, since the soak began.
struct Finding {
    what: String,
    began: Duration,
    ended: Duration,
}

impl Account {
    /// Waits until the record is whole, then compares.
    pub(super) async fn take(
        stack: &Stack,
        auditor: &Person,
        calls: Vec<Called>,
        decisions: &Decisions,
        faults: &[Broke],
    ) -> anyhow::Result<Self> {
        let mut runs: BTreeMap<u64, usize> = BTreeMap::new();
        for message in stack.upstream.received() {
            let number = message.header("traceparent").and_then(|trace| number_of(trace.split('-').nth(1)?));
            // What the gateway says by itself (that a client cancelled) belongs to no run.
            if message.json()["id"].is_null() {
                continue;
            }
            *runs.entry(number.context("a message without the trace of a call reached the server")?).or_default() += 1;
        }
        let mut account = Self { calls, runs, recorded: BTreeMap::new(), entries: 0, findings: Vec::new() };
        // The last outcomes are on their way. What never comes is a finding below.
        let all_told = probe::until("the record has every outcome", probe::PATIENCE / 2, async || {
            let (entries, recorded) = read(auditor).await.ok()?;
            let is_whole = account.runs.keys().all(|number| {
                recorded.get(number).is_some_and(|recorded| !recorded.outcomes.is_empty())
                    || account.call(*number).is_some_and(|call| dies_with_envoy(call, faults))
            });
            is_whole.then_some((entries, recorded))
        });
        (account.entries, account.recorded) = match all_told.await {
            Ok(read) => read,
            Err(_) => read(auditor).await?,
        };
        account.findings = account.compare(decisions, faults);
        Ok(account)
    }

    fn call(&self, number: u64) -> Option<&Called> {
        // Numbers of one agent rise, agents come one after the other.
        let at = self.calls.binary_search_by_key(&number, |call| call.number).ok()?;
        self.calls.get(at)
    }

    fn compare(&self, decisions: &Decisions, faults: &[Broke]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let nothing = Recorded::default();
        for number in self.runs.keys().filter(|number| self.call(**number).is_none()) {
            let what = format!("call {number} ran and nobody made it");
            findings.push(Finding { what, began: Duration::ZERO, ended: Duration::ZERO });
        }
        for call in &self.calls {
            let runs = self.runs.get(&call.number).copied().unwrap_or_default();
            let recorded = self.recorded.get(&call.number).unwrap_or(&nothing);
            let lost = dies_with_envoy(call, faults);
            let undisturbed = !faults.iter().any(|broke| concerns(call, broke, AFTERMATH_MS));
            let mut find = |what: &str| {
                let what = format!("{what}: {runs} runs, {recorded:?}, {call:?}");
                findings.push(Finding { what, began: call.began, ended: call.ended });
            };

            if runs > 1 {
                find("it ran twice");
            }
            if call.leaked {
                find("its client read what was to be taken out");
            }
            if runs > 0 {
                match call.ask {
                    Ask::Never => find("a denied call ran"),
                    Ask::Write | Ask::BreaksOff if denies(call.number) => find("a call ran that people denied"),
                    Ask::Write | Ask::BreaksOff if !decisions.is_approved(call.number) => {
                        find("a call ran that nobody approved");
                    }
                    Ask::Write | Ask::BreaksOff if recorded.claims != recorded.unused + 1 => {
                        find("it ran without its claim in the record")
                    }
                    Ask::Read | Ask::Stream | Ask::Secret | Ask::List
                        if !recorded.verdicts.iter().any(|verdict| verdict == "allow") =>
                    {
                        find("it ran without its decision in the record");
                    }
                    _ => {}
                }
                if recorded.outcomes.is_empty() && !lost {
                    find("it ran and the record has no outcome");
                }
                if recorded.outcomes.len() > 1 {
                    find("the record has several outcomes");
                }
            }
            match &call.seen {
                Seen::Result if runs != 1 => find("its client has a result of a call that did not run"),
                Seen::Result if recorded.outcomes.iter().any(|outcome| outcome != "committed") => {
                    find("its client has a result and the record says otherwise");
                }
                Seen::Refused(sentence) if sentence.starts_with("Not run") && runs > 0 => {
                    find("its client was told that it did not run");
                }
                // Who is told nothing certain must have been disturbed.
                Seen::Refused(sentence) if sentence.starts_with("(no answer)") => find("its client got no answer"),
                Seen::Refused(_) if undisturbed && must_run(call) => find("it was refused, and nothing was broken"),
                Seen::Broken if undisturbed && call.ask != Ask::BreaksOff => find("it broke, and nothing was broken"),
                Seen::Result | Seen::Refused(_) | Seen::Broken | Seen::Left => {}
            }
            let was_denied = recorded.verdicts.iter().any(|verdict| verdict == "deny");
            let must_be_told = undisturbed && !lost;
            if call.ask == Ask::Never && matches!(call.seen, Seen::Refused(_)) && must_be_told && !was_denied {
                find("it was denied and the record does not say so");
            }
        }
        findings
    }

    /// Fails with what was found, or when there was too little to find anything in.
    pub(super) fn check(&self, logs: &Logs) -> anyhow::Result<()> {
        for ask in [Ask::Read, Ask::Stream, Ask::Secret, Ask::List, Ask::Write] {
            if !self.calls.iter().any(|call| call.ask == ask && call.seen == Seen::Result) {
                bail!("no {ask:?} succeeded: the soak shows nothing");
            }
        }
        if self.findings.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = (self.findings.iter().take(TOLD_MAX))
            .map(|finding| format!("{}\n{}", finding.what, logs.around(finding.began, finding.ended)))
            .collect();
        bail!("{} calls do not add up:\n{}", self.findings.len(), told.join("\n"));
    }

    /// A table: what was asked, and what came of it.
    pub(super) fn report(&self, lasted: Duration, seed: u64) -> String {
        let mut out = format!(
            "\nSoak of {} s, seed {seed}: {} calls, {} ran, {} entries in the record, {} findings.\n\n\
             | asked | calls | result | refused | connection broke | client left | ran |\n|---|---|---|---|---|---|---|\n",
            lasted.as_secs(),
            self.calls.len(),
            self.runs.len(),
            self.entries,
            self.findings.len(),
        );
        let mut rows: BTreeMap<Ask, [usize; 6]> = BTreeMap::new();
        for call in &self.calls {
            let [calls, results, refused, broken, left, ran] = rows.entry(call.ask).or_default();
            *calls += 1;
            *ran += usize::from(self.runs.contains_key(&call.number));
            *match call.seen {
                Seen::Result => results,
                Seen::Refused(_) => refused,
                Seen::Broken => broken,
                Seen::Left => left,
            } += 1;
        }
        for (ask, row) in rows {
            let name = match ask {
                Ask::Read => "a read",
                Ask::Stream => "a read, answered by events",
                Ask::Secret => "a read with a secret in its answer",
                Ask::List => "the list of tools",
                Ask::Write => "a write that waits for people",
                Ask::BreaksOff => "a write whose server breaks off",
                Ask::Never => "what nobody may",
            };
            let _ = writeln!(out, "| {name} | {} |", row.map(|count| count.to_string()).join(" | "));
        }
        out
    }
}

/// Whether nothing but a fault may keep it from its result.
fn must_run(call: &Called) -> bool {
    match call.ask {
        Ask::Read | Ask::Stream | Ask::Secret | Ask::List => true,
        Ask::Write => !denies(call.number) && !matches!(call.manner, Manner::Cancels(_)),
        Ask::BreaksOff | Ask::Never => false,
    }
}

/// Whether the fault, and what follows it for so long, fell into the time of the call.
fn concerns(call: &Called, broke: &Broke, aftermath_ms: u64) -> bool {
    call.began < broke.until + Duration::from_millis(aftermath_ms) && broke.from < call.ended
}

/// Whether the Envoy that had it died before it can have handed over what became of it.
fn dies_with_envoy(call: &Called, faults: &[Broke]) -> bool {
    let mut handed_over = call.ended + Duration::from_millis(BUFFERED_MS);
    let mut faults: Vec<&Broke> = faults.iter().filter(|broke| call.began < broke.until).collect();
    faults.sort_by_key(|broke| broke.from);
    for broke in faults {
        match broke.fault {
            _ if broke.from >= handed_over => break,
            Fault::Envoy => return true,
            // Until the service is there again, and hears the same once more, nothing is handed over.
            Fault::Service | Fault::WireBreaks | Fault::WireSilent | Fault::WireSlow => {
                handed_over = handed_over.max(broke.until + Duration::from_millis(AFTERMATH_MS));
            }
        }
    }
    false
}

/// How many entries the record has, and what they say of each call.
async fn read(auditor: &Person) -> anyhow::Result<(usize, BTreeMap<u64, Recorded>)> {
    let mut entries = 0;
    let mut recorded: BTreeMap<u64, Recorded> = BTreeMap::new();
    // A claim names its approval, and the approval's first entry the call.
    let mut opened: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let after = if entries == 0 { String::new() } else { format!("&after={}", entries - 1) };
        let page = auditor.get(&format!("/v1/audit?limit=1000{after}")).await?;
        let page = page["entries"].as_array().context("no list of entries")?;
        if page.is_empty() {
            return Ok((entries, recorded));
        }
        entries += page.len();
        for entry in page.iter().map(|numbered| &numbered["entry"]) {
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            let number = text("trace_id").and_then(|trace_id| number_of(&trace_id));
            match (entry["kind"].as_str().unwrap_or_default(), number) {
                ("decision", Some(number)) => {
                    recorded.entry(number).or_default().verdicts.extend(text("verdict"));
                }
                ("outcome", Some(number)) if text("detail").is_some_and(|detail| detail.contains(UNUSED)) => {
                    recorded.entry(number).or_default().unused += 1;
                }
                ("outcome", Some(number)) => recorded.entry(number).or_default().outcomes.extend(text("outcome")),
                ("approval_opened", Some(number)) => {
                    opened.extend(text("approval_id").map(|id| (id, number)));
                }
                ("claim", _) => {
                    let number = text("approval_id").and_then(|id| opened.get(&id).copied());
                    let number =
                        number.with_context(|| format!("a claim of an approval that nothing opened: {entry}"))?;
                    recorded.entry(number).or_default().claims += 1;
                }
                (_, Some(_) | None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! The account finds what does not add up.

    use super::*;

    fn call(number: u64, ask: Ask, seen: Seen) -> Called {
        let (began, ended) = (Duration::from_secs(20), Duration::from_secs(21));
        Called { number, ask, manner: Manner::Patient, seen, began, ended, leaked: false }
    }

    fn found(call: Called, runs: usize, recorded: Recorded, faults: &[Broke]) -> String {
        let number = call.number;
        let runs = if runs == 0 { BTreeMap::new() } else { BTreeMap::from([(number, runs)]) };
        let recorded = BTreeMap::from([(number, recorded)]);
        let account = Account { calls: vec![call], runs, recorded, entries: 0, findings: Vec::new() };
        let findings = account.compare(&Decisions::default(), faults);
        findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>().join("\n")
    }

    fn told(verdict: &str, claims: usize, outcome: &str) -> Recorded {
        Recorded { verdicts: vec![verdict.to_owned()], claims, unused: 0, outcomes: vec![outcome.to_owned()] }
    }

    #[test]
    fn calls_that_do_not_add_up_are_found_and_those_that_do_are_not() {
        let refused = |sentence: &str| Seen::Refused(sentence.to_owned());
        let read = |seen| call(7, Ask::Read, seen);
        assert_eq!(found(read(Seen::Result), 1, told("allow", 0, "committed"), &[]), "");
        assert!(found(read(Seen::Result), 2, told("allow", 0, "committed"), &[]).contains("ran twice"));
        assert!(found(read(Seen::Result), 0, Recorded::default(), &[]).contains("did not run"));
        assert!(found(read(Seen::Result), 1, Recorded::default(), &[]).contains("without its decision"));
        assert!(found(read(Seen::Result), 1, told("allow", 0, "unknown"), &[]).contains("says otherwise"));
        assert!(found(read(refused("Not run: …")), 1, told("allow", 0, "committed"), &[]).contains("did not run"));
        assert!(found(read(Seen::Broken), 0, Recorded::default(), &[]).contains("nothing was broken"));
        assert!(
            found(call(7, Ask::Never, Seen::Result), 1, told("deny", 0, "committed"), &[]).contains("denied call ran")
        );
        let write = |number| call(number, Ask::Write, Seen::Result);
        assert!(found(write(7), 1, told("require_approval", 1, "committed"), &[]).contains("nobody approved"));
        assert!(found(write(5), 1, told("require_approval", 1, "committed"), &[]).contains("people denied"));
        assert!(
            found(Called { leaked: true, ..read(Seen::Result) }, 1, told("allow", 0, "committed"), &[])
                .contains("taken out")
        );
    }

    #[test]
    fn only_a_fault_of_its_time_excuses_a_call() {
        let at = |fault, from_s, until_s| Broke {
            fault,
            from: Duration::from_secs(from_s),
            until: Duration::from_secs(until_s),
        };
        let broken = || call(7, Ask::Read, Seen::Broken);
        assert_eq!(found(broken(), 0, Recorded::default(), &[at(Fault::Envoy, 20, 22)]), "");
        assert!(!found(broken(), 0, Recorded::default(), &[at(Fault::Envoy, 30, 31)]).is_empty());
        let without_end = || Recorded { verdicts: vec!["allow".to_owned()], ..Recorded::default() };
        let ran = || call(7, Ask::Read, Seen::Result);
        assert_eq!(found(ran(), 1, without_end(), &[at(Fault::Envoy, 22, 24)]), "");
        assert!(found(ran(), 1, without_end(), &[at(Fault::Service, 22, 24)]).contains("no outcome"));
        assert!(found(ran(), 1, without_end(), &[at(Fault::Envoy, 40, 44)]).contains("no outcome"));
        let silent = |until_s| [at(Fault::WireSilent, 22, until_s), at(Fault::Envoy, 26, 27)];
        assert_eq!(found(ran(), 1, without_end(), &silent(24)), "", "what waited for the wire died with Envoy");
        let denied = || call(7, Ask::Never, Seen::Refused("Denied".to_owned()));
        assert!(found(denied(), 0, Recorded::default(), &[]).contains("does not say so"));
        assert_eq!(found(denied(), 0, Recorded::default(), &[at(Fault::Envoy, 22, 24)]), "");
        assert!(found(denied(), 0, Recorded::default(), &[at(Fault::Envoy, 24, 26)]).contains("does not say so"));
    }
}
