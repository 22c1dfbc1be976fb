//! Digests and hex: one spelling each, published vectors.

use super::*;

const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn digest_of_the_standard_vector_is_written_with_its_algorithm() {
    assert_eq!(Digest::of(b"abc").to_string(), ABC);
    assert_eq!(Digest::of(b"abc").short(), "ba7816bf8f01");
    assert_eq!(format!("{:?}", Digest::of(b"abc")), format!("Digest({ABC})"));
}

#[test]
fn tagged_digest_is_the_digest_of_tag_line_feed_bytes() {
    assert_eq!(Digest::tagged("holdpoint/call/v1", b"{}"), Digest::of(b"holdpoint/call/v1\n{}"));
    assert_ne!(Digest::tagged("a", b"x"), Digest::tagged("b", b"x"));
}

#[test]
fn digest_reads_back_what_it_wrote_in_text_and_json() {
    let digest = Digest::of(b"abc");
    assert_eq!(ABC.parse(), Ok(digest));
    assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
    let json = serde_json::to_string(&digest).unwrap();
    assert_eq!(json, format!("\"{ABC}\""));
    assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
}

#[test]
fn any_other_spelling_of_a_digest_is_refused() {
    for (text, error) in [
        ("", "a digest starts with `sha256:`"),
        ("SHA256:00", "a digest starts with `sha256:`"),
        ("sha256:0", "after `sha256:` hex comes in pairs of digits, found an odd number"),
        ("sha256:00", "a digest has 64 hex digits after `sha256:`, found 2"),
        ("sha256:0A", "after `sha256:` hex digits are `0`-`9` and lower-case `a`-`f`, found another at byte 1"),
        ("sha256: 0", "after `sha256:` hex digits are `0`-`9` and lower-case `a`-`f`, found another at byte 0"),
    ] {
        assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), error, "{text}");
    }
    assert!(serde_json::from_str::<Digest>("7").unwrap_err().to_string().contains("expected a digest"));
}

#[test]
fn hex_round_trips_every_byte() {
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(hex_decode(&hex_encode(&bytes)), Ok(bytes));
    assert_eq!(hex_decode("é"), Err(HexError::Digit { at: 0 }));
}
