//! Entries in, the text that the general writer makes of them out.

use proptest::prelude::*;

use super::*;
use crate::audit::payload::{Lost, Salt};
use crate::audit::{EntryKind, Outcome};
use crate::candidate::OtherDecision;
use crate::decision::{AuditLevel, Observed, Verdict};
use crate::identity::ActorType;
use crate::simulate::Change;

fn check(entry: &AuditEntry) {
    let text = entry.text().expect("an entry can be written");
    assert_eq!(text, serde_json::to_string(entry).expect("an entry can be written"));
}

fn full(words: &[String; 4], numbers: [u64; 3], payload: PayloadDigest) -> AuditEntry {
    let digest = Digest::of(words[0].as_bytes());
    let (one, two) = (words[0].clone(), words[1].clone());
    let principal = Principal {
        issuer: one.clone(),
        subject: two.clone(),
        agent_id: Some(words[2].clone()),
        actor_type: ActorType::Agent,
        tenant: Some(words[3].clone()),
        groups: words.iter().cloned().collect(),
        scopes: words.iter().take(2).cloned().collect(),
    };
    AuditEntry {
        source: Some(one.clone()),
        principal: Some(principal),
        server: Some(two.clone()),
        method: Some(words[2].clone()),
        protocol_version: Some(words[3].clone()),
        mcp_session: Some(digest),
        target: Some(one.clone()),
        call_digest: Some(digest),
        definition: Some(Digest::of(b"definition")),
        verdict: Some(Verdict::RequireApproval),
        rule_ids: words.to_vec(),
        snapshot_id: Some(Digest::of(b"snapshot")),
        basis: Some(digest),
        observed: Some(Observed { verdict: Verdict::Deny, rule_ids: words.to_vec() }),
        candidate: Some(OtherDecision {
            snapshot_id: digest,
            change: Change::Tighter,
            verdict: Verdict::Deny,
            rule_id: two.clone(),
        }),
        audit: Some(AuditLevel::Redacted),
        constraints: Some(two.clone()),
        approval_id: Some(one.clone()),
        hold_id: Some(words[2].clone()),
        status: Some(words[3].clone()),
        by: Some(two.clone()),
        keys: vec![one.clone(), two.clone()],
        detail: Some(words.concat()),
        outcome: Some(Outcome::Unknown),
        http_status: Some(u16::try_from(numbers[0] % 65_536).expect("16 bits")),
        answer_bytes: Some(numbers[1]),
        arguments: Some(payload.clone()),
        result: Some(PayloadDigest { lost: Some(Lost::NoRoom), ..payload }),
        erased: vec![[numbers[0], numbers[1]], [1, 2]],
        latency_ms: Some(numbers[2]),
        trace_id: Some(one),
        span_id: Some(two),
        parent_span_id: Some(words[3].clone()),
        ..AuditEntry::new(EntryKind::Decision, numbers[0])
    }
}

#[test]
fn an_entry_with_nothing_in_it_is_written_alike() {
    for kind in EntryKind::ALL {
        check(&AuditEntry::new(kind, 0));
        check(&AuditEntry::new(kind, u64::MAX));
    }
}

#[test]
fn words_of_fixed_sets_are_written_alike() {
    let entry = || AuditEntry::new(EntryKind::Outcome, 1_764_000_000_000);
    for verdict in [Verdict::Allow, Verdict::RequireApproval, Verdict::Deny] {
        check(&AuditEntry { verdict: Some(verdict), ..entry() });
    }
    for outcome in [Outcome::Committed, Outcome::Failed, Outcome::Refused, Outcome::Unknown] {
        check(&AuditEntry { outcome: Some(outcome), ..entry() });
    }
    for level in [AuditLevel::Metadata, AuditLevel::Digest, AuditLevel::Redacted, AuditLevel::Full] {
        check(&AuditEntry { audit: Some(level), ..entry() });
        for lost in [Lost::NoRoom, Lost::TooLong, Lost::Unreadable, Lost::Unfit] {
            check(&AuditEntry { arguments: Some(PayloadDigest::lost(level, 7, lost)), ..entry() });
        }
    }
    for actor_type in [ActorType::Human, ActorType::Agent, ActorType::Service, ActorType::Anonymous] {
        check(&AuditEntry { principal: Some(Principal { actor_type, ..Principal::anonymous() }), ..entry() });
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_it_an_entry_is_written_alike(
        // Control characters too, which `any` leaves out.
        words in ["(?s).*", "(?s).*", "(?s).*", "[\\x00-\\x20\"\\\\\\x7f]*"],
        numbers in any::<[u64; 3]>(),
        bytes in any::<u64>(),
        cut_to_bytes in any::<Option<u64>>(),
    ) {
        let digest = Some(Digest::of(words[1].as_bytes()));
        let payload = PayloadDigest { level: AuditLevel::Full, bytes, digest, cut_to_bytes, lost: None };
        let entry = full(&words, numbers, payload);
        check(&entry);
        // Each part is absent while all others are there.
        let whole = serde_json::to_value(&entry).expect("an entry can be written");
        for name in whole.as_object().expect("an object").keys() {
            let mut without = whole.clone();
            without.as_object_mut().expect("an object").remove(name);
            if let Ok(entry) = serde_json::from_value::<AuditEntry>(without) {
                check(&entry);
            }
        }
    }

    #[test]
    fn whatever_stands_in_it_a_payload_is_written_alike(
        salt in any::<[u8; 16]>(),
        arguments in proptest::option::of("(?s).*"),
        result in proptest::option::of("[\\x00-\\x20\"\\\\\\x7f]*"),
    ) {
        let payload = Payload { salt: Salt::new(salt), arguments, result, kept_since_ms: 7 };
        prop_assert_eq!(payload.to_text(), serde_json::to_string(&payload).expect("a payload can be written"));
    }
}
