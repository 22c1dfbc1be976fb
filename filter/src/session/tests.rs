//! Who was given a session has it, and nobody else.

use std::collections::BTreeSet;

use holdpoint_core::identity::ActorType;
use holdpoint_core::json::{Document, Limits};

use super::*;
use crate::usage::in_memory::Shared;

fn shared() -> Shared {
    let mut shared = Shared::default();
    prepare(&mut shared);
    shared
}

fn owner(server: &str, subject: &str) -> SessionOwner {
    let principal = Principal {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        agent_id: None,
        actor_type: ActorType::Human,
        tenant: None,
        groups: BTreeSet::new(),
        scopes: BTreeSet::new(),
    };
    SessionOwner::new(server, &principal)
}

fn is_owned(shared: &mut Shared, owner: &SessionOwner, session: Digest, now_ms: u64) -> bool {
    find(shared, owner, session, now_ms).is_some()
}

#[test]
fn session_belongs_to_whom_it_was_given_first() {
    let (mut shared, session) = (shared(), Digest::of(b"s"));
    let (alice, mallory) = (owner("tracker", "alice"), owner("tracker", "mallory"));
    assert!(!is_owned(&mut shared, &alice, session, 0), "nobody was given it");
    bind(&mut shared, &alice, session, false, 0);
    bind(&mut shared, &mallory, session, false, 1);
    assert!(is_owned(&mut shared, &alice, session, 2));
    assert!(!is_owned(&mut shared, &mallory, session, 2));
    assert!(!is_owned(&mut shared, &owner("other", "alice"), session, 2), "another server's session of the same name");
}

#[test]
fn session_lives_while_it_is_used() {
    let (mut shared, session, alice) = (shared(), Digest::of(b"s"), owner("tracker", "alice"));
    bind(&mut shared, &alice, session, false, 0);
    let almost = SESSION_IDLE_MS_MAX - 1;
    assert!(is_owned(&mut shared, &alice, session, almost));
    assert!(is_owned(&mut shared, &alice, session, almost * 2), "it was used in between");
    assert!(!is_owned(&mut shared, &alice, session, almost * 2 + SESSION_IDLE_MS_MAX));
}

#[test]
fn many_sessions_of_one_push_out_nobody_elses() {
    let (mut shared, alice, mallory) = (shared(), owner("tracker", "alice"), owner("tracker", "mallory"));
    let session = |number: u32| Digest::of(&number.to_le_bytes());
    bind(&mut shared, &alice, session(0), false, 0);
    for number in 1..40_000 {
        bind(&mut shared, &mallory, session(number), false, u64::from(number));
    }
    assert!(is_owned(&mut shared, &alice, session(0), 40_000));
    assert!(is_owned(&mut shared, &mallory, session(39_999), 40_000));
    assert!(!is_owned(&mut shared, &mallory, session(1), 40_000), "the table is bounded");
    let largest = shared.0.values().map(|(bytes, _)| bytes.len()).max();
    assert_eq!(largest, Some(SESSIONS.part_facts_max * 48));
}

#[test]
fn what_a_server_asked_is_answered_once_by_whom_it_asked() {
    let (mut shared, alice, mallory) = (shared(), owner("tracker", "alice"), owner("tracker", "mallory"));
    let json = |text: &str| Document::read(text.as_bytes().to_vec(), &Limits::default()).unwrap();
    let (number, text) = (json("7"), json(r#""7""#));
    note_ask(&mut shared, &alice, Some("s"), number.root(), &Method::ElicitationCreate, 0);
    note_ask(&mut shared, &alice, Some("s"), text.root(), &Method::Unknown("tasks/get".to_owned()), 0);
    for (who, session, id) in [(&mallory, Some("s"), &number), (&alice, None, &number), (&alice, Some("s"), &text)] {
        assert_eq!(take_ask(&mut shared, who, session, id.root(), 1), None);
    }
    assert_eq!(take_ask(&mut shared, &alice, Some("s"), number.root(), 1), Some(Method::ElicitationCreate));
    assert_eq!(take_ask(&mut shared, &alice, Some("s"), number.root(), 1), None, "once");
    note_ask(&mut shared, &alice, Some("s"), number.root(), &Method::Ping, 0);
    assert_eq!(take_ask(&mut shared, &alice, Some("s"), number.root(), HOUR_MS), None, "too late");
}

#[test]
fn task_is_whose_call_began_it() {
    let (mut shared, alice, mallory) = (shared(), owner("tracker", "alice"), owner("tracker", "mallory"));
    assert!(!is_anothers_task(&mut shared, &alice, "t", 0), "nobody knows it");
    bind_task(&mut shared, &alice, "t", TaskOrigin::Unlimited, 0);
    bind_task(&mut shared, &mallory, "t", TaskOrigin::Limited, 1);
    assert!(!is_anothers_task(&mut shared, &alice, "t", 2));
    assert!(is_anothers_task(&mut shared, &mallory, "t", 2));
    assert!(!is_anothers_task(&mut shared, &owner("other", "mallory"), "t", 2), "another server's task of that name");
}

#[test]
fn what_a_client_said_at_the_beginning_of_its_session_is_remembered() {
    let (mut shared, alice) = (shared(), owner("tracker", "alice"));
    for (name, opens_urls) in [(b"a", true), (b"b", false)] {
        bind(&mut shared, &alice, Digest::of(name), opens_urls, 0);
        // Whoever says something else later has begun no session of that name.
        bind(&mut shared, &alice, Digest::of(name), !opens_urls, 1);
        assert_eq!(find(&mut shared, &alice, Digest::of(name), 2), Some(Session { opens_urls }));
    }
}

#[test]
fn event_has_its_strictest_meaning_and_only_in_its_own_session() {
    let alice = owner("tracker", "alice");
    let bounded = |until_ms| Standing::Bounded { until_ms };
    for (given, found) in [
        (vec![Standing::Free], Some(Standing::Free)),
        (vec![Standing::Open, Standing::Open], Some(Standing::Open)),
        (vec![bounded(None)], Some(bounded(None))),
        (vec![bounded(Some(9)), bounded(None), bounded(Some(5)), bounded(Some(7))], Some(bounded(Some(5)))),
        (vec![Standing::Free, bounded(None)], None),
        (vec![bounded(None), Standing::Free, Standing::Free], None),
        (vec![Standing::Open, Standing::Free], None),
    ] {
        let mut shared = shared();
        for standing in &given {
            note_event(&mut shared, &alice, "s", b"1", *standing, 0);
        }
        assert_eq!(event(&mut shared, &alice, "s", b"1", 1), found, "{given:?}");
        assert_eq!(event(&mut shared, &alice, "t", b"1", 1), None, "another session");
        assert_eq!(event(&mut shared, &owner("tracker", "mallory"), "s", b"1", 1), None, "another principal");
        assert_eq!(event(&mut shared, &alice, "s", b"1", HOUR_MS), None, "forgotten");
    }
}
