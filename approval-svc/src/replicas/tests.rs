//! Whoever waits on one replica hears of what another one did: by its hint, and without it.

use holdpoint_core::approval::ApprovalStatus;
use holdpoint_core::audit::{AuditEntry, EntryKind};
use tokio::time::timeout;

use super::*;
use crate::keys::ServiceSigner;
use crate::ledger::News;
use crate::metrics::Metrics;
use crate::store::contract;
use crate::store::row::PolicyRow;
use crate::store::{ApprovalMove, Change, Write};

const SOON: Duration = Duration::from_secs(60);

struct Replica {
    store: Arc<dyn Store>,
    ledger: Ledger,
    waiters: Waiters,
}

impl Replica {
    fn new(store: Arc<dyn Store>, signer: &Arc<ServiceSigner>) -> Self {
        let waiters = Waiters::default();
        let ledger = Ledger::new(Arc::clone(&store), Arc::clone(signer), waiters.clone(), Arc::new(Metrics::default()));
        Self { store, ledger, waiters }
    }

    fn listens(&self, stopping: watch::Receiver<bool>) {
        let (store, ledger, waiters) = (Arc::clone(&self.store), self.ledger.clone(), self.waiters.clone());
        tokio::spawn(Replicas { store, ledger, waiters }.run(stopping));
    }
}

/// `a` moves from this version on, and the record says so.
fn moving(version: u64) -> Change {
    let step = ApprovalMove {
        id: "a".to_owned(),
        from: ApprovalStatus::Pending,
        version,
        to: ApprovalStatus::Pending,
        expires_at_ms: None,
        reason: None,
        decided_by: None,
        at_ms: 1,
        if_rejoin_due_at_ms: None,
    };
    let mut entry = AuditEntry::new(EntryKind::Review, 1);
    entry.approval_id = Some("a".to_owned());
    Change { writes: vec![Write::MoveApproval(Box::new(step))], entries: vec![entry] }
}

#[tokio::test]
async fn who_waits_hears_of_other_replicas_by_hint_and_without_one() {
    let Some((here, there)) = crate::store::postgres::tests::pair().await else { return };
    let dir = contract::scratch_dir();
    let signer = Arc::new(ServiceSigner::load_or_create(&dir).unwrap());
    let (here, there) = (Replica::new(here, &signer), Replica::new(there, &signer));
    let policy = PolicyRow {
        snapshot_id: contract::snapshot_id(),
        canonical: contract::POLICY.to_owned(),
        registered_at_ms: contract::START_MS,
    };
    here.store.commit(Change { writes: vec![Write::AddPolicy(policy)], entries: Vec::new() }).await.unwrap();
    here.store.commit(contract::opening("a", 1, "x")).await.unwrap();
    let (_stop, stopping) = watch::channel(false);
    let mut news = here.ledger.listen();
    here.listens(stopping);

    // Without a hint: the other store is written to past its ledger, as if it had died before it told.
    let mut waiter = here.waiters.subscribe("a");
    timeout(SOON, waiter.woken()).await.expect("the first look wakes whoever is new");
    // Once more may come of the first connection to listen with; every further time is a look's.
    for version in 1..=4 {
        there.store.commit(moving(version)).await.unwrap();
        timeout(SOON, waiter.woken()).await.expect("a look at the rows wakes whoever waits");
    }

    // With one: its text comes too, which no look brings. It may come before anybody listens, so it is said again.
    let mut version = 5;
    let heard = async {
        loop {
            if let News::Event(event) = news.recv().await.unwrap() {
                break event;
            }
        }
    };
    tokio::pin!(heard);
    let event = loop {
        there.ledger.commit(moving(version)).await.unwrap();
        version += 1;
        if let Ok(event) = timeout(Duration::from_millis(500), heard.as_mut()).await {
            break event;
        }
        assert!(version < 100, "no hint was heard");
    };
    assert_eq!((event.approval_id.as_str(), event.kind), ("a", EntryKind::Review));
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn replica_does_not_hear_itself_and_takes_what_it_cannot_read_for_something_missed() {
    let bench = contract::open().await;
    let signer = Arc::new(ServiceSigner::load_or_create(&bench.dir).unwrap());
    let replica = Replica::new(Arc::clone(&bench.store), &signer);
    let mut news = replica.ledger.listen();
    let told = |from: &str| {
        serde_json::json!({"replica": from, "seq": 7, "kind": "claim", "approval_id": "a", "status": null,
                           "tenant": "acme"})
        .to_string()
    };
    replica.ledger.hear(&told(&replica.ledger.replica()));
    replica.ledger.hear("from the future");
    replica.ledger.hear(&told("another"));
    assert_eq!(news.recv().await.unwrap(), News::Missed);
    let News::Event(event) = news.recv().await.unwrap() else { panic!("an event") };
    assert_eq!((event.seq, event.tenant.as_deref()), (7, Some("acme")));
    assert!(news.try_recv().is_err());
}
