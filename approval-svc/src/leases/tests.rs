//! One replica at a time has a lease, and another one gets it when the first has given it back.

use super::*;
use crate::store::contract;
use crate::store::postgres::tests::pair;

#[tokio::test]
async fn lease_is_held_by_one_replica_and_passes_on_when_it_ends() {
    let Some((here, there)) = pair().await else { return };
    let lease = |store, name: &str| Lease::new(store, "notices hook", name.into());
    let (first, second) = (lease(here, "first"), lease(there, "second"));
    assert!(first.held().await.unwrap());
    assert!(first.held().await.unwrap() && !second.held().await.unwrap());
    second.end().await;
    assert!(!second.held().await.unwrap(), "nobody ends what another one holds");
    first.end().await;
    assert!(second.held().await.unwrap() && !first.held().await.unwrap());
}

#[tokio::test]
async fn store_of_one_service_needs_no_lease() {
    let bench = contract::open().await;
    for name in ["first", "second"] {
        assert!(Lease::new(Arc::clone(&bench.store), "sweep", name.into()).held().await.unwrap());
    }
    assert_eq!(bench.store.lease("sweep").await.unwrap(), None, "nothing was written for it");
}
