//! Streams in pieces against the standard's own way of reading them.

use proptest::prelude::*;

use super::*;

/// The standard's algorithm over a whole stream: normalise line ends, take line by line, dispatch at blank lines.
fn reference(stream: &[u8]) -> Vec<Vec<u8>> {
    let text = stream.strip_prefix(BYTE_ORDER_MARK).unwrap_or(stream);
    let mut normalised = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if_eq(&b'\n');
                normalised.push(b'\n');
            }
            other => normalised.push(other),
        }
    }
    let mut lines: Vec<&[u8]> = normalised.split(|byte| *byte == b'\n').collect();
    lines.pop();
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            if data.last() == Some(&b'\n') {
                data.pop();
            }
            if !data.is_empty() {
                events.push(std::mem::take(&mut data));
            }
            data.clear();
            continue;
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        if field == b"data" {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    events
}

fn split(stream: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut splitter = Splitter::new(1_000);
    let (mut events, mut rest) = (Vec::new(), stream);
    for cut in cuts {
        let (piece, tail) = rest.split_at((*cut).min(rest.len()));
        events.extend(splitter.push(piece).expect("short events"));
        rest = tail;
    }
    events.extend(splitter.push(rest).expect("short events"));
    let datas = events.iter().filter_map(Event::data).collect();
    let raw = events.into_iter().chain(splitter.finish()).flat_map(Event::into_raw).collect();
    (datas, raw)
}

fn check(stream: &str, expected: &[&str]) {
    let whole = split(stream.as_bytes(), &[]);
    let expected: Vec<Vec<u8>> = expected.iter().map(|data| data.as_bytes().to_vec()).collect();
    assert_eq!(whole.0, expected, "{stream:?}");
    let byte_by_byte = vec![1; stream.len()];
    assert_eq!(split(stream.as_bytes(), &byte_by_byte), whole, "{stream:?} in one-byte pieces");
    assert_eq!(whole.1, stream.as_bytes());
}

#[test]
fn events_end_at_blank_lines_of_any_kind() {
    check("data: a\n\ndata:b\r\n\r\ndata: c\r\rdata\n\n", &["a", "b", "c"]);
    check("data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", &["a", "b", "c"]);
}

#[test]
fn other_fields_and_comments_are_no_data() {
    check(": keepalive\n\nid: 1\nevent: message\nretry: 5\ndata: {}\n\ndatum: x\n\n", &["{}"]);
}

#[test]
fn data_of_several_lines_is_joined_and_empty_data_is_no_message() {
    check("data: a\ndata:  b\n:c\ndata:d\n\nid: 7\ndata: \n\n", &["a\n b\nd"]);
}

#[test]
fn a_byte_order_mark_opens_a_stream_once() {
    check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &["a"]);
    check("\u{feff}\ndata: a\n\n", &["a"]);
}

#[test]
fn what_the_end_of_the_stream_cuts_off_is_still_handed_over() {
    let mut splitter = Splitter::new(100);
    assert_eq!(splitter.push(b"data: a\n\ndata: b").expect("short").len(), 1);
    assert_eq!(splitter.finish().and_then(|event| event.data()), Some(b"b".to_vec()));
    assert_eq!(splitter.finish(), None);
}

#[test]
fn an_event_is_there_as_soon_as_its_blank_line_is() {
    let mut splitter = Splitter::new(100);
    assert_eq!(splitter.push(b"data: a\r\n\r").expect("short").len(), 1, "the LF may never come");
    let events = splitter.push(b"\ndata: b\n\n").expect("short");
    assert_eq!(events.first().and_then(Event::data), Some(b"b".to_vec()));
}

#[test]
fn an_event_over_the_limit_is_an_error_and_not_a_truncation() {
    assert_eq!(Splitter::new(8).push(b"data: 1234"), Err(EventTooLong { event_bytes_max: 8 }));
    assert_eq!(Splitter::new(8).push(b"data: 1234\n\n"), Err(EventTooLong { event_bytes_max: 8 }));
    assert_eq!(Splitter::new(9).push(b"data: 1\n\n").map(|events| events.len()), Ok(1));
}

#[test]
fn changed_data_keeps_the_other_fields() {
    let mut splitter = Splitter::new(100);
    let events = splitter.push(b"id: 1\r\ndata: {\r\ndata: }\r\n: note\r\n\r\n").expect("short");
    let changed = events.first().map(|event| event.with_data(b"[1,\n2]")).expect("one");
    assert_eq!(String::from_utf8_lossy(&changed), "id: 1\ndata: [1,\ndata: 2]\n: note\n\n");
    assert_eq!(split(&changed, &[]).0, [b"[1,\n2]".to_vec()]);
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces_reads_as_the_standard_says(
        parts in prop::collection::vec(
            prop::sample::select(vec!["data", "data: x", ":", " ", "\n", "\r", "\r\n", "\n\n", "id", "é", "data:{\"a\":1}", "\u{feff}"]),
            0..40,
        ),
        cuts in prop::collection::vec(0..5_usize, 0..60),
    ) {
        let stream = parts.concat().into_bytes();
        let (events, raw) = split(&stream, &cuts);
        prop_assert_eq!(events, reference(&stream));
        prop_assert_eq!(raw, stream);
    }
}

#[test]
fn ids_of_an_event_are_all_that_a_client_might_send_back() {
    let ids = |event: &str| {
        let mut splitter = Splitter::new(1_000);
        let events = splitter.push(event.as_bytes()).expect("short");
        events.iter().flat_map(Event::ids).map(|id| String::from_utf8_lossy(id).into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("id: a\ndata: {}\nid:b \n\n"), ["a", "b"]);
    assert_eq!(ids("id\nid:\n\n"), ["", ""]);
    assert_eq!(ids("idea: x\ndata: id: y\n: id: z\n\n"), [""; 0]);
}

#[test]
fn mark_that_opens_no_stream_never_comes_to_open_one() {
    let mark = "\u{feff}";
    let mut splitter = Splitter::new(1_000);
    let stream = format!(
        "{mark}{mark}data: hidden\nid: 1\ndata: a\n\n{mark}data: hidden\ndata: b\n\n\
         id: 2\n{mark}data: hidden\ndata: c\n\n"
    );
    let events: Vec<Event> =
        splitter.push(stream.as_bytes()).expect("short").into_iter().map(Event::for_every_reader).collect();
    for (event, data) in events.iter().zip(["a", "b", "c"]) {
        assert_eq!(event.data().as_deref(), Some(data.as_bytes()));
        // Whatever was before it, and whatever was made of it, is gone from the stream that its client sees.
        for written in [
            event.with_data(b"new"),
            event.clone().without_id().with_data(b"new"),
            event.clone().without_id().into_raw(),
        ] {
            let seen = Splitter::new(1_000).push(&written).expect("short");
            assert!(!seen.iter().filter_map(Event::data).any(|data| data.starts_with(b"hidden")), "{written:?}");
        }
    }
    assert_eq!(events.len(), 3);
}

#[test]
fn a_line_end_that_only_some_readers_know_is_found_wherever_it_stands() {
    let ends = [
        ("\u{b}", " "),
        ("\u{c}", " "),
        ("\u{1c}", " "),
        ("\u{1d}", " "),
        ("\u{1e}", " "),
        ("\u{85}", r"\u0085"),
        ("\u{2028}", r"\u2028"),
        ("\u{2029}", r"\u2029"),
        ("\u{1b}\u{1f}\u{a}: é\u{2027}\u{7f}", "\u{1b}\u{1f}\u{a}: é\u{2027}\u{7f}"),
    ];
    for before in 0..=2 * BLOCK_BYTES {
        for (end, written) in ends {
            let text = |inside: &str| {
                format!("data: {}{inside}{}\n\n", "x".repeat(before), "x".repeat(2 * BLOCK_BYTES - before))
            };
            let mut events = Splitter::new(1_000).push(text(end).as_bytes()).expect("short");
            let event = events.pop().expect("one event").for_every_reader();
            assert_eq!(event.into_raw(), text(written).into_bytes(), "{before} {end:?}");
        }
    }
}
