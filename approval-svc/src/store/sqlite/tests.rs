//! SQLite keeps the contract, and what it acknowledged it has.

use std::sync::Arc;

use holdpoint_core::audit::{AuditEntry, EntryKind};

use holdpoint_core::approval::ApprovalStatus;

use super::*;
use crate::store::row::{HistoryFilter, Judge, Readable};
use crate::store::sql::{history, machine_clock, marks, reads};
use crate::store::{Change, Store, Write, contract};

#[tokio::test]
async fn sqlite_keeps_the_contract_of_every_store() {
    contract::check(contract::open_with_policy).await;
}

#[tokio::test]
async fn two_processes_append_to_one_log() {
    let bench = contract::open().await;
    let file = bench.dir.join("holdpoint.db");
    let other = open(&file, machine_clock()).await.unwrap();
    let entry = || Change { writes: Vec::new(), entries: vec![AuditEntry::new(EntryKind::Gap, 1)] };
    for at in 0..10 {
        assert_eq!(bench.store.commit(entry()).await.unwrap(), [at * 2]);
        assert_eq!(other.commit(entry()).await.unwrap(), [at * 2 + 1]);
    }
}

#[tokio::test]
async fn locked_database_is_not_writable_and_acknowledges_nothing() {
    let dir = contract::scratch_dir();
    let file = dir.join("holdpoint.db");
    let store = Arc::new(open(&file, machine_clock()).await.unwrap());
    store.writable().await.unwrap();
    let mut thief = SqliteConnectOptions::new().filename(&file).connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut thief).await.unwrap();
    let entry = Change { writes: Vec::new(), entries: vec![AuditEntry::new(EntryKind::Gap, 1)] };
    let (writable, committed) = tokio::join!(store.writable(), store.commit(entry.clone()));
    assert!(writable.is_err() && committed.is_err());
    sqlx::query("ROLLBACK").execute(&mut thief).await.unwrap();
    assert_eq!(store.commit(entry).await.unwrap(), [0]);
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn history_of_a_server_a_tool_or_a_tenant_is_read_by_an_index_in_its_order() {
    use sqlx::{AssertSqlSafe, Row};
    let bench = contract::open().await;
    let mut connection = SqliteConnectOptions::new().filename(bench.dir.join("holdpoint.db")).connect().await.unwrap();
    let some = |name: &str| Some(name.to_owned());
    let filters = [
        (HistoryFilter { server: some("github"), ..HistoryFilter::default() }, "approvals_by_server"),
        (HistoryFilter { target: some("create_issue"), over: true, ..HistoryFilter::default() }, "approvals_by_target"),
        (HistoryFilter { tenant: some("acme"), ..HistoryFilter::default() }, "approvals_by_tenant"),
        (HistoryFilter { status: Some(ApprovalStatus::Denied), ..HistoryFilter::default() }, "approvals_by_status"),
    ];
    for (filter, index) in filters {
        let statement = format!("EXPLAIN QUERY PLAN {}", history::select(&filter, None).into_string());
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:?}");
        assert!(!plan.iter().any(|step| step.contains("FOR ORDER BY")), "nothing is sorted: {plan:?}");
    }
}

/// Twice a second, however many wait.
#[tokio::test]
async fn what_is_due_is_found_without_a_look_at_what_is_not() {
    use sqlx::{AssertSqlSafe, Row};
    let bench = contract::open().await;
    let mut connection = SqliteConnectOptions::new().filename(bench.dir.join("holdpoint.db")).connect().await.unwrap();
    let statement = format!("EXPLAIN QUERY PLAN {}", reads::DUE);
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
    for index in [
        "approvals_due (status=? AND expires_at_ms<?)",
        "approvals_rejoin (status=? AND rejoin_by_ms>? AND rejoin_by_ms<?)",
        "approvals_escalate (status=? AND escalates_at_ms>? AND escalates_at_ms<?)",
    ] {
        assert!(plan.iter().any(|step| step.contains(index)), "{index}: {plan:?}");
    }
}

#[tokio::test]
async fn record_is_searched_by_its_index_in_the_order_of_time() {
    use crate::store::row::{MarkQuery, Place};
    use sqlx::{AssertSqlSafe, Row};
    let bench = contract::open().await;
    let mut connection = SqliteConnectOptions::new().filename(bench.dir.join("holdpoint.db")).connect().await.unwrap();
    let query = MarkQuery {
        marks: vec![1, 2, 3],
        since_ms: 1,
        until_ms: 9,
        before: Some(Place { at_ms: 5, seq: 5 }),
        rows_max: 50,
    };
    let statement = format!("EXPLAIN QUERY PLAN {}", marks::select(&query, 2).into_string());
    let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
    let keyed = plan.iter().filter(|step| step.contains("SEARCH") && step.contains("PRIMARY KEY")).count();
    assert_eq!(keyed, 3, "each by the key: {plan:?}");
    assert!(!plan.iter().any(|step| step.contains("SCAN m") || step.contains("FOR ORDER BY")), "{plan:?}");
}

#[tokio::test]
async fn texts_of_the_past_are_looked_for_by_their_words_and_not_in_every_row() {
    use sqlx::{AssertSqlSafe, Row};
    let bench = contract::open().await;
    let mut connection = SqliteConnectOptions::new().filename(bench.dir.join("holdpoint.db")).connect().await.unwrap();
    let text = HistoryFilter { text: Some("create issue".to_owned()), ..HistoryFilter::default() };
    for filter in [text, HistoryFilter { who: Some("bob".to_owned()), ..HistoryFilter::default() }] {
        let statement = format!("EXPLAIN QUERY PLAN {}", history::select(&filter, None).into_string());
        let rows = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut connection).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
        assert!(plan.iter().any(|step| step.contains("SEARCH approval_words USING PRIMARY KEY (field=?")), "{plan:?}");
        let probes = plan.iter().filter(|step| step.contains("SEARCH approval_words")).count();
        assert_eq!(probes, plan.iter().filter(|step| step.contains("approval_words")).count(), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("SCAN")), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("FOR ORDER BY")), "nothing is sorted: {plan:?}");
    }
}

#[tokio::test]
async fn no_word_of_erased_arguments_is_kept() {
    use sqlx::Row;
    let bench = contract::open_with_policy().await;
    bench.store.commit(contract::past(1, "the secret plan")).await.unwrap();
    let mut connection = SqliteConnectOptions::new().filename(bench.dir.join("holdpoint.db")).connect().await.unwrap();
    let mut count = async |field: &'static str| {
        let rows = sqlx::query("SELECT count(*) FROM approval_words WHERE field = $1").bind(field);
        rows.fetch_one(&mut connection).await.unwrap().get::<i64, _>(0)
    };
    assert!(count("asked").await > 3);
    let erase = Write::EraseArguments { ids: vec![contract::number(1)], at_ms: contract::START_MS };
    bench.store.commit(Change { writes: vec![erase.clone()], entries: Vec::new() }).await.unwrap();
    assert!(count("asked").await > 3, "what still waits keeps its arguments");
    crate::store::sqlite::run_sql(&bench.dir.join("holdpoint.db"), "UPDATE approvals SET status = 'denied'").await;
    bench.store.commit(Change { writes: vec![erase], entries: Vec::new() }).await.unwrap();
    assert_eq!(count("asked").await, 0);
    assert!(count("named").await > 0 && count("who").await > 0, "what was asked for and by whom stays");
}

/// What stops calls, and the page of an approval, are read at once however long people search.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn nothing_but_searches_waits_behind_searches() {
    let bench = contract::open_with_policy().await;
    bench.store.commit(contract::past(1, "needle")).await.unwrap();
    let (asked, mut are_asked) = tokio::sync::mpsc::unbounded_channel();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = Arc::new(std::sync::Mutex::new(ended));
    let searches: Vec<_> = (0..READERS.searches_max)
        .map(|_| {
            let (store, asked, ended) = (Arc::clone(&bench.store), asked.clone(), Arc::clone(&ended));
            let judge = Judge(Arc::new(move |_| {
                asked.send(()).unwrap();
                // Until the test ends it.
                let _ = ended.lock().unwrap().recv();
                true
            }));
            let filter = HistoryFilter {
                text: Some("needle".to_owned()),
                readable: Readable::Judged(judge),
                rows_max: 1,
                ..HistoryFilter::default()
            };
            tokio::spawn(async move { store.history(filter).await })
        })
        .collect();
    for _ in 0..READERS.searches_max {
        are_asked.recv().await.unwrap();
    }
    let id = contract::number(1);
    assert_eq!(bench.store.freezes().await.unwrap().freezes.len(), 0);
    assert!(bench.store.dossier(&id).await.unwrap().is_some());
    drop(end);
    for search in searches {
        assert_eq!(search.await.unwrap().unwrap().rows.len(), 1);
    }
}

/// How long a search takes among many approvals, as `HOLDPOINT_FULL=1 cargo test -p approval-svc among_many` prints it.
#[tokio::test]
async fn search_among_many_approvals_finds_the_one() {
    let count: u128 = if std::env::var_os("HOLDPOINT_FULL").is_some() { 100_000 } else { 500 };
    let bench = contract::open_with_policy().await;
    let began = std::time::Instant::now();
    for from in (0..count).step_by(500) {
        let opened = (from..from + 500).map(|n| bench.store.commit(contract::past(n, &format!("site {n} needle{n}"))));
        for answer in futures_util::future::join_all(opened).await {
            answer.unwrap();
        }
    }
    eprintln!("{count} approvals in {:?}", began.elapsed());
    let find = async |what: &str, filter: HistoryFilter| {
        let began = std::time::Instant::now();
        let found = bench.store.history(HistoryFilter { rows_max: 50, ..filter }).await.unwrap();
        eprintln!("{what}: {} rows in {:?}", found.rows.len(), began.elapsed());
        found
    };
    let text = |text: &str| HistoryFilter { text: Some(text.to_owned()), ..HistoryFilter::default() };
    let oldest = find("one word that one call has", text("needle0")).await;
    assert!(oldest.rows.iter().any(|past| past.approval.asked.call_text.contains("site 0 needle0\"")));
    assert_eq!(find("two words of one call", text("site 7 needle7\"")).await.rows.len(), 1);
    assert_eq!(find("a word that every call has", text("arguments")).await.rows.len(), 50);
    assert_eq!(
        find("a name that every call has", HistoryFilter { who: Some("bob".to_owned()), ..text("site") })
            .await
            .rows
            .len(),
        50
    );
    assert_eq!(find("what no call has", text("haystack")).await.rows.len(), 0);
    let judged = HistoryFilter { readable: Readable::Judged(Judge(Arc::new(|_| false))), ..text("needle0") };
    assert_eq!(find("a word in calls that the reader may not read", judged).await.rows.len(), 0);
}
