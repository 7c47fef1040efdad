//! Bodies of any bytes, with their content type, the headers of their request, and its verdict.

use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::headers::{KeptHeaders, MAX_HEADER_BYTES, MAX_HEADERS};
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use hookbox::internals::domain::webhook::NewWebhook;

use super::purging::purge_all;
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, refused, seconds, webhook};

/// A webhook with these bytes.
fn webhook_of(key: &str, bytes: &[u8], content_type: &str) -> NewWebhook {
    let content_type = ContentType::of_header(Some(content_type.as_bytes()));
    NewWebhook { payload: Payload::of_bytes(bytes, content_type), ..webhook(key) }
}

/// Headers of which some have to be escaped.
fn headers() -> KeptHeaders {
    let given: [(&str, &[u8]); 4] =
        [("X-Shop", b"\"7\"\t\\"), ("x-shop", "ż".as_bytes()), ("cookie", b"secret"), ("x-empty", b"")];
    KeptHeaders::keep(given, |_| false)
}

pub(crate) async fn any_bytes_are_a_payload_and_come_out_as_they_went_in<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let large = every_byte.repeat(8 * 1024 * 1024 / every_byte.len());
    let bodies = [
        &b""[..],
        b"\0",
        b"\\x00",
        b"\xc3\x28",
        b"a=1&b=%00",
        "żółć".as_bytes(),
        &every_byte[..],
        &large[..],
    ];
    for (number, body) in bodies.into_iter().enumerate() {
        let new = webhook_of(&number.to_string(), body, "application/octet-stream");
        let id = inbox.submit(new).await.expect("accepted").webhook.id;
        let job = inbox.claim_one().await;
        assert!(job.payload.as_deref() == Some(body), "claimed, number {number}");
        inbox.end(&job, Status::Completed).await;
        inbox.crash_and_reopen().await;
        assert!(inbox.detail_of(id).await.payload.as_deref() == Some(body), "read, number {number}");
    }
}

pub(crate) async fn a_webhook_keeps_content_type_headers_and_verdict<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let verdicts = [Verdict::None, Verdict::Verified].into_iter().chain(Cause::ALL.map(Verdict::Unverified));
    let content_type = "Text/Plain; charset=\"utf-8\"";
    for (number, verdict) in verdicts.enumerate() {
        let new = webhook_of(&number.to_string(), b"text", content_type);
        let new = NewWebhook { headers: headers(), verdict, ..new };
        let id = inbox.submit(new).await.expect("accepted").webhook.id;
        let job = inbox.claim_one().await;
        assert_eq!(job.content_type.as_str(), content_type);
        inbox.end(&job, Status::Completed).await;
        inbox.crash_and_reopen().await;
        let detail = inbox.detail_of(id).await;
        assert_eq!((detail.content_type.as_str(), detail.verdict), (content_type, verdict));
        let expected = [("x-shop", "\"7\"\t\\"), ("x-shop", "ż"), ("cookie", "***"), ("x-empty", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(detail.headers, expected);
    }
}

pub(crate) async fn as_many_headers_as_are_kept_are_stored<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let value = vec![b'v'; MAX_HEADER_BYTES / MAX_HEADERS - "x".len()];
    let given = vec![("x", &value[..]); MAX_HEADERS + 1];
    let new = NewWebhook { headers: KeptHeaders::keep(given, |_| false), ..webhook("k") };
    let id = inbox.submit(new).await.expect("accepted").webhook.id;
    let kept = inbox.detail_of(id).await.headers;
    assert_eq!(kept.len(), MAX_HEADERS);
    assert!(kept.iter().all(|(name, kept)| name == "x" && kept.as_bytes() == value));
}

pub(crate) async fn bytes_are_compared_as_they_are<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let first = inbox.submit(webhook_of("k", b"{\"n\":1}", "application/json")).await.expect("accepted");
    // Neither the content type nor the headers of a repeated request matter.
    let again = webhook_of("k", b"{\"n\":1}", "text/plain");
    let again = inbox.submit(NewWebhook { headers: headers(), ..again }).await.expect("answered");
    assert_eq!((again.webhook.id, again.duplicate), (first.webhook.id, true));
    assert!(inbox.detail_of(first.webhook.id).await.headers.is_empty(), "the first request is kept");
    let other = webhook_of("k", b"{ \"n\":1}", "application/json");
    assert_eq!(refused(inbox.submit(other).await), Reason::KeyReused);
}

pub(crate) async fn headers_are_purged_with_the_payload<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let new = NewWebhook { headers: headers(), ..webhook_of("k", b"\xff", "text/plain") };
    let new = NewWebhook { verdict: Verdict::Verified, ..new };
    let id = inbox.submit(new).await.expect("accepted").webhook.id;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.advance(seconds(100));
    assert_eq!(purge_all(&inbox).await.payloads, 1);
    let detail = inbox.detail_of(id).await;
    assert_eq!((detail.payload, detail.headers), (None, Vec::new()));
    assert_eq!((detail.content_type.as_str(), detail.verdict), ("text/plain", Verdict::Verified));
}
