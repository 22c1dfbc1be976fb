//! Step 8: how much one credential, and one address that shows none, may ask in a time. Token buckets, bounded in number.
//!
//! Our own hundred lines rather than a crate: what is counted is known only behind the check of the credential (role,
//! issuer and subject, whatever token they show), and a gateway's room is another than a person's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tokens::{Credential, Role};

#[cfg(test)]
mod tests;

/// Buckets of one kind that are kept. Beyond, everybody new shares one.
const BUCKETS_MAX: usize = 20_000;
/// How many seconds' worth may come at once.
const BURST_S: f64 = 4.0;

/// What the limits are, in requests per second; each allows bursts of four seconds' worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// For the credential of a person: approver, break-glass, auditor or administrator.
    pub person_per_s_max: u32,
    /// For the credential of a gateway, which opens, polls and claims for everybody behind it.
    pub gateway_per_s_max: u32,
    /// For one address that shows no valid credential.
    pub stranger_per_s_max: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { person_per_s_max: 50, gateway_per_s_max: 10_000, stranger_per_s_max: 50 }
    }
}

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl Peer {
    /// One subscriber of IPv6 has 2^64 addresses: all of them are one peer.
    pub fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self(address),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => Self(address.into()),
                None => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            },
        }
    }

    /// For a request that came by no connection.
    pub fn unknown() -> Self {
        Self(Ipv4Addr::UNSPECIFIED.into())
    }
}

/// Too much was asked; after this long there is room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    pub wait: Duration,
}

/// All limits of one service.
#[derive(Debug)]
pub struct Limits {
    persons: Buckets<String>,
    gateways: Buckets<String>,
    strangers: Buckets<Peer>,
}

impl Limits {
    pub fn new(rates: Rates) -> Self {
        Self {
            persons: Buckets::new(rates.person_per_s_max),
            gateways: Buckets::new(rates.gateway_per_s_max),
            strangers: Buckets::new(rates.stranger_per_s_max),
        }
    }

    /// Counts one request of this credential.
    pub fn admit(&self, by: &Credential) -> Result<(), Exceeded> {
        let buckets = match by.role {
            Role::Enforcer => &self.gateways,
            Role::Approver | Role::BreakGlass | Role::Auditor | Role::Admin => &self.persons,
        };
        buckets.take(format!("{} {}\n{}", by.role, by.issuer, by.subject), Instant::now())
    }

    /// Counts one request that shows no valid credential. Those that do are never refused for what others behind the
    /// same address have sent.
    pub fn admit_stranger(&self, peer: Peer) -> Result<(), Exceeded> {
        self.strangers.take(peer, Instant::now())
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

#[derive(Debug)]
struct Buckets<K> {
    per_s: f64,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    by_key: HashMap<K, Bucket>,
    /// Of all who came when there was no room for a bucket of their own.
    shared: Option<Bucket>,
}

impl<K: std::hash::Hash + Eq> Buckets<K> {
    fn new(per_s_max: u32) -> Self {
        Self { per_s: f64::from(per_s_max), state: Mutex::new(State { by_key: HashMap::new(), shared: None }) }
    }

    fn take(&self, key: K, now: Instant) -> Result<(), Exceeded> {
        let full = Bucket { tokens: self.per_s * BURST_S, at: now };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.by_key.len() >= BUCKETS_MAX && !state.by_key.contains_key(&key) {
            // Whoever has all their tokens again is as good as forgotten.
            state.by_key.retain(|_, bucket| self.filled(*bucket, now).tokens < full.tokens);
        }
        let bucket = if state.by_key.len() >= BUCKETS_MAX && !state.by_key.contains_key(&key) {
            state.shared.get_or_insert(full)
        } else {
            state.by_key.entry(key).or_insert(full)
        };
        *bucket = self.filled(*bucket, now);
        if bucket.tokens < 1.0 {
            return Err(Exceeded { wait: Duration::from_secs_f64((1.0 - bucket.tokens) / self.per_s) });
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_s;
        Bucket { tokens: (bucket.tokens + gained).min(self.per_s * BURST_S), at: now.max(bucket.at) }
    }
}
