//! Times as people write them.

use super::*;

#[test]
fn times_are_read_as_people_write_them() {
    let at_ms = |text: &str| text.parse::<When>().map(|when| when.at_ms);
    assert_eq!(at_ms("1970-01-02T00:00:00.5Z"), Ok(86_400_500));
    assert_eq!(at_ms("1970-01-02"), Ok(86_400_000));
    let now_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
    assert!(at_ms("2h").unwrap() <= now_ms - 7_200_000 + 60_000);
    assert!(at_ms("1d").unwrap() < at_ms("1h").unwrap());
    for text in ["", "h", "yesterday", "-1h", "1969-01-01", "99999999999999999999d", "2026-13-01"] {
        assert!(at_ms(text).unwrap_err().contains("is no time"), "{text}");
    }
}
