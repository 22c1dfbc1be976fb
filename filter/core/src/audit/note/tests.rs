//! A checkpoint is believed when this key signed this very text, and in no other case.

use ed25519_dalek::{Signer, SigningKey};

use super::*;

fn key() -> (SigningKey, ServiceKey) {
    let signing = SigningKey::from_bytes(&[7; 32]);
    let public = format!("ed25519:{}", hex_encode(signing.verifying_key().as_bytes())).parse().unwrap();
    (signing, public)
}

fn signed(text: &str) -> String {
    let (signing, public) = key();
    write(&origin(&public), &public, text, &signing.sign(text.as_bytes()).to_bytes())
}

#[test]
fn checkpoint_that_this_key_signed_is_read() {
    let (_, public) = key();
    let checkpoint = Checkpoint { origin: origin(&public), size: 12, root: Digest::of(b"root") };
    assert_eq!(read_checkpoint(&signed(&checkpoint_text(&checkpoint)), &public), Ok(checkpoint));
}

#[test]
fn signature_of_another_key_beside_ours_does_no_harm() {
    let (_, public) = key();
    let checkpoint = Checkpoint { origin: origin(&public), size: 12, root: Digest::of(b"root") };
    let note = signed(&checkpoint_text(&checkpoint)) + "— witness.example az3grlgtzPI=\n";
    assert_eq!(read_checkpoint(&note, &public), Ok(checkpoint));
}

#[test]
fn every_other_note_is_refused() {
    let (_, public) = key();
    let name = origin(&public);
    let root = STANDARD.encode(Digest::of(b"root").as_bytes());
    let good = signed(&format!("{name}\n12\n{root}\n"));
    assert_eq!(read_checkpoint(&good.replace("\n12\n", "\n13\n"), &public), Err(NoteError::Signature));
    assert!(matches!(
        read_checkpoint(&signed(&format!("elsewhere\n12\n{root}\n")), &public),
        Err(NoteError::Signer { .. })
    ));
    for text in [
        format!("{name}\n012\n{root}\n"),
        format!("{name}\n-1\n{root}\n"),
        format!("{name}\n12\nAAAA\n"),
        format!("{name}\n12\n{root}\nmore\n"),
        "\n12\n".to_owned(),
    ] {
        assert_eq!(read_checkpoint(&signed(&text), &public), Err(NoteError::Shape), "{text:?}");
    }
    assert_eq!(read_checkpoint("", &public), Err(NoteError::Shape));
    assert_eq!(read_checkpoint(&"x".repeat(NOTE_BYTES_MAX + 1), &public), Err(NoteError::Shape));
}
