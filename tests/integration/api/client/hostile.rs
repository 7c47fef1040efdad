//! What senders choose never acts on the terminal of the person who looks at it.

use reqwest::header::{HeaderName, HeaderValue};

use super::{lines, place, printed};
use crate::api::harness::client::{Answer, body};

/// Clears a screen, sets a title, and turns the direction of the text.
const EVENT_TYPE: &str = "order\u{202e}detaerc";
const KEY: &str = "evt\u{200b}\u{2066}1";
const PAYLOAD: &str = "{\"a\":\"\u{9b}2J\u{2028}\",\"b\":\"\\u001b]0;title\\u0007\"}";

/// Fails if a text could act on a terminal.
#[track_caller]
fn check(text: &str) {
    let acts = |character: char| {
        (character.is_control() && character != '\n')
            || ('\u{200b}'..='\u{200f}').contains(&character)
            || ('\u{2028}'..='\u{202e}').contains(&character)
            || ('\u{2060}'..='\u{206f}').contains(&character)
    };
    assert!(!text.is_empty() && !text.contains(acts), "{text:?}");
}

#[tokio::test]
async fn hostile_texts_are_escaped_for_people_and_for_programs() {
    let place = place(&[]);
    let process = place.serve().await;
    let mut tail = place.start_command(&["tail"]);
    tail.wait_for_log("waiting for webhooks").await;
    let submission = process.rest.submission(body(KEY, EVENT_TYPE, PAYLOAD));
    let value = HeaderValue::from_bytes("\u{9b}31m\u{202e}".as_bytes()).unwrap();
    let answer = Answer::of(submission.header(HeaderName::from_static("x-evil"), value)).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.text_of("id");
    process.wait_for(&id, "completed").await;

    let shown = printed(&place, &["show", &id]);
    assert!(shown.contains("x-evil: \\u{9b}31m\\u{202e}"), "{shown}");
    assert!(shown.contains("order\\u{202e}detaerc"), "{shown}");
    for command in [&["show", &id][..], &["status", &id], &["list"], &["watch", &id]] {
        check(&printed(&place, command));
        let json = [command, &["--json"]].concat();
        check(&printed(&place, &json));
    }
    let listed = lines(&place, &["list", "--json"]);
    assert_eq!((&listed[0]["event_type"], &listed[0]["idempotency_key"]), (&EVENT_TYPE.into(), &KEY.into()));

    printed(&place, &["replay", "--type", EVENT_TYPE, "--reason", KEY, "--yes"]);
    for command in [&["replays"][..], &["replays", "show", "1"], &["actions"]] {
        let shown = printed(&place, command);
        assert!(shown.contains("evt\\u{200b}"), "{shown}");
        check(&shown);
        check(&printed(&place, &[command, &["--json"]].concat()));
    }

    // Some terminals do not know their width.
    for columns in [80, 0] {
        let (code, text) = place.run_on_terminal(columns, &["show", &id, "--body"]).await;
        assert_eq!(code, Some(1), "{columns}: {text:?}");
        assert!(text.contains("not written to it"), "{columns}: {text:?}");
        check(&text.replace('\r', ""));
    }

    tail.wait_for_log("order").await;
    check(&tail.log());
    tail.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(tail.ended().await.code(), Some(130));
}
