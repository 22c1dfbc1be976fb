//! Holdpoint's own rounds go in and come out by span; the server's stay whole.

use super::*;

fn modern(more: &str) -> McpMessage {
    accepted(MODERN, &request("tools/call", &format!(r#"{{ "name" : "t" ,{more} {META}}}"#)))
}

fn check(came: &str, token: Option<&str>, forwarded: &str) {
    let message = modern(came);
    let own = OwnRound::of(&message).unwrap().unwrap_or_else(|| panic!("nothing of ours in {came}"));
    assert_eq!(own.token.as_deref(), token, "{came}");
    let expected = request("tools/call", &format!(r#"{{"name" : "t",{META}{forwarded}}}"#));
    assert_eq!(String::from_utf8(own.body).unwrap(), expected, "{came}");
}

#[test]
fn a_round_of_the_server_alone_is_left_as_it_is() {
    for came in ["", r#""requestState":"s","#, r#""requestState":"s","inputResponses":{"k":{"action":"accept"}},"#] {
        assert_eq!(OwnRound::of(&modern(came)).unwrap(), None, "{came}");
    }
}

#[test]
fn what_the_server_had_asked_comes_back_out_of_our_state_verbatim() {
    let first = modern("");
    let state = wrap("appr-1", &first);
    check(&format!(r#""requestState":"{state}","#), Some("appr-1"), "");
    check(
        &format!(r#""inputResponses":{{"holdpoint.dev/approval":{{"action":"accept"}}}},"requestState":"{state}","#),
        Some("appr-1"),
        "",
    );

    let round = r#""requestState":"s\u0041\n.é","inputResponses":{ "k" : {"n":1.0} }"#;
    let state = wrap("appr-2", &modern(&format!("{round},")));
    check(&format!(r#""requestState":"{state}","#), Some("appr-2"), &format!(",{round}"));
    let answered = r#""inputResponses":{"holdpoint.dev/approval":{}}"#;
    check(&format!(r#"{answered},"requestState":"{state}","#), Some("appr-2"), &format!(",{round}"));
}

#[test]
fn our_keys_are_taken_out_and_the_servers_stay() {
    let came = r#""requestState":"s","inputResponses":{"a":1, "holdpoint.dev/x":{"action":"accept"} ,"b":[2]},"#;
    let message = modern(came);
    let own = OwnRound::of(&message).unwrap().unwrap();
    assert_eq!(own.answers, [("holdpoint.dev/x".to_owned(), r#"{"action":"accept"}"#.to_owned())]);
    let body = String::from_utf8(own.body).unwrap();
    assert!(body.contains(r#""requestState":"s""#) && body.contains(r#""inputResponses":{"a":1,"b":[2]}"#), "{body}");
    assert!(!body.contains("holdpoint.dev/x"), "{body}");
}

#[test]
fn a_state_that_is_not_as_it_was_given_is_refused() {
    let hex = |text: &str| crate::digest::hex_encode(text.as_bytes());
    for parts in [
        "",
        "00",
        "..",
        "zz..",
        "61...",
        // More than one value would put members of the caller's choice beside it.
        &format!("61.{}.", hex(r#""s","name":"other""#)),
        &format!("61.{}.", hex("1")),
        &format!("61..{}", hex(r#"{"a":1,"a":2}"#)),
    ] {
        let message = modern(&format!(r#""requestState":"holdpoint.dev/1.{parts}","#));
        let found = OwnRound::of(&message);
        assert_eq!(found.is_err(), parts != "..", "{parts}: {found:?}");
    }
    let state = wrap("t", &modern(r#""requestState":"s","inputResponses":{"k":1},"#));
    let message = modern(&format!(r#""requestState":"{state}","inputResponses":{{"k":2}},"#));
    assert!(OwnRound::of(&message).unwrap_err().detail.contains("more than"));
}
