//! Bursts pass, floods do not, room comes back with time, and no number of strangers takes the memory.

use super::*;

#[test]
fn burst_passes_and_a_flood_waits_for_its_rate() {
    let buckets = Buckets::new(10);
    let start = Instant::now();
    for _ in 0..40 {
        assert_eq!(buckets.take("a", start), Ok(()));
    }
    assert_eq!(buckets.take("a", start), Err(Exceeded { wait: Duration::from_millis(100) }));
    assert_eq!(buckets.take("b", start), Ok(()), "others have room of their own");
    let later = start + Duration::from_millis(100);
    assert_eq!(buckets.take("a", later), Ok(()));
    assert!(buckets.take("a", later).is_err());
    // However long it was quiet, no more than a burst.
    let much_later = later + Duration::from_secs(3_600);
    assert_eq!((0..100).filter(|_| buckets.take("a", much_later).is_ok()).count(), 40);
}

#[test]
fn buckets_are_bounded_and_those_beyond_share_one() {
    let buckets = Buckets::new(1);
    let start = Instant::now();
    for key in 0..BUCKETS_MAX {
        buckets.take(key, start).unwrap();
    }
    let shared = (BUCKETS_MAX..BUCKETS_MAX + 10).filter(|key| buckets.take(*key, start).is_ok()).count();
    assert_eq!((shared, buckets.state.lock().unwrap().by_key.len()), (4, BUCKETS_MAX));
    // All full again: they are forgotten, and new ones have room.
    buckets.take(BUCKETS_MAX, start + Duration::from_secs(60)).unwrap();
    assert_eq!(buckets.state.lock().unwrap().by_key.len(), 1);
}

#[test]
fn addresses_of_one_subscriber_are_one_peer() {
    let peer = |text: &str| Peer::new(text.parse().unwrap());
    assert_eq!(peer("2001:db8:1:2:3::4"), peer("2001:db8:1:2:ffff::"));
    assert_ne!(peer("2001:db8:1:2::1"), peer("2001:db8:1:3::1"));
    assert_eq!(peer("::ffff:192.0.2.7"), peer("192.0.2.7"));
    assert_ne!(peer("192.0.2.7"), peer("192.0.2.8"));
}
