//! Makes webhooks of a request.

use super::Head;
use crate::domain::content_type::ContentType;
use crate::domain::error::Error;
use crate::domain::headers::KeptHeaders;
use crate::domain::payload::Payload;
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{EventType, NewWebhook};
use crate::sources::{Item, ReadError, Request, Rules, SourceRules, read};

/// The most bytes of headers that are kept with all webhooks of one request. Each webhook of a batch keeps them; those
/// after this limit keep none.
const MAX_HEADER_BYTES: usize = 32 * 1024 * 1024;

/// The webhooks of a request, in their order. Errors: the first item that cannot be read.
pub(super) fn webhooks_of(
    source: &SourceRules,
    head: &Head<'_>,
    request: &Request<'_>,
    verdict: Verdict,
) -> Result<Vec<NewWebhook>, ReadError> {
    let items = read(request, &source.rules)?;
    // Every name of a source is an event type, too.
    let wrong = |error: Error| ReadError { item: None, detail: error.detail().to_owned() };
    let of_source = EventType::new(source.name.as_str()).map_err(wrong)?;
    let of_request = source.rules.content_type.clone().unwrap_or_else(|| content_type_of(head));
    let headers = KeptHeaders::keep(head.headers.iter().copied(), |name| is_proof(&source.rules, name));
    let with_headers = MAX_HEADER_BYTES / headers.as_text().map_or(1, str::len);
    let webhook = |(at, item): (usize, Item<'_>)| {
        let content_type = if item.is_part { ContentType::JSON } else { of_request.clone() };
        NewWebhook {
            source: source.name.clone(),
            idempotency_key: item.key,
            event_type: item.event_type.unwrap_or_else(|| of_source.clone()),
            payload: Payload::of_bytes(item.body, content_type),
            headers: if at < with_headers { headers.clone() } else { KeptHeaders::default() },
            verdict,
            traceparent: head.traceparent.clone(),
        }
    };
    Ok(items.into_iter().enumerate().map(webhook).collect())
}

/// The headers that routes see: names in lower case, and values. Invalid UTF-8 is replaced. What proves the sender is
/// left out.
pub(super) fn visible(rules: &Rules, head: &Head<'_>) -> Vec<(String, String)> {
    let visible = head.headers.iter().filter(|(name, _)| !is_proof(rules, name));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    visible.map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect()
}

/// The content type of a request.
fn content_type_of(head: &Head<'_>) -> ContentType {
    let mut types = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    ContentType::of_header(types.next().map(|(_, value)| *value))
}

/// Whether a header proves who sent a request.
fn is_proof(rules: &Rules, name: &str) -> bool {
    rules.proving_headers().any(|proof| proof.eq_ignore_ascii_case(name))
}
