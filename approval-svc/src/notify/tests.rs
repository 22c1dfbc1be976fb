//! Who is told what, in which words, and what the file that says so may not say.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use reqwest::dns::{Name, Resolve};

use super::guard::{Guard, is_public};
use super::settings::Delivery;
use super::slack::action::{ActionError, pressed, verified};
use super::slack::{Buttons, Slack, SlackPerson, Token};
use super::webhook::{Secret, Webhook};
use super::*;
use crate::approvals::tests::{Desk, desk, person};
use crate::approvals::{Approvals, ReviewVerdict};
use crate::store::contract::asked;
use crate::store::row::Review;
use crate::tokens::{Credential, Role};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn webhook() -> Channel {
    let secrets = vec![Secret::parse(SECRET).unwrap()];
    Channel::Webhook(Webhook { url: "https://hooks.example.com/x".parse().unwrap(), secrets, allow_private: false })
}

fn slack(channel: &str) -> Slack {
    let alice = SlackPerson {
        issuer: "local".to_owned(),
        subject: "alice".to_owned(),
        groups: ["sre".to_owned()].into(),
        tenant: None,
    };
    let bob = SlackPerson { subject: "bob".to_owned(), ..alice.clone() };
    Slack {
        channel: channel.to_owned(),
        token: Token::new("xoxb-1".to_owned()),
        api: "https://slack.example.com/api".parse().unwrap(),
        allow_private: false,
        buttons: Some(Buttons {
            signing_secret: Token::new("8f742231b10e8888abcd99yyyzzz85a5".to_owned()),
            people: [("U1".to_owned(), alice), ("U2".to_owned(), bob)].into(),
            except_risk_tags: ["secrets".to_owned()].into(),
        }),
    }
}

fn route(channel: &str, events: &[EventKind], groups: &[&str]) -> Route {
    Route {
        channels: [channel.to_owned()].into(),
        events: events.iter().copied().collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        servers: Vec::new(),
        tenants: Default::default(),
        risk_tags: Default::default(),
    }
}

fn settings(channels: Vec<(&str, Channel)>, routes: Vec<Route>) -> NotifySettings {
    let channels: BTreeMap<String, Channel> = channels.into_iter().map(|(name, one)| (name.to_owned(), one)).collect();
    NotifySettings { channels, routes, delivery: Delivery::default() }
}

async fn desk_that_tells(channels: Vec<(&str, Channel)>, routes: Vec<Route>) -> Desk {
    let mut desk = desk().await;
    desk.approvals.notify = Notify::new(settings(channels, routes), Some("https://approve.example.com"));
    desk
}

/// What each channel was told, in order: `chat opened`.
async fn told(approvals: &Approvals) -> Vec<String> {
    let filter = notice::NoticeFilter { rows_max: 100, ..Default::default() };
    let mut notices = approvals.store.notices(filter).await.unwrap();
    notices.reverse();
    notices.iter().map(|notice| format!("{} {}", notice.channel, notice.event.as_str())).collect()
}

#[tokio::test]
async fn each_channel_hears_of_what_its_routes_take_and_slack_of_the_end_of_what_it_was_asked() {
    use EventKind::{BrokenGlass, Decided, Expired, Opened};
    let routes = vec![
        route("hook", &[Opened], &["sre"]),
        route("hook", &[Opened, Expired], &[]),
        route("other", &[Opened, Decided], &["dba"]),
        route("chat", &[Opened], &["sre"]),
        route("alarm", &[BrokenGlass], &[]),
    ];
    let chat = Channel::Slack(slack("C1"));
    let channels = vec![("alarm", webhook()), ("chat", chat), ("hook", webhook()), ("other", webhook())];
    let desk = desk_that_tells(channels, routes).await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.open(2, "x").await.unwrap();
    assert_eq!(told(&desk.approvals).await, ["chat opened", "hook opened"], "joining is nothing new");
    desk.approve(&opened.id).await;
    assert_eq!(told(&desk.approvals).await[2..], ["chat decided"], "its message asks no longer");
    let second = desk.open(3, "y").await.unwrap();
    desk.bench.advance(10_001);
    desk.approvals.sweep().await.unwrap();
    let mut since = told(&desk.approvals).await.split_off(3);
    since.sort_unstable();
    let all = ["chat expired", "chat expired", "chat opened", "hook expired", "hook expired", "hook opened"];
    assert_eq!(since, all, "{second:?} was decided by nobody, and the first one lapsed unused");
    let third = desk.open(4, "z").await.unwrap();
    let glass = Credential { role: Role::BreakGlass, ..person("carol", &[]) };
    desk.review(&third.id, &glass, ReviewVerdict::Approve).await.unwrap();
    assert!(told(&desk.approvals).await.contains(&"alarm broken_glass".to_owned()));
}

#[tokio::test]
async fn notice_is_written_with_what_it_tells_of_or_not_at_all() {
    let desk = desk_that_tells(vec![("hook", webhook())], vec![route("hook", &[EventKind::Decided], &[])]).await;
    let opened = desk.open(1, "x").await.unwrap();
    desk.review(&opened.id, &person("bob", &["sre"]), ReviewVerdict::Approve).await.unwrap_err();
    desk.review(&opened.id, &person("zoe", &["dev"]), ReviewVerdict::Deny).await.unwrap_err();
    assert_eq!(told(&desk.approvals).await, [""; 0]);
    // Two at once: one of them decides, and that is told once.
    let (alice, carol) = (person("alice", &["sre"]), person("carol", &["sre"]));
    let (one, two) = tokio::join!(
        desk.review(&opened.id, &alice, ReviewVerdict::Approve),
        desk.review(&opened.id, &carol, ReviewVerdict::Deny)
    );
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(told(&desk.approvals).await, ["hook decided"]);
}

#[tokio::test]
async fn body_says_who_wants_what_and_no_argument_and_stays_short() {
    let all: Vec<EventKind> = notice::EVENTS.iter().map(|(_, event)| *event).collect();
    let desk = desk_that_tells(vec![("hook", webhook())], vec![route("hook", &all, &[])]).await;
    let mut long = asked(1, "argument-that-is-secret", "basis");
    (long.reasons[0].rule_id, long.reasons[0].text) = ("\u{1}".repeat(300), "\u{1}".repeat(300));
    for at in 0..5 {
        long.reasons.push(long.reasons[0].clone());
        long.envelope.meta.risk_tags.insert(format!("{at}{}", "\u{1}".repeat(200)));
    }
    desk.approvals.open(long).await.unwrap();
    desk.approvals.open(asked(2, "argument-that-is-secret-too", "basis")).await.unwrap();
    let notices =
        desk.approvals.store.notices(notice::NoticeFilter { rows_max: 9, ..Default::default() }).await.unwrap();
    let (plain, long) = (&notices[0].body, &notices[1].body);
    assert!(plain.len() <= BODY_BYTES_MAX && long.len() <= BODY_BYTES_MAX, "{} {}", plain.len(), long.len());
    assert!(!plain.contains("argument-that") && !long.contains("argument-that"));
    let body: Value = serde_json::from_str(plain).unwrap();
    assert_eq!((&body["type"], &body["specversion"]), (&json!("dev.holdpoint.approval.opened"), &json!("1.0")));
    assert_eq!(body["id"], json!(notices[0].id));
    assert_eq!(body["time"], "2023-11-14T22:13:20Z");
    assert_eq!(body["data"]["sentence"], "bot for bob wants tools/call `create_issue` on github");
    let url = format!("https://approve.example.com/approvals/{}", body["subject"].as_str().unwrap());
    assert_eq!(body["data"]["url"], json!(url));
}

#[tokio::test]
async fn freezes_are_told_where_a_route_asks_for_them() {
    let routes = vec![route("hook", &[EventKind::Freeze], &["dba"]), route("other", &[EventKind::Opened], &[])];
    let notify = Notify::new(settings(vec![("hook", webhook()), ("other", webhook())], routes), None);
    let freeze: Freeze = serde_json::from_value(json!({
        "id": "f", "scope": {"server": "github"}, "reason": "incident 7", "by": "local root", "since_ms": 1,
    }))
    .unwrap();
    let told = notify.freeze(&freeze, "frozen", "local root", 1);
    let [Write::AddNotice(notice)] = &told[..] else { panic!("{told:?}") };
    let body: Value = serde_json::from_str(&notice.body).unwrap();
    assert_eq!((notice.channel.as_str(), &body["data"]["reason"]), ("hook", &json!("incident 7")));
}

#[test]
fn signature_is_that_of_the_specification() {
    let secret = Secret::parse(SECRET).unwrap();
    let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_$$$"] {
        assert!(Secret::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(format!("{secret:?}"), "Secret");
}

#[test]
fn only_addresses_of_the_public_internet_are_public() {
    for private in [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "fc00::1",
        "fd12::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:7f00:1::",
    ] {
        assert!(!is_public(IpAddr::from_str(private).unwrap()), "{private}");
    }
    for public in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"] {
        assert!(is_public(IpAddr::from_str(public).unwrap()), "{public}");
    }
}

#[tokio::test]
async fn name_that_answers_another_address_the_next_time_is_checked_each_time() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let lookup: guard::Lookup = Arc::new(move |_| {
        let answers: [&[&str]; 4] = [&["1.1.1.1"], &["127.0.0.1"], &["1.1.1.1", "10.0.0.1"], &[]];
        let found = answers[count.fetch_add(1, Ordering::SeqCst)].iter().map(|ip| IpAddr::from_str(ip).unwrap());
        std::future::ready(io::Result::Ok(found.collect())).boxed()
    });
    let guard = Guard { allow_private: false, lookup };
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match guard.resolve(Name::from_str("hooks.example.com").unwrap()).await {
            Ok(addresses) => addresses.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        });
    }
    assert_eq!(seen[0], "1.1.1.1");
    assert!(seen[1].contains("127.0.0.1, which is no public address"), "{seen:?}");
    assert!(seen[2].contains("10.0.0.1, which is no public address"), "{seen:?}");
    assert!(seen[3].contains("no address"), "{seen:?}");
}

#[test]
fn everything_wrong_with_a_notify_file_is_told_at_once_with_its_place() {
    let read = |text: &str| match NotifySettings::read(text) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(|problem| problem.to_string()).collect::<Vec<_>>(),
    };
    let found = read(
        "channels:
  a: {webhook: {url: 'http://hooks.example.com', secrets: [{env: HOLDPOINT_NO_SUCH_SECRET}]}}
  b: {webhook: {url: 'https://127.0.0.1/x', secrets: [whsec_here]}}
  c: {slack: {chanel: C1, token: {file: /nonexistent}}}
  d: {webhook: {url: 'https://a:b@example.com', secrets: [{env: A, file: b}]}, slack: {}}
routes:
- {channels: [a], events: [opend]}
",
    );
    let all = found.join("\n");
    for part in [
        "2:22",
        "must begin with https://",
        "`HOLDPOINT_NO_SUCH_SECRET` is not in the environment",
        "no public address",
        "a secret does not stand here itself",
        "`chanel` (did you mean `channel`?)",
        "cannot read `/nonexistent`",
        "either a `webhook` or a `slack`",
        "`opend` (did you mean `opened`?)",
    ] {
        assert!(all.contains(part), "`{part}` is not in:\n{all}");
    }
    assert!(!all.contains("whsec_here"), "{all}");
}

fn slack_settings() -> NotifySettings {
    settings(vec![("chat", Channel::Slack(slack("C1")))], vec![route("chat", &[EventKind::Opened], &[])])
}

#[test]
fn slack_signature_is_that_of_slacks_own_example() {
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F\
                96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let settings = slack_settings();
    let check = |timestamp: &str, signature: &str, body: &str, now_s: u64| {
        verified(&settings, timestamp, signature, body.as_bytes(), now_s * 1_000).is_ok()
    };
    let at = 1_531_420_618;
    assert!(check("1531420618", signature, body, at));
    assert!(check("1531420618", signature, body, at + 300) && check("1531420618", signature, body, at - 300));
    assert!(!check("1531420618", signature, body, at + 301), "too old");
    assert!(!check("1531420618", signature, body, at - 301), "from the future");
    assert!(!check("1531420619", signature, body, at), "another time");
    assert!(!check("1531420618", signature, &body.replace("roadrunner", "coyote"), at), "another body");
    assert!(!check("1531420618", "", body, at) && !check("", signature, body, at));
    assert!(verified(&NotifySettings::default(), "1531420618", signature, body.as_bytes(), at * 1_000).is_err());
}

#[tokio::test]
async fn button_in_slack_is_the_review_of_whom_its_user_stands_for_and_of_nobody_else() {
    let routes = vec![route("chat", &[EventKind::Opened], &[])];
    let desk = desk_that_tells(vec![("chat", Channel::Slack(slack("C1")))], routes).await;
    let settings = desk.approvals.notify.settings().clone();
    let press = async |id: &str, user: &str, channel: &str, action: &str, digest: Option<&str>| {
        let approval = desk.approvals.store.approval(id).await.unwrap().unwrap();
        let digest = digest.map_or_else(|| slack::digest_prefix(&approval), str::to_owned);
        let payload = json!({"type": "block_actions", "user": {"id": user}, "channel": {"id": channel},
            "actions": [{"action_id": action, "value": format!("{id}:{digest}")}]});
        let Channel::Slack(one) = &settings.channels["chat"] else { panic!() };
        let app = (one, one.buttons.as_ref().unwrap());
        match pressed(&settings, app, &payload.to_string()).unwrap() {
            None => Ok(()),
            Some(pressed) => pressed.decide(&desk.approvals).await,
        }
    };
    let id = desk.open(1, "x").await.unwrap().id;
    let refused = |answer: Result<(), ActionError>| answer.unwrap_err().to_string();
    assert!(refused(press(&id, "U9", "C1", "holdpoint-approve", None).await).contains("`U9`"));
    assert!(refused(press(&id, "U2", "C1", "holdpoint-approve", None).await).contains("asked for this call yourself"));
    assert!(refused(press(&id, "U1", "C2", "holdpoint-approve", None).await).contains("another channel"));
    assert!(refused(press(&id, "U1", "C1", "holdpoint-approve", Some("0000")).await).contains("another call"));
    press(&id, "U1", "C1", "holdpoint-open", None).await.unwrap();
    assert_eq!(desk.status(&id).await, ApprovalStatus::Pending);
    press(&id, "U1", "C1", "holdpoint-approve", None).await.unwrap();
    assert_eq!(desk.status(&id).await, ApprovalStatus::Approved);
    let reviews: Vec<Review> = desk.approvals.store.reviews(&id).await.unwrap();
    assert_eq!((reviews.len(), reviews[0].subject.as_str()), (1, "alice"));
    // Slack sends again what it thinks was lost: nothing happens twice.
    assert!(refused(press(&id, "U1", "C1", "holdpoint-approve", None).await).contains("approved already"));

    let mut tagged = asked(2, "y", "basis");
    tagged.envelope.meta.risk_tags.insert("secrets".to_owned());
    let mut admin = asked(3, "z", "basis");
    admin.envelope.labels.insert("mcp.action".to_owned(), "admin".to_owned());
    for page_only in [tagged, admin] {
        let id = desk.approvals.open(page_only).await.unwrap().id;
        assert!(refused(press(&id, "U1", "C1", "holdpoint-approve", None).await).contains("on its page only"));
        press(&id, "U1", "C1", "holdpoint-deny", None).await.unwrap();
        assert_eq!(desk.status(&id).await, ApprovalStatus::Denied);
    }
}

#[test]
fn file_of_the_manual_is_taken() {
    let manual = include_str!("../../NOTIFY.md");
    let (_, rest) = manual.split_once("```yaml\n").unwrap();
    let (file, _) = rest.split_once("```").unwrap();
    let dir = crate::store::contract::scratch_dir();
    for name in ["webhook.secret", "webhook.secret.old", "slack.token", "slack.signing"] {
        std::fs::write(dir.join(name), SECRET).unwrap();
    }
    let read = NotifySettings::read(&file.replace("/etc/holdpoint", &dir.to_string_lossy()));
    let settings =
        read.unwrap_or_else(|problems| panic!("{:?}", problems.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!((settings.channels.len(), settings.routes.len()), (3, 4));
    assert!(settings.covers(EventKind::Opened, "sre") && !settings.covers(EventKind::Opened, "dba"));
    std::fs::remove_dir_all(dir).unwrap();
}
