//! How constraints unite and read.

use super::*;

fn limit(rule_id: &str, jobs_max: u32) -> ConcurrencyLimit {
    ConcurrencyLimit { rule_id: rule_id.to_owned(), jobs_max }
}

#[test]
fn united_constraints_are_as_strict_as_each() {
    let one = Constraints { max_runtime_ms: Some(5), max_retries: None, concurrency: [limit("a", 1)].into() };
    let two = Constraints { max_runtime_ms: Some(9), max_retries: Some(2), concurrency: [limit("b", 3)].into() };
    let both = one.united(&two);
    assert_eq!(both, two.united(&one));
    assert_eq!((both.max_runtime_ms, both.max_retries), (Some(5), Some(2)));
    assert_eq!(both.concurrency, [limit("a", 1), limit("b", 3)].into());
    assert_eq!(one.united(&Constraints::default()), one);
}

#[test]
fn constraints_read_as_words() {
    let all = Constraints { max_runtime_ms: Some(30_000), max_retries: Some(1), concurrency: [limit("a", 1)].into() };
    assert_eq!(all.to_string(), "at most 30000 ms, 1 retry, 1 at a time (rule `a`)");
    assert_eq!(Constraints::default().to_string(), "no constraints");
}

#[test]
fn a_batch_needs_a_permit_for_each_of_its_messages() {
    let permit = |runtime_ms: u64| {
        let constraints = Constraints { max_runtime_ms: Some(runtime_ms), ..Constraints::default() };
        Permit::new(None, Digest::of(b"snapshot"), constraints)
    };
    let all = PermitSet::of_all(vec![permit(9), permit(5)], 2).expect("one for each");
    assert_eq!((all.permits().len(), all.constraints().max_runtime_ms), (2, Some(5)));
    for (permits, messages) in [(vec![], 0), (vec![], 1), (vec![permit(9)], 2), (vec![permit(9), permit(5)], 1)] {
        assert!(PermitSet::of_all(permits, messages).is_none());
    }
}
