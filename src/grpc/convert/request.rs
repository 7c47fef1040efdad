//! Converts requests to types of the domain, and refuses fields that are not valid.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::payload::cause as cause_to;
use super::status_from;
use super::value::{held_bytes, json_of};
use crate::domain::body_filter::BodyFilter;
use crate::domain::error::{Error, Reason, Result, all_of};
use crate::domain::filter::{FilterText, TraceId};
use crate::domain::headers::KeptHeaders;
use crate::domain::job::Status;
use crate::domain::payload::Payload;
use crate::domain::route::RouteName;
use crate::domain::time;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::{Cause, Verdict, VerdictFilter};
use crate::domain::webhook::{EventType, IdempotencyKey, NewWebhook, Source};
use crate::grpc::proto;
use crate::service::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE};
use crate::store::ListQuery;

/// The memory that a submission holds, in bytes.
pub fn memory_of(request: &proto::SubmitWebhookRequest) -> usize {
    use proto::submit_webhook_request::Content;
    let content = match &request.content {
        Some(Content::PayloadJson(json)) => json.len(),
        Some(Content::Payload(value)) => held_bytes(value),
        None => 0,
    };
    request.idempotency_key.len() + request.event_type.len() + content
}

/// The webhook of a submission. Errors: fields of the message are missing or wrong; the payload has more than
/// `max_body_bytes`.
pub fn new_webhook(
    request: proto::SubmitWebhookRequest,
    max_body_bytes: usize,
    headers: KeptHeaders,
    traceparent: Traceparent,
) -> Result<NewWebhook> {
    let (idempotency_key, event_type, payload) = all_of(
        IdempotencyKey::new(request.idempotency_key),
        EventType::new(request.event_type),
        payload(request.content, max_body_bytes),
    )
    .inspect_err(|error| {
        tracing::debug!(
            trace_id = traceparent.trace_id(),
            outcome = error.reason().as_str(),
            field = error.field(),
            "a submission is refused"
        );
    })?;
    let (source, verdict) = (Source::default(), Verdict::None);
    Ok(NewWebhook { source, idempotency_key, event_type, payload, headers, verdict, traceparent })
}

fn payload(
    content: Option<proto::submit_webhook_request::Content>,
    max_body_bytes: usize,
) -> Result<Payload> {
    use proto::submit_webhook_request::Content;
    let json = match content {
        Some(Content::PayloadJson(json)) => json,
        Some(Content::Payload(value)) => json_of(value)?.to_string(),
        None => return Err(Error::invalid("payload", "is missing; give `payload` or `payload_json`")),
    };
    if json.len() > max_body_bytes {
        return Err(Error::new(
            Reason::BodyTooLarge,
            format!("the payload has more than {max_body_bytes} bytes; send a smaller one"),
        ));
    }
    Payload::new(json)
}

pub(in crate::grpc) fn list_query(request: proto::ListWebhooksRequest) -> Result<ListQuery> {
    let limit = page_size(request.page_size)?;
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(ListQuery {
        statuses: statuses(request.status)?,
        route: given(request.route).map(RouteName::new).transpose()?,
        source: given(request.source).map(Source::new).transpose()?,
        event_type: given(request.event_type).map(EventType::new).transpose()?,
        verdict: VerdictFilter::new(verdict(request.verdict)?, cause(request.cause)?)?,
        idempotency_key: given(request.idempotency_key).map(IdempotencyKey::new).transpose()?,
        trace_id: given(request.trace_id).map(|id| TraceId::new(&id)).transpose()?,
        error_contains: given(request.error_contains)
            .map(|text| FilterText::new("error_contains", text))
            .transpose()?,
        body: BodyFilter::from_fields(&request.body_pointer, &request.body_equals, &request.body_contains)?,
        accepted_after: time_from("accepted_after", request.accepted_after)?,
        accepted_before: time_from("accepted_before", request.accepted_before)?,
        before: given(request.page_token).map(|token| token.parse()).transpose()?,
        limit,
        ..ListQuery::default()
    })
}

/// The wanted verdict; none if any is.
fn verdict(number: i32) -> Result<Option<VerdictFilter>> {
    let known = proto::Verdict::try_from(number);
    Ok(match known.map_err(|_| Error::invalid("verdict", "has an unknown verdict"))? {
        proto::Verdict::Unspecified => None,
        proto::Verdict::None => Some(VerdictFilter::None),
        proto::Verdict::Verified => Some(VerdictFilter::Verified),
        proto::Verdict::Unverified => Some(VerdictFilter::Unverified),
    })
}

/// The wanted cause; none if any is.
fn cause(number: i32) -> Result<Option<Cause>> {
    let known = proto::Cause::try_from(number);
    let known = known.map_err(|_| Error::invalid("cause", "has an unknown cause"))?;
    Ok(Cause::ALL.into_iter().find(|cause| cause_to(*cause) == known))
}

/// How many items a page has at most; 0 means the default.
pub(super) fn page_size(asked: u32) -> Result<usize> {
    match asked as usize {
        0 => Ok(DEFAULT_PAGE_SIZE),
        size if size <= MAX_PAGE_SIZE => Ok(size),
        _ => Err(Error::invalid("page_size", format_args!("must be a number from 1 to {MAX_PAGE_SIZE}"))),
    }
}

/// The wanted statuses; none if any status is wanted.
pub(super) fn statuses(numbers: Vec<i32>) -> Result<BTreeSet<Status>> {
    let known = |number: i32| {
        proto::Status::try_from(number).map_err(|_| Error::invalid("status", "has an unknown status"))
    };
    let words = numbers.into_iter().map(known).collect::<Result<Vec<_>>>()?;
    // `STATUS_UNSPECIFIED` is any status.
    Ok(words.into_iter().map(status_from).collect::<Option<_>>().unwrap_or_default())
}

pub(super) fn time_from(
    field: &'static str,
    time: Option<prost_types::Timestamp>,
) -> Result<Option<Timestamp>> {
    let read = |time: prost_types::Timestamp| {
        if !(0..1_000_000_000).contains(&time.nanos) {
            return Err(Error::invalid(field, "has `nanos` that are not from 0 to 999,999,999"));
        }
        let read = Timestamp::new(time.seconds, time.nanos).ok().and_then(time::in_range);
        read.ok_or_else(|| Error::invalid(field, time::out_of_range()))
    };
    time.map(read).transpose()
}
