//! Claims of tokens in, whom they named out: never anybody else.

use serde_json::{Value, json};

use super::*;
use crate::identity::metadata::encode;

fn principal(subject: &str) -> Arc<Principal> {
    Arc::new(Principal { subject: subject.to_owned(), ..Principal::anonymous() })
}

/// Claims as they stand in metadata, in this order.
struct Token(Vec<u8>);

impl Token {
    fn of(claims: &[(&str, Value)]) -> Self {
        Self(claims.iter().flat_map(|(name, value)| encode::structure(&json!({*name: value}))).collect())
    }

    fn of_subject(subject: &str) -> Self {
        Self::of(&[("iss", json!("i")), ("sub", json!(subject))])
    }

    fn claims(&self) -> Structure<'_> {
        Structure::of(&self.0)
    }
}

#[test]
fn who_comes_again_is_known_in_whatever_order_the_claims_come() {
    let mut known = Known::default();
    let (issuer, subject, scope) = (("iss", json!("i")), ("sub", json!("alice")), ("scope", json!("read")));
    let token = Token::of(&[issuer.clone(), subject.clone(), scope.clone()]);
    assert!(known.find(token.claims()).is_none());
    known.keep(token.claims(), &principal("alice"));
    let again = Token::of(&[scope, issuer, subject]);
    assert_eq!(known.find(token.claims()).expect("known").subject, "alice");
    assert_eq!(known.find(again.claims()).expect("known").subject, "alice");
}

#[test]
fn one_claim_more_or_less_or_another_is_somebody_else() {
    let (issuer, subject, scope) = (("iss", json!("i")), ("sub", json!("alice")), ("scope", json!("read")));
    let token = Token::of(&[issuer.clone(), subject.clone(), scope.clone()]);
    let claims: Vec<Box<[u8]>> = token.claims().entries().filter_map(Result::ok).map(Box::from).collect();
    // In every place, as if all tokens shared one.
    let at_every_place = || {
        let named = || Some(Box::new(Named { claims: claims.clone(), principal: principal("alice") }));
        Known { places: (0..KNOWN_MAX).map(|_| named()).collect() }
    };
    assert!(at_every_place().find(token.claims()).is_some());
    for other in [
        &[issuer.clone(), subject.clone()][..],
        &[issuer.clone(), subject.clone(), scope.clone(), ("tenant", json!("t"))],
        &[issuer.clone(), subject.clone(), ("scope", json!("reae"))],
        &[issuer.clone(), subject.clone(), ("scopf", json!("read"))],
        &[issuer.clone(), ("sub", json!("bob")), scope.clone()],
        // As many, and each of them known: one is here twice, another is missing.
        &[issuer.clone(), issuer.clone(), scope.clone()],
        &[issuer.clone(), subject.clone(), scope.clone(), scope.clone()],
        &[],
    ] {
        assert!(at_every_place().find(Token::of(other).claims()).is_none(), "{other:?}");
    }
}

#[test]
fn nobody_is_taken_for_whoever_has_the_same_place() {
    let mut known = Known::default();
    let callers: Vec<String> = (0..10 * KNOWN_MAX).map(|number| format!("agent-{number}")).collect();
    for caller in &callers {
        known.keep(Token::of_subject(caller).claims(), &principal(caller));
    }
    let found = |caller: &String| known.find(Token::of_subject(caller).claims());
    assert!(callers.iter().all(|caller| found(caller).is_none_or(|found| found.subject == *caller)));
    let count = callers.iter().filter(|caller| found(caller).is_some()).count();
    assert!((KNOWN_MAX / 2..=KNOWN_MAX).contains(&count), "{count} are known");
}

#[test]
fn what_is_long_or_says_a_thing_twice_is_not_kept() {
    let mut known = Known::default();
    let many: Vec<(String, Value)> = (0..=CLAIMS_MAX).map(|number| (format!("claim-{number}"), json!(1))).collect();
    let many: Vec<(&str, Value)> = many.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let long: Vec<(String, Value)> =
        (0..=CLAIMS_BYTES_MAX / 64).map(|number| (format!("{number:0>64}"), json!(1))).collect();
    let long: Vec<(&str, Value)> = long.iter().take(60).map(|(name, value)| (name.as_str(), value.clone())).collect();
    let twice = [("iss", json!("i")), ("sub", json!("alice")), ("sub", json!("bob"))];
    for token in [Token::of(&many), Token::of(&long), Token::of(&twice)] {
        known.keep(token.claims(), &principal("alice"));
        assert!(known.find(token.claims()).is_none());
    }
}
