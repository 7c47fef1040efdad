//! Sample webhooks, pauses, names and times.

use std::time::Duration;

use hookbox::internals::domain::action::ActionReason;
use hookbox::internals::domain::delivery::{Answer, Delivery};
use hookbox::internals::domain::error::{Error, Reason, Result};
use hookbox::internals::domain::headers::KeptHeaders;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::trace::Traceparent;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use hookbox::internals::store::{NewPause, PauseTarget};

/// The actor of pauses.
pub(crate) const OPERATOR: &str = "anna";

pub(crate) fn webhook(key: &str) -> NewWebhook {
    webhook_with(key, r#"{"n":1}"#)
}

pub(crate) fn webhook_with(key: &str, payload: &str) -> NewWebhook {
    NewWebhook {
        source: Source::default(),
        idempotency_key: key_of(key),
        event_type: EventType::new("order.paid").expect("valid"),
        payload: Payload::new(payload).expect("JSON"),
        headers: KeptHeaders::default(),
        verdict: Verdict::None,
        traceparent: Traceparent::new(0x5eed, 0x5eed, true),
    }
}

pub(crate) fn key_of(key: &str) -> IdempotencyKey {
    IdempotencyKey::new(key).expect("valid")
}

pub(crate) fn source(name: &str) -> Source {
    Source::new(name).expect("valid")
}

pub(crate) fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("valid")
}

/// A pause by [`OPERATOR`].
pub(crate) fn new_pause(target: PauseTarget, reason: Option<&str>) -> NewPause {
    let reason = ActionReason::of_field(reason.map(str::to_owned)).expect("valid");
    NewPause { target, actor: OPERATOR.to_owned(), reason }
}

/// A request that a handler sent, and an answer with this body.
pub(crate) fn delivery(body: &[u8]) -> Delivery {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Delivery {
        method: "POST".to_owned(),
        url: "http://orders.internal/hooks".to_owned(),
        request_headers: vec![header("webhook-id", "1"), header("x-team", "***")],
        answer: Some(Answer {
            status: 503,
            headers: vec![header("set-cookie", "a=\"1\""), header("set-cookie", "b=\u{fffd}")],
            body: body.to_vec(),
            is_cut: true,
        }),
        connect_time: Some(Duration::from_micros(1_234)),
        first_byte_time: Some(milliseconds(20)),
        total_time: seconds(3),
    }
}

/// An id that has the same first 60 bits as `id` and differs after them.
pub(crate) fn look_alike(id: WebhookId) -> WebhookId {
    let mut bytes = *id.as_bytes();
    bytes[15] ^= 1;
    let other = WebhookId::from_bytes(bytes);
    assert_eq!(other.sequence(), id.sequence());
    other
}

/// The reason of an error. Panics if the operation succeeded.
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T>) -> Reason {
    result.as_ref().map_err(Error::reason).expect_err("is refused")
}

pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) const fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
