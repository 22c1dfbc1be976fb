//! What breaks, when: by the dice, and noted, so that what a call met can be told afterwards.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdpoint_tests::relay::{Link, Relay};
use holdpoint_tests::stack::Stack;

use super::{Ground, dice::Dice, logs::Logs};

/// What breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// The service is killed and comes back.
    Service,
    /// Envoy is killed, and another begins.
    Envoy,
    /// The wire between them breaks.
    WireBreaks,
    /// The wire carries nothing for a while.
    WireSilent,
    /// The wire is slow for a while.
    WireSlow,
}

/// One fault and how long it lasted, since the soak began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broke {
    pub(super) fault: Fault,
    pub(super) from: Duration,
    pub(super) until: Duration,
}

/// The plan of one soak.
pub(super) struct Mischief {
    dice: Dice,
    lasts: Duration,
    next: Duration,
    /// When the wire is whole again, and what it was until then.
    mends: Option<(Duration, Fault, Duration)>,
    broke: Vec<Broke>,
    logs: Logs,
}

impl Mischief {
    pub(super) fn new(dice: Dice, lasts: Duration, logs: Logs) -> Self {
        Self { dice, lasts, next: Duration::from_secs(2), mends: None, broke: Vec::new(), logs }
    }

    /// Breaks what is due, and mends what has been broken long enough.
    pub(super) async fn turn(&mut self, stack: &mut Stack, relay: &Relay, ground: &Ground) -> anyhow::Result<()> {
        let now = ground.began.elapsed();
        if let Some((until, fault, from)) = self.mends
            && now >= until
        {
            relay.set(Link::Whole);
            self.broke.push(Broke { fault, from, until: now });
            self.mends = None;
        }
        if now < self.next || self.mends.is_some() {
            return Ok(());
        }
        // A short soak has as many faults a minute as a long one has in ten.
        let longest_ms = (self.lasts.as_secs() * 10).clamp(1_500, 15_000);
        self.next = now + self.dice.between_ms(500, longest_ms);
        let stormy = now < self.lasts / 4 || now >= self.lasts * 3 / 4;
        let wires = [(3, Fault::WireBreaks), (1, Fault::WireSilent), (2, Fault::WireSlow)];
        let fault = match stormy {
            true => self.dice.choose(&[&[(3, Fault::Service), (2, Fault::Envoy)], &wires[..]].concat()),
            false => self.dice.choose(&wires),
        };
        match fault {
            Fault::Service => {
                stack.service.kill();
                self.logs.keep("service", stack.service.process());
                tokio::time::sleep(self.dice.between_ms(0, 1_500)).await;
                stack.service.restart().await?;
                self.broke.push(Broke { fault, from: now, until: ground.began.elapsed() });
            }
            Fault::Envoy => {
                self.restart_envoy(stack, ground).await?;
                self.broke.push(Broke { fault, from: now, until: ground.began.elapsed() });
            }
            Fault::WireBreaks => {
                relay.set(Link::Broken);
                self.mends = Some((now + self.dice.between_ms(0, 500), fault, now));
            }
            Fault::WireSilent => {
                relay.set(Link::Silent);
                self.mends = Some((now + self.dice.between_ms(300, 2_500), fault, now));
            }
            Fault::WireSlow => {
                relay.set(Link::Slow(self.dice.between_ms(20, 200)));
                self.mends = Some((now + self.dice.between_ms(300, 2_500), fault, now));
            }
        }
        Ok(())
    }

    /// Mends what is still broken.
    pub(super) async fn end(&mut self, stack: &mut Stack, relay: &Relay, ground: &Ground) -> anyhow::Result<()> {
        relay.set(Link::Whole);
        if let Some((_, fault, from)) = self.mends.take() {
            self.broke.push(Broke { fault, from, until: ground.began.elapsed() });
        }
        anyhow::ensure!(
            stack.envoy.process().exited().is_none(),
            "Envoy ended: {}",
            stack.envoy.process().last_words()
        );
        anyhow::ensure!(!self.broke.is_empty(), "nothing broke: the soak shows nothing");
        let service = stack.service.process();
        anyhow::ensure!(service.exited().is_none(), "the service ended: {}", service.last_words());
        Ok(())
    }

    async fn restart_envoy(&mut self, stack: &mut Stack, ground: &Ground) -> anyhow::Result<()> {
        stack.envoy.process().kill();
        self.logs.keep("Envoy", stack.envoy.process());
        tokio::time::sleep(self.dice.between_ms(0, 300)).await;
        stack.envoy.restart().await?;
        ground.port.store(stack.port(), Ordering::Relaxed);
        Ok(())
    }

    /// What all that lived have written, those that still do included.
    pub(super) fn logs(mut self, stack: &Stack) -> Logs {
        self.logs.keep("Envoy", stack.envoy.process());
        self.logs.keep("service", stack.service.process());
        self.logs
    }

    /// Everything that broke.
    pub(super) fn faults(&self) -> &[Broke] {
        &self.broke
    }

    /// How often what broke.
    pub(super) fn report(&self) -> String {
        let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
        for broke in &self.broke {
            *counts.entry(broke.fault).or_default() += 1;
        }
        let mut out = "\n| broke | times |\n|---|---|\n".to_owned();
        for (fault, count) in counts {
            let name = match fault {
                Fault::Service => "service killed",
                Fault::Envoy => "Envoy killed",
                Fault::WireBreaks => "wire to the service broken",
                Fault::WireSilent => "wire silent",
                Fault::WireSlow => "wire slow",
            };
            let _ = writeln!(out, "| {name} | {count} |");
        }
        out
    }
}
