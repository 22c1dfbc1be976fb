//! The state machine's edges, the key's one spelling, and what a signature covers.

use super::*;

const ALL: [ApprovalStatus; 9] = [
    ApprovalStatus::Pending,
    ApprovalStatus::Approved,
    ApprovalStatus::Denied,
    ApprovalStatus::Expired,
    ApprovalStatus::Withdrawn,
    ApprovalStatus::Superseded,
    ApprovalStatus::Consumed,
    ApprovalStatus::Lapsed,
    ApprovalStatus::Revoked,
];

/// RFC 8032 §7.1, test 1.
const KEY: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn what_is_final_stays_final_and_what_is_open_can_end() {
    for status in ALL {
        let ends = ALL.iter().any(|next| status.may_become(*next));
        assert_eq!(ends, status.is_open(), "{status}");
        assert!(!status.may_become(status), "{status}");
        assert!(!status.may_become(ApprovalStatus::Pending), "nothing is asked twice: {status}");
    }
}

#[test]
fn only_an_approved_request_can_be_used() {
    for status in ALL {
        let usable = status.may_become(ApprovalStatus::Consumed);
        assert_eq!(usable, status == ApprovalStatus::Approved, "{status}");
    }
}

#[test]
fn a_status_has_one_spelling_in_json_and_in_words() {
    for status in ALL {
        assert_eq!(serde_json::to_string(&status).expect("JSON"), format!("\"{status}\""));
    }
}

#[test]
fn a_service_key_is_read_back_as_written_and_a_wrong_one_says_what_is_wrong() {
    let key: ServiceKey = KEY.parse().expect("a key");
    assert_eq!(key.to_string(), KEY);
    let zeros = format!("ed25519:{}", "0".repeat(64));
    for (text, error) in [
        (KEY.trim_start_matches("ed25519:"), ServiceKeyError::Prefix),
        ("ed25519:d75a", ServiceKeyError::Hex),
        ("ed25519:xyz", ServiceKeyError::Hex),
        (zeros.as_str(), ServiceKeyError::Point),
    ] {
        assert_eq!(text.parse::<ServiceKey>(), Err(error), "{text}");
    }
}

#[test]
fn a_signature_covers_the_claim_and_what_it_is() {
    assert_eq!(signed_bytes("{}"), b"holdpoint/claim/v1\n{}");
}
