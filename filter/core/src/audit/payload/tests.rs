//! What is kept of arguments and results, and what its digest holds.

use super::*;

const SALT: Salt = Salt::new([7; 16]);

fn kept(level: AuditLevel, text: &str) -> (Payload, Option<PayloadDigest>) {
    let mut payload = Payload::new(SALT);
    let said = payload.keep(Part::Arguments, level, text);
    (payload, said)
}

#[test]
fn each_level_keeps_what_it_says_and_no_more() {
    let text = r#"{"title":"broken","note":"use ghp_abcdefghijklmnopqrstuvwxyz0123456789 for it"}"#;
    let (payload, said) = kept(AuditLevel::Metadata, text);
    assert_eq!((payload.text_bytes(), said), (0, None));

    let (payload, said) = kept(AuditLevel::Digest, text);
    let said = said.unwrap();
    assert_eq!((payload.text_bytes(), said.digest), (0, Some(SALT.digest(Part::Arguments, text))));

    let (payload, said) = kept(AuditLevel::Full, text);
    assert_eq!(payload.text(Part::Arguments), Some(text));
    assert_eq!(payload.misfit(Part::Arguments, said.as_ref()), None);

    let (payload, said) = kept(AuditLevel::Redacted, text);
    let without = r#"{"title":"broken","note":"use [redacted] for it"}"#;
    assert_eq!(payload.text(Part::Arguments), Some(without));
    // The digest is of what is kept: one of the whole would tell a short secret to whoever holds the salt.
    assert_eq!(said.as_ref().unwrap().digest, Some(SALT.digest(Part::Arguments, without)));
    assert_eq!(payload.misfit(Part::Arguments, said.as_ref()), None);
}

#[test]
fn a_text_that_cannot_be_looked_through_is_not_kept_redacted() {
    let (payload, said) = kept(AuditLevel::Redacted, "password = \"no json");
    assert_eq!(said.unwrap().lost, Some(Lost::Unreadable));
    assert_eq!(payload.text_bytes(), 0);
}

#[test]
fn a_long_text_is_cut_at_a_character_and_says_so() {
    let text = "é".repeat(TEXT_BYTES_MAX);
    let (payload, said) = kept(AuditLevel::Full, &format!("x{text}"));
    let said = said.unwrap();
    assert_eq!(said.cut_to_bytes, Some(TEXT_BYTES_MAX as u64 - 1));
    assert_eq!(said.bytes, 2 * TEXT_BYTES_MAX as u64 + 1);
    assert_eq!(payload.misfit(Part::Arguments, Some(&said)), None);
    // Nobody keeps more by saying so.
    let whole = "x".repeat(TEXT_BYTES_MAX + 1);
    let said = PayloadDigest { digest: Some(SALT.digest(Part::Arguments, &whole)), cut_to_bytes: None, ..said };
    let long = Payload { arguments: Some(whole), ..Payload::new(SALT) };
    assert!(matches!(long.misfit(Part::Arguments, Some(&said)), Some(Misfit::Changed { .. })));
}

#[test]
fn another_text_another_salt_and_another_part_do_not_fit() {
    let (payload, said) = kept(AuditLevel::Full, "{\"amount\":10}");
    let mut edited = payload.clone();
    edited.arguments = Some("{\"amount\":99}".to_owned());
    assert!(matches!(edited.misfit(Part::Arguments, said.as_ref()), Some(Misfit::Changed { .. })));
    let mut salted = payload.clone();
    salted.salt = Salt::new([8; 16]);
    assert!(matches!(salted.misfit(Part::Arguments, said.as_ref()), Some(Misfit::Changed { .. })));
    let swapped = Payload { result: payload.arguments.clone(), ..Payload::new(SALT) };
    assert_eq!(swapped.misfit(Part::Arguments, said.as_ref()), Some(Misfit::Missing));
    assert_eq!(swapped.misfit(Part::Result, None), Some(Misfit::Unnamed));
    assert!(matches!(swapped.misfit(Part::Result, said.as_ref()), Some(Misfit::Changed { .. })));
}

#[test]
fn debug_shows_no_text_and_no_salt() {
    let (payload, _) = kept(AuditLevel::Full, "{\"secret\":\"hunter2\"}");
    assert_eq!(format!("{payload:?}"), "Payload { arguments: Some(20), result: None, .. }");
}

#[test]
fn a_salt_is_32_hex_digits() {
    assert_eq!(SALT.to_string().parse::<Salt>(), Ok(SALT));
    assert_eq!("07".parse::<Salt>(), Err(SaltError::Length));
    assert!("zz".repeat(16).parse::<Salt>().is_err());
}
