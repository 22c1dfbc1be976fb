//! Which limits are asked for, and that gateways mean the same by the same.

use ed25519_dalek::{Signer, SigningKey};

use super::*;
use crate::approval::ServiceKey;
use crate::decision::RateKey;
use crate::digest::hex_encode;

fn constraints(scope: LimitScope) -> Constraints {
    let rate = |of: &str| RateLimit {
        rule_id: "few".to_owned(),
        calls_max: 5,
        per_ms: 1_000,
        key: RateKey::Actor,
        of: of.to_owned(),
        scope,
    };
    Constraints {
        concurrency: [ConcurrencyLimit { rule_id: "one".to_owned(), jobs_max: 1, scope }].into(),
        rates: [rate("https://idp ann"), rate("https://idp ben")].into(),
        ..Constraints::default()
    }
}

#[test]
fn only_what_says_so_is_counted_for_all_gateways() {
    assert_eq!(constraints(LimitScope::Process).fleet_limits(), []);
    let limits = constraints(LimitScope::Fleet).fleet_limits();
    let shown: Vec<_> = limits.iter().map(|limit| (limit.rule_id.as_str(), limit.most, limit.per_ms)).collect();
    assert_eq!(shown, [("one", 1, None), ("few", 5, Some(1_000)), ("few", 5, Some(1_000))]);
    assert_ne!(limits[1].name, limits[2].name, "each caller has a window of its own");
    assert_eq!(limits, constraints(LimitScope::Fleet).fleet_limits());
}

#[test]
fn only_the_services_own_answer_to_this_asking_counts() {
    let asked = TakeLeases {
        holder: "h".to_owned(),
        call_digest: Digest::of(b"call"),
        ttl_ms: 60_000,
        limits: constraints(LimitScope::Fleet).fleet_limits(),
    };
    let signed = |seed: u8, taken: &LeasesTaken| {
        let leases = serde_json::to_string(taken).expect("JSON");
        let signature = hex_encode(&SigningKey::from_bytes(&[seed; 32]).sign(&signed_bytes(&leases)).to_bytes());
        SignedLeases { leases, signature, also: Vec::new() }
    };
    let keys = ServiceKeys::from(ServiceKey::of(SigningKey::from_bytes(&[7; 32]).verifying_key()));
    let taken = LeasesTaken { schema: LEASES_SCHEMA.to_owned(), asked: asked.clone(), full: None };
    assert_eq!(signed(7, &taken).verify(&keys, &asked), Some(taken.clone()));
    assert_eq!(signed(8, &taken).verify(&keys, &asked), None, "another key");
    let tampered: [fn(&mut LeasesTaken); 5] = [
        |taken| taken.schema = "holdpoint/leases/v2".to_owned(),
        |taken| taken.asked.holder = "another".to_owned(),
        |taken| taken.asked.call_digest = Digest::of(b"another"),
        |taken| taken.asked.limits[0].most = 1_000,
        |taken| taken.asked.ttl_ms = 1_000,
    ];
    for (number, tamper) in tampered.into_iter().enumerate() {
        let mut other = taken.clone();
        tamper(&mut other);
        assert_eq!(signed(7, &other).verify(&keys, &asked), None, "{number}");
    }
    let full = LeasesTaken { full: Some("one".to_owned()), ..taken };
    let mut bent = signed(7, &full);
    bent.leases = bent.leases.replace(",\"full\":\"one\"", "");
    assert_eq!(bent.verify(&keys, &asked), None, "a bent text");
}
