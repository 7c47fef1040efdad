//! Accepting: a webhook is stored before `accept` returns, and once per source and key.

use std::collections::HashSet;

use futures::future::join_all;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookName};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, event_type, key_of, refused, seconds, source, webhook, webhook_with};
use crate::store::routes::{default_job, route};

pub(crate) async fn a_new_webhook_is_stored_and_answered<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let accepted = inbox.submit(webhook("k")).await.expect("accepted");

    assert!(!accepted.duplicate);
    let answered = accepted.webhook;
    assert_eq!(answered.source, source("default"));
    assert_eq!(answered.idempotency_key, key_of("k"));
    assert_eq!(answered.event_type, event_type("order.paid"));
    assert_eq!((answered.status(), answered.attempt_count()), (Status::Pending, 0));
    assert_eq!(answered.jobs.iter().map(|job| &job.route).collect::<Vec<_>>(), [&route("default")]);
    assert_eq!((answered.accepted_at, answered.updated_at()), (inbox.now(), inbox.now()));
    assert_eq!(inbox.status_of(answered.id).await, answered);

    inbox.crash_and_reopen().await;
    assert_eq!(inbox.status_of(answered.id).await, answered, "an accepted webhook survives a crash");
}

pub(crate) async fn a_duplicate_is_answered_with_the_current_status<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;

    let again = inbox.submit(webhook("k")).await.expect("answered");
    assert!(again.duplicate);
    assert_eq!(again.webhook, first);

    inbox.advance(seconds(1));
    let job = inbox.claim_one().await;
    let again = inbox.submit(webhook("k")).await.expect("answered");
    assert_eq!((again.webhook.status(), again.webhook.attempt_count()), (Status::Processing, 1));

    inbox.end(&job, Status::Completed).await;
    inbox.advance(seconds(3600));
    let again = inbox.submit(webhook("k")).await.expect("answered");
    assert!(again.duplicate);
    assert_eq!(again.webhook, inbox.status_of(first.id).await);
    assert_eq!(again.webhook.accepted_at, first.accepted_at, "the time of the first acceptance");
    inbox.claim_nothing().await;
}

pub(crate) async fn another_payload_under_a_used_key_is_refused<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;
    assert_eq!(refused(inbox.submit(webhook_with("k", r#"{"n":2}"#)).await), Reason::KeyReused);
    assert_eq!(inbox.detail_of(first.id).await.payload.as_deref(), Some(r#"{"n":1}"#.as_bytes()));
    assert_eq!(inbox.everything().await, [first]);
}

pub(crate) async fn another_event_type_under_a_used_key_is_refused<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("k").await;
    let other = NewWebhook { event_type: event_type("order.lost"), ..webhook("k") };
    assert_eq!(refused(inbox.submit(other).await), Reason::KeyReused);
    assert_eq!(inbox.everything().await, [first]);
}

pub(crate) async fn the_same_key_from_another_source_is_another_webhook<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    // The concatenation of source and key is the same text for all of them.
    let mut ids = HashSet::new();
    for (from, key) in [("ab", "c"), ("a", "bc"), ("abc", "c"), ("default", "c")] {
        let new = NewWebhook { source: source(from), ..webhook(key) };
        let accepted = inbox.submit(new.clone()).await.expect("accepted");
        assert!(!accepted.duplicate, "{from} {key}");
        assert!(ids.insert(accepted.webhook.id));
        let found = inbox.status(WebhookName::Key(new.source, new.idempotency_key)).await.expect("found");
        assert_eq!(found, accepted.webhook);
    }
}

pub(crate) async fn keys_are_compared_byte_for_byte<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let longest = "ż".repeat(255);
    let keys = [
        ["k", "K", " k", "k ", "é", "e\u{301}", "ß", "ss", "%", "_", "'", "k\u{200b}", &longest].as_slice(),
        // A store may pack hexadecimal keys and UUIDs. All keys of a group represent the same number.
        &["0", "00", "0x00", "ab", "AB", "aB"],
        &["00112233445566778899aabbccddeeff", "00112233445566778899AABBCCDDEEFF"],
        &["00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-AABBCCDDEEFF"],
        &["0011223344556677-8899aabbccddeeff----", "{00112233-4455-6677-8899-aabbccddeeff}"],
    ]
    .concat();
    for key in &keys {
        let accepted = inbox.accept_new(key).await;
        assert_eq!(accepted.idempotency_key.as_str(), *key);
    }
    inbox.crash_and_reopen().await;
    for key in keys {
        let again = inbox.submit(webhook(key)).await.expect("answered");
        assert!(again.duplicate, "{key:?}");
        assert_eq!(again.webhook.idempotency_key.as_str(), key);
        let found = inbox.status(WebhookName::Key(source("default"), key_of(key))).await.expect("found");
        assert_eq!(found, again.webhook);
    }
}

pub(crate) async fn payloads_are_compared_as_json_values<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let sent = r#"{"a": 1.10, "b": ["x\u00e9", null], "c": {"d": 1e2, "e": true}}"#;
    let id = inbox.submit(webhook_with("k", sent)).await.expect("accepted").webhook.id;

    for same in [sent, r#"{"c":{"e":true,"d":100},"b":["xé",null],"a":1.1}"#] {
        assert!(inbox.submit(webhook_with("k", same)).await.expect("answered").duplicate, "{same}");
    }
    for other in [
        r#"{"a": 1.1, "b": [null, "xé"], "c": {"d": 100, "e": true}}"#,
        r#"{"a": "1.1", "b": ["xé", null], "c": {"d": 100, "e": true}}"#,
        r#"{"a": 1.1, "b": ["xé", null], "c": {"d": 100, "e": true}, "f": null}"#,
        "null",
    ] {
        assert_eq!(refused(inbox.submit(webhook_with("k", other)).await), Reason::KeyReused, "{other}");
    }
    let kept = inbox.detail_of(id).await.payload;
    assert_eq!(kept.as_deref(), Some(sent.as_bytes()), "the first payload is kept byte for byte");
}

pub(crate) async fn any_json_is_a_payload_and_comes_out_byte_for_byte<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let large = format!(r#"["{}"]"#, "żółw🐢".repeat(20_000));
    let payloads = [
        "null",
        "0",
        "12345678901234567890.10",
        r#""""#,
        r#"{"z":1,"a":"\u0000\ud83d\ude00"}"#,
        " [ ] ",
        &large,
    ];
    for (number, payload) in payloads.into_iter().enumerate() {
        let accepted = inbox.submit(webhook_with(&number.to_string(), payload)).await.expect("accepted");
        assert_eq!(inbox.detail_of(accepted.webhook.id).await.payload.as_deref(), Some(payload.as_bytes()));
        assert_eq!(inbox.claim_one().await.payload.as_deref(), Some(payload.as_bytes()));
    }
}

pub(crate) async fn only_one_of_64_equal_concurrent_webhooks_is_stored<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let tasks = (0..64).map(|_| {
        let store = inbox.shared();
        tokio::spawn(async move { store.accept(webhook("k"), default_job()).await.expect("answered") })
    });
    let answers = join_all(tasks).await.into_iter().map(|answer| answer.expect("ran")).collect::<Vec<_>>();

    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    assert!(answers.iter().all(|answer| answer.webhook == answers[0].webhook));
    assert_eq!(inbox.everything().await, [answers[0].webhook.clone()]);
    assert_eq!(inbox.counts().await.of(Status::Pending), 1);
}

pub(crate) async fn one_of_two_concurrent_webhooks_with_the_same_key_is_refused<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for round in 0..16 {
        let key = round.to_string();
        let (one, other) = tokio::join!(
            inbox.submit(webhook_with(&key, r#""one""#)),
            inbox.submit(webhook_with(&key, r#""other""#))
        );
        let (stored, refusal) = if one.is_ok() { (one, other) } else { (other, one) };
        assert!(!stored.expect("one is stored").duplicate);
        assert_eq!(refused(refusal), Reason::KeyReused);
    }
    assert_eq!(inbox.counts().await.of(Status::Pending), 16);
}

pub(crate) async fn ids_grow_beyond_4096_in_one_millisecond<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("first").await;
    // An id has room for 4,096 values per millisecond, and the clock does not move.
    let keys = (0..4_200).map(|number| number.to_string()).collect::<Vec<_>>();
    let mut ids = HashSet::new();
    // Limits the concurrency so that no store refuses a webhook.
    for keys in keys.chunks(1_000) {
        ids.extend(
            join_all(keys.iter().map(|key| inbox.accept_new(key))).await.iter().map(|webhook| webhook.id),
        );
    }
    let last = inbox.accept_new("last").await;

    assert_eq!(ids.len(), 4_200, "all ids are distinct");
    assert!(ids.iter().all(|id| first.id < *id && *id < last.id), "ids grow");
    assert_eq!(inbox.everything().await.len(), 4_202);
}

pub(crate) async fn ids_grow_when_the_clock_is_set_back<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let first = inbox.accept_new("first").await;
    inbox.go_back(seconds(3600));
    let second = inbox.accept_new("second").await;
    assert!(second.id > first.id, "the id grows although the clock was set back");
    assert!(second.accepted_at >= first.accepted_at, "the time of acceptance does not decrease");

    inbox.crash_and_reopen().await;
    let third = inbox.accept_new("third").await;
    assert!(third.id > second.id, "the id also grows after a restart");
    let ids = inbox.everything().await.into_iter().map(|webhook| webhook.id).collect::<Vec<_>>();
    assert_eq!(ids, [third.id, second.id, first.id], "newest first");
}
