//! The quick way to fold a key folds as the thorough one does.

use super::*;

#[test]
fn bytes_of_ascii_fold_as_characters_do() {
    for byte in 0..128_u8 {
        let key = format!("a{}Z", char::from(byte));
        let bytes: Vec<char> = folded_ascii(&key).map(char::from).collect();
        assert_eq!(bytes, folded(&key).collect::<Vec<char>>(), "{key:?}");
    }
}
