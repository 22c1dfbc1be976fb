//! A task that ends shows, comes back, and does not come back once the service stops.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::*;

const PACE: Pace = Pace { pause: Duration::from_millis(1), steady: Duration::from_millis(1) };
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn task_that_panics_shows_and_is_begun_again_until_it_runs_steadily() {
    let tasks = Tasks::default();
    let (_stop, stopping) = watch::channel(false);
    let begun = Arc::new(AtomicU64::new(0));
    let (go, gone) = watch::channel(false);
    let count = Arc::clone(&begun);
    let begin = move || {
        let (count, mut gone) = (Arc::clone(&count), gone.clone());
        async move {
            let nth = count.fetch_add(1, Ordering::SeqCst);
            assert!(nth > 0, "the first one fails");
            if nth == 1 {
                // The second one ends when it is told to, as if by itself.
                let _ = gone.wait_for(|gone| *gone).await;
            } else {
                std::future::pending::<()>().await;
            }
        }
    };
    let slow = Pace { steady: PATIENCE, ..PACE };
    let keeping = tokio::spawn(tasks.clone().keep("sweep", slow, stopping, begin));
    until("a second begin", || begun.load(Ordering::SeqCst) == 2).await;
    let [trouble] = &tasks.troubles()[..] else { panic!("{:?}", tasks.troubles()) };
    assert_eq!(trouble, "the task `sweep` panicked: the first one fails; it is begun again");
    go.send_replace(true);
    until("a third begin", || begun.load(Ordering::SeqCst) == 3).await;
    assert_eq!(tasks.restarts(), [("sweep", 2)]);
    assert!(tasks.troubles()[0].contains("ended by itself"), "{:?}", tasks.troubles());
    keeping.abort();
}

#[tokio::test]
async fn task_that_runs_steadily_again_is_no_trouble_any_more() {
    let tasks = Tasks::default();
    let (stop, stopping) = watch::channel(false);
    let begun = Arc::new(AtomicU64::new(0));
    let (count, mut told) = (Arc::clone(&begun), stopping.clone());
    told.mark_unchanged();
    let begin = move || {
        let (count, mut told) = (Arc::clone(&count), told.clone());
        async move {
            if count.fetch_add(1, Ordering::SeqCst) > 0 {
                let _ = told.wait_for(|stop| *stop).await;
            }
        }
    };
    let keeping = tokio::spawn(tasks.clone().keep("sweep", PACE, stopping, begin));
    until("a restart", || tasks.restarts() == [("sweep", 1)]).await;
    until("steadiness", || tasks.troubles().is_empty()).await;
    stop.send_replace(true);
    keeping.await.unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 2, "nothing is begun for a service that stops");
}
