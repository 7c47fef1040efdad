//! Which webhooks a batch stores, refuses or sets aside.

use super::*;
use crate::domain::conflict::OnConflict;
use crate::domain::error::Reason;
use crate::domain::headers::KeptHeaders;
use crate::domain::payload::Payload;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};

/// A webhook with a payload of this many bytes.
fn accept(bytes: usize) -> (Accept, oneshot::Receiver<Result<Accepted>>) {
    let webhook = NewWebhook {
        source: Source::default(),
        idempotency_key: IdempotencyKey::new("k").expect("valid"),
        event_type: EventType::new("test").expect("valid"),
        payload: Payload::new(format!("\"{}\"", "x".repeat(bytes - 2))).expect("valid"),
        headers: KeptHeaders::default(),
        verdict: Verdict::None,
        traceparent: Traceparent::new(1, 1, true),
    };
    let (reply, answer) = oneshot::channel();
    let late_at = Instant::now() + Duration::from_secs(60);
    let incoming = Incoming { webhook, jobs: Vec::new(), on_conflict: OnConflict::Reject };
    (Accept { incoming, reply, late_at }, answer)
}

#[test]
fn webhooks_whose_callers_wait_no_longer_are_not_stored() {
    let (mut batch, mut answers): (Vec<_>, Vec<_>) = [10, 20, 30].map(accept).into_iter().unzip();
    batch[1].late_at = Instant::now();
    refuse_late(&mut batch);
    assert_eq!(batch.iter().map(Accept::bytes).collect::<Vec<_>>(), [10, 30]);
    let refusal = answers[1].try_recv().expect("is answered").expect_err("is refused");
    assert_eq!(refusal.reason(), Reason::StoreUnavailable, "not as if the process stopped");
}

#[test]
fn large_webhooks_are_set_aside_and_refused_beyond_their_limit() {
    let (aside, mut large) = mpsc::channel(1);
    let received = [10, LARGE_BYTES + 1, LARGE_BYTES, LARGE_BYTES + 2].map(accept);
    let (mut batch, mut answers): (Vec<_>, Vec<_>) = received.into_iter().unzip();
    set_large_aside(&mut batch, 1, &aside);
    assert_eq!(batch.iter().map(Accept::bytes).collect::<Vec<_>>(), [10, LARGE_BYTES]);
    assert_eq!(large.try_recv().expect("was set aside").bytes(), LARGE_BYTES + 1);
    let refusal = answers[3].try_recv().expect("is answered").expect_err("is refused");
    assert_eq!(refusal.reason(), Reason::BacklogFull);
    assert!(refusal.retry_delay().is_some(), "the error says when to retry");
}
