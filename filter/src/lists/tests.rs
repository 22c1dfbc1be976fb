//! Lists in, the same lists found again, and no others.

use holdpoint_core::identity::ActorType;

use super::*;

const LIST: &str = r#"{"tools":[{"name":"a"},{"name":"b"}]}"#;

fn principal(subject: &str) -> Arc<Principal> {
    Arc::new(Principal {
        issuer: "https://idp".to_owned(),
        subject: subject.to_owned(),
        agent_id: None,
        actor_type: ActorType::Human,
        tenant: None,
        groups: std::collections::BTreeSet::new(),
        scopes: std::collections::BTreeSet::new(),
    })
}

fn message(id: &str, list: &str) -> Vec<u8> {
    format!(r#"{{"id":{id},"result":{list},"x":{id}}}"#).into_bytes()
}

/// As whoever has read the message would say it.
fn found(id: &str, list: &str) -> Found {
    let start = format!(r#"{{"id":{id},"result":"#).len();
    let kinds = [Some(DefinitionKind::Tool), None, None, None];
    Found { span: start..start + list.len(), content: Digest::of(list.as_bytes()), kinds }
}

fn keep(lists: &mut Lists, list: &str, onlooker: &Onlooker<'_>, hidden: u32) {
    let shown = Shown { edits: Edits::default(), hidden };
    lists.keep(&message("1", list), &found("1", list), onlooker, shown);
}

fn hidden(lists: &mut Lists, list: &str, onlooker: &Onlooker<'_>) -> Option<u32> {
    lists.find(&message("1", list))?;
    lists.shown(onlooker).map(|shown| shown.hidden)
}

fn all_bytes(lists: &Lists) -> usize {
    lists.known.iter().map(|known| known.bytes).sum()
}

#[test]
fn a_list_is_found_by_all_of_its_bytes_and_by_nothing_less() {
    let alice = principal("alice");
    let onlooker = Onlooker { principal: &alice, server: "s", policy: Digest::of(b"policy") };
    // Longer than the blocks in which it is compared.
    let entries: Vec<String> = (0..20).map(|number| format!(r#"{{"name":"tool {number}"}}"#)).collect();
    let list = format!(r#"{{"tools":[{}]}}"#, entries.join(","));
    let mut lists = Lists::default();
    keep(&mut lists, &list, &onlooker, 1);
    let at = lists.find(&message("1", &list)).expect("known");
    assert_eq!((at.span.clone(), at.content), (found("1", &list).span, Digest::of(list.as_bytes())));
    for place in at.span {
        for bit in 0..8 {
            let mut changed = message("1", &list);
            changed[place] ^= 1 << bit;
            assert!(lists.find(&changed).is_none(), "byte {place}");
        }
    }
    let cut = list.get(1..).unwrap_or_default();
    assert!(lists.find(&message("1", cut)).is_none() && lists.find(&message("1", LIST)).is_none());
}

#[test]
fn a_list_is_found_wherever_what_stands_around_it_leaves_one_end_in_its_place() {
    let alice = principal("alice");
    let onlooker = Onlooker { principal: &alice, server: "s", policy: Digest::of(b"policy") };
    let mut lists = Lists::default();
    keep(&mut lists, LIST, &onlooker, 1);
    for text in [format!(r#"{{"id":12345,"result":{LIST},"x":1}}"#), format!(r#"{{"id":2,"result":{LIST}}}"#)] {
        let at = lists.find(text.as_bytes()).expect("known");
        assert_eq!(text.get(at.span), Some(LIST));
    }
    let far = format!(r#"{{"id":"{}","result":{LIST},"x":1}}"#, "i".repeat(AROUND_BYTES_MAX));
    assert!(lists.find(far.as_bytes()).is_none());
}

#[test]
fn nobody_is_shown_what_another_one_is_shown_or_at_another_server_or_under_another_policy() {
    let (alice, bob) = (principal("alice"), principal("bob"));
    let of = |tenant: &str| Arc::new(Principal { tenant: Some(tenant.to_owned()), ..Principal::clone(&alice) });
    let (blue, green) = (of("blue"), of("green"));
    let policy = Digest::of(b"policy");
    let everybody = [
        Onlooker { principal: &alice, server: "s", policy },
        Onlooker { principal: &bob, server: "s", policy },
        Onlooker { principal: &blue, server: "s", policy },
        Onlooker { principal: &green, server: "s", policy },
        Onlooker { principal: &alice, server: "t", policy },
        Onlooker { principal: &alice, server: "s", policy: Digest::of(b"other") },
    ];
    let mut lists = Lists::default();
    for (number, onlooker) in everybody.iter().enumerate() {
        assert_eq!(hidden(&mut lists, LIST, onlooker), None);
        keep(&mut lists, LIST, onlooker, u32::try_from(number).expect("few"));
    }
    for (number, onlooker) in everybody.iter().enumerate() {
        assert_eq!(hidden(&mut lists, LIST, onlooker), u32::try_from(number).ok());
    }
    let again = principal("alice");
    assert_eq!(hidden(&mut lists, LIST, &Onlooker { principal: &again, server: "s", policy }), Some(0), "an equal one");
    assert_eq!(lists.known.len(), 1, "of one text");
    lists.forget();
    assert!(lists.find(&message("1", LIST)).is_none());
}

#[test]
fn what_is_remembered_is_bounded_in_lists_in_callers_and_in_bytes() {
    let policy = Digest::of(b"policy");
    let alice = principal("alice");
    let onlooker = Onlooker { principal: &alice, server: "s", policy };
    let mut lists = Lists::default();
    let named = |number: usize| format!(r#"{{"tools":[{{"name":"{number}"}}]}}"#);
    for number in 0..=LISTS_MAX {
        keep(&mut lists, &named(number), &onlooker, 0);
        assert!(hidden(&mut lists, &named(1.min(number)), &onlooker).is_some(), "what is asked for stays");
    }
    assert_eq!(lists.known.len(), LISTS_MAX);
    assert!(lists.find(&message("1", &named(0))).is_none() && lists.find(&message("1", &named(2))).is_some());
    for number in 0..=VIEWS_MAX {
        let one = principal(&number.to_string());
        keep(&mut lists, LIST, &Onlooker { principal: &one, server: "s", policy }, 0);
    }
    assert_eq!(lists.known.last().map(|known| known.views.len()), Some(VIEWS_MAX));
    for number in 0..8 {
        let long = format!(r#"{{"tools":["{number}{}"]}}"#, "x".repeat(LISTS_BYTES_MAX / 4));
        keep(&mut lists, &long, &onlooker, 0);
        assert!(all_bytes(&lists) <= LISTS_BYTES_MAX && lists.find(&message("1", &long)).is_some());
    }
    let kept = all_bytes(&lists);
    keep(&mut lists, &format!(r#"{{"tools":["{}"]}}"#, "x".repeat(LISTS_BYTES_MAX)), &onlooker, 0);
    assert_eq!(all_bytes(&lists), kept, "what is too long takes nobody's place");
    let long = format!(r#"{{"tools":["{}"]}}"#, "x".repeat(LISTS_BYTES_MAX - 2_000));
    for number in 0..VIEWS_MAX {
        let one = principal(&number.to_string());
        keep(&mut lists, &long, &Onlooker { principal: &one, server: "s", policy }, 0);
        assert!(all_bytes(&lists) <= LISTS_BYTES_MAX && lists.find(&message("1", &long)).is_some());
    }
}
