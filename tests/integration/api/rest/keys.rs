//! Idempotency keys: what may be one, and where it may be given.

use crate::api::harness::client::{Answer, body};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};
use rstest::rstest;

const WITHOUT_KEY: &str = r#"{"event_type":"order.created","payload":{}}"#;

#[rstest]
#[tokio::test]
async fn a_key_has_1_to_255_characters_whatever_their_length_in_bytes(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    for key in
        ["k".to_owned(), "k".repeat(255), "🪝".repeat(255), " ".to_owned(), "a\u{a0}b/?&\"\\".to_owned()]
    {
        let answer = hookbox.rest.submit(&key, "t", "1").await;
        assert_eq!(answer.status, 202, "{key:?}: {}", answer.text);
        assert_eq!(answer.text_of("idempotency_key"), key);
    }
    for key in ["k".repeat(256), "🪝".repeat(256), "k".repeat(100_000)] {
        let problem = hookbox.rest.submit(&key, "t", "1").await.refused_field("idempotency_key");
        assert!(problem["detail"].as_str().unwrap().contains("255"), "{problem}");
    }
}

#[rstest]
#[tokio::test]
async fn an_event_type_follows_the_same_rule(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    assert_eq!(hookbox.rest.submit("evt-001", &"é".repeat(255), "1").await.status, 202);
    for event_type in ["", &"é".repeat(256), "order\ncreated"] {
        hookbox.rest.submit("evt-002", event_type, "1").await.refused_field("event_type");
    }
}

#[tokio::test]
async fn a_key_that_is_empty_or_has_a_control_character_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    for key in ["", "a\0b", "a\nb", "\u{7f}", "\u{85}", "a\u{1b}[0m"] {
        hookbox.rest.submit(key, "t", "1").await.refused_field("idempotency_key");
    }
}

#[rstest]
#[tokio::test]
async fn keys_are_compared_byte_for_byte(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    // Upper and lower case, composed and decomposed, with and without a space: all different.
    for key in ["evt", "EVT", "evt ", " evt", "caf\u{e9}", "cafe\u{301}"] {
        assert_eq!(hookbox.rest.submit(key, "t", "1").await.status, 202, "{key:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_null_missing_or_no_string_is_refused_by_name() {
    let hookbox = Hookbox::start(Sqlite);
    for key in ["null", "1", "true", r#"["a"]"#, r#"{"a":"b"}"#] {
        let body = format!(r#"{{"idempotency_key":{key},"event_type":"t","payload":1}}"#);
        hookbox.rest.submit_body(body).await.refused_field("idempotency_key");
    }
    hookbox.rest.submit_body(WITHOUT_KEY).await.refused_field("idempotency_key");
}

#[rstest]
#[tokio::test]
async fn the_header_gives_the_key_where_the_body_has_none(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let request = hookbox.rest.submission(WITHOUT_KEY).header("Idempotency-Key", "evt-001");
    let answer = Answer::of(request).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.text_of("idempotency_key"), "evt-001");
    let again = hookbox.rest.submit("evt-001", "order.created", "{}").await;
    assert_eq!(again.status, 200, "it is the same key: {}", again.text);
}

#[rstest]
#[tokio::test]
async fn a_quoted_header_is_the_same_key_as_the_text_in_it(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    for (header, key) in [
        (r#""evt-001""#, "evt-001"),
        (r#""say \"hi\"""#, r#"say "hi""#),
        (r#""back\\slash""#, r"back\slash"),
        (r#"half""#, r#"half""#),
        ("caf\u{e9}", "caf\u{e9}"),
    ] {
        let request = hookbox.rest.submission(WITHOUT_KEY).header("Idempotency-Key", header.as_bytes());
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 202, "{header}: {}", answer.text);
        assert_eq!(answer.text_of("idempotency_key"), key);
    }
}

#[rstest]
#[tokio::test]
async fn a_header_and_a_body_may_both_have_the_key_if_it_is_the_same(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let hookbox = Hookbox::start(store);
    let same = hookbox.rest.submission(body("evt-001", "t", "1")).header("Idempotency-Key", "evt-001");
    assert_eq!(Answer::of(same).await.status, 202);
    let other = hookbox.rest.submission(body("evt-001", "t", "1")).header("Idempotency-Key", "evt-002");
    Answer::of(other).await.refused_field("idempotency_key");
    let null = r#"{"idempotency_key":null,"event_type":"t","payload":1}"#;
    let null = hookbox.rest.submission(null).header("Idempotency-Key", "evt-003");
    Answer::of(null).await.refused_field("idempotency_key");
}

#[tokio::test]
async fn a_header_that_is_repeated_empty_or_no_text_is_refused() {
    let hookbox = Hookbox::start(Sqlite);
    let request = || hookbox.rest.submission(WITHOUT_KEY);
    let repeated = request().header("Idempotency-Key", "evt-001").header("Idempotency-Key", "evt-001");
    Answer::of(repeated).await.refused_field("Idempotency-Key");
    let no_text = request().header("Idempotency-Key", b"evt-\xff".as_slice());
    Answer::of(no_text).await.refused_field("Idempotency-Key");
    for empty in ["", r#""""#] {
        Answer::of(request().header("Idempotency-Key", empty)).await.refused_field("idempotency_key");
    }
    let long = request().header("Idempotency-Key", "k".repeat(256));
    Answer::of(long).await.refused_field("idempotency_key");
}
