//! Places that many gateways want, on both databases.

use std::sync::Arc;

use futures_util::future::join_all;
use holdpoint_core::digest::Digest;
use holdpoint_core::fleet::FleetLimit;

use super::*;
use crate::store::contract::{self, Bench};
use crate::store::postgres;

/// A store of each kind that is installed.
async fn benches() -> Vec<Bench> {
    let mut benches = vec![contract::open().await];
    benches.extend(postgres::tests::fresh().await);
    benches
}

fn limit(name: &str, most: u32, per_ms: Option<u64>) -> FleetLimit {
    FleetLimit { name: Digest::of(name.as_bytes()), rule_id: name.to_owned(), most, per_ms }
}

fn wanted(holder: &str, limits: &[FleetLimit]) -> TakeLeases {
    TakeLeases {
        holder: holder.to_owned(),
        call_digest: Digest::of(holder.as_bytes()),
        ttl_ms: 60_000,
        limits: limits.to_vec(),
    }
}

async fn full(store: &dyn Store, holder: &str, limits: &[FleetLimit]) -> Option<String> {
    take_all(store, &wanted(holder, limits)).await.unwrap()
}

#[tokio::test]
async fn of_many_who_ask_at_once_as_many_get_a_place_as_there_are() {
    let bench = contract::open().await;
    let mut all = vec![vec![Arc::clone(&bench.store)]];
    // Two services on one database count as one.
    all.extend(postgres::tests::pair().await.map(|(here, there)| vec![here, there]));
    for stores in all {
        for limits in [[limit("three", 3, None)], [limit("window", 3, Some(60_000))]] {
            let asked = (0..20).map(|number| {
                let (store, limits) = (&stores[number % stores.len()], &limits);
                async move { full(&**store, &format!("h{number}"), limits).await }
            });
            let answers = join_all(asked).await;
            assert_eq!(answers.iter().filter(|full| full.is_none()).count(), 3);
            assert!(answers.iter().flatten().all(|rule| *rule == limits[0].rule_id));
        }
    }
}

#[tokio::test]
async fn nothing_is_taken_unless_all_is_and_what_ran_stays_counted() {
    for bench in benches().await {
        counts_what_ran(&bench).await;
    }
}

async fn counts_what_ran(bench: &Bench) {
    let store = &*bench.store;
    let (slot, window) = (limit("slot", 1, None), limit("window", 2, Some(10_000)));
    assert_eq!(full(store, "a", &[window.clone(), slot.clone()]).await, None);
    assert_eq!(full(store, "a", &[window.clone(), slot.clone()]).await, None, "asked again by the same call");
    assert_eq!(full(store, "b", &[window.clone(), slot.clone()]).await.as_deref(), Some("slot"));
    assert_eq!(full(store, "c", std::slice::from_ref(&window)).await, None, "`b` took no place in the window");
    assert_eq!(full(store, "d", std::slice::from_ref(&window)).await.as_deref(), Some("window"));
    end(store, "c".to_owned(), EndLeases { ran: false }).await.unwrap();
    assert_eq!(full(store, "d", std::slice::from_ref(&window)).await, None, "`c` never ran");
    end(store, "a".to_owned(), EndLeases { ran: true }).await.unwrap();
    end(store, "a".to_owned(), EndLeases { ran: true }).await.unwrap();
    assert_eq!(full(store, "e", std::slice::from_ref(&slot)).await, None, "the slot is free");
    assert_eq!(full(store, "e", std::slice::from_ref(&window)).await.as_deref(), Some("window"), "the call counts");
    bench.advance(10_000);
    assert_eq!(full(store, "e", std::slice::from_ref(&window)).await, None, "until its time is over");
}

#[tokio::test]
async fn places_expire_with_whoever_has_them_unless_they_are_renewed() {
    for bench in benches().await {
        expires(&bench).await;
    }
}

async fn expires(bench: &Bench) {
    let store = &*bench.store;
    let slot = [limit("slot", 1, None)];
    let renewal = |to: Option<&str>| RenewLeases { ttl_ms: 60_000, to: to.map(str::to_owned) };
    assert_eq!(full(store, "a", &slot).await, None);
    bench.advance(40_000);
    renew(store, "a".to_owned(), renewal(None)).await.unwrap();
    bench.advance(40_000);
    assert!(full(store, "b", &slot).await.is_some(), "it was renewed");
    renew(store, "a".to_owned(), renewal(Some("task-1"))).await.unwrap();
    end(store, "a".to_owned(), EndLeases { ran: true }).await.unwrap();
    assert!(full(store, "b", &slot).await.is_some(), "a task has it now");
    bench.advance(60_000);
    let late = renew(store, "task-1".to_owned(), renewal(None)).await;
    assert!(matches!(late, Err(LeaseError::NotFound(_))), "{late:?}");
    assert_eq!(full(store, "b", &slot).await, None);
}

/// Two calls whose server answers both with the same task.
#[tokio::test]
async fn a_task_that_two_calls_began_has_a_place_under_each_limit() {
    for bench in benches().await {
        let store = &*bench.store;
        let to_task = || RenewLeases { ttl_ms: 60_000, to: Some("task-1".to_owned()) };
        let (one, both) = ([limit("one", 2, None)], [limit("one", 2, None), limit("two", 1, None)]);
        assert_eq!(full(store, "a", &one).await, None);
        assert_eq!(full(store, "b", &both).await, None);
        renew(store, "a".to_owned(), to_task()).await.unwrap();
        renew(store, "b".to_owned(), to_task()).await.unwrap();
        assert!(full(store, "c", &both).await.is_some(), "the second limit's only place is the task's");
        assert_eq!(full(store, "d", &one).await, None, "and it has one place under the first");
        assert!(full(store, "e", &one).await.is_some());
        end(store, "task-1".to_owned(), EndLeases { ran: true }).await.unwrap();
        assert_eq!(full(store, "c", &both).await, None);
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bench = contract::open().await;
    let store = &*bench.store;
    let one = [limit("one", 1, None)];
    let with = async |change: fn(&mut TakeLeases)| {
        let mut asked = wanted("a", &one);
        change(&mut asked);
        take_all(store, &asked).await
    };
    assert!(matches!(with(|asked| asked.holder = "a b".to_owned()).await, Err(LeaseError::Holder)));
    assert!(matches!(with(|asked| asked.ttl_ms = 1).await, Err(LeaseError::Time("ttl_ms"))));
    assert!(matches!(with(|asked| asked.limits.clear()).await, Err(LeaseError::Limits)));
    assert!(matches!(with(|asked| asked.limits[0].most = 0).await, Err(LeaseError::Limits)));
    assert!(matches!(with(|asked| asked.limits[0].per_ms = Some(0)).await, Err(LeaseError::Time("per_ms"))));
}

#[tokio::test]
async fn an_answer_is_signed_for_what_was_asked() {
    let bench = contract::open().await;
    let signer = ServiceSigner::load(&bench.dir).unwrap();
    let asked = wanted("a", &[limit("one", 1, None)]);
    let signed = take(&*bench.store, &signer, asked.clone()).await.unwrap();
    let keys = signer.public_key().into();
    assert_eq!(signed.verify(&keys, &asked).map(|taken| taken.full), Some(None));
    assert_eq!(signed.verify(&keys, &wanted("b", &asked.limits)), None);
}
