//! Turns errors into `tonic::Status`. No other module does.

use std::collections::HashMap;
use std::time::Duration;

use tonic::codegen::http;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::answer::Uncounted;
use crate::domain::error::{Error, Reason, cut, reasons};
use crate::domain::id::WebhookId;
use crate::domain::trace::Traceparent;
use crate::service::log_unserved;
use crate::telemetry::trace;

/// The domain of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "hookbox";

/// The most bytes of a text in a status. A status is sent in headers, and clients refuse headers of more than
/// 8 or 16 KiB; the encoded status has the text up to three times.
pub(super) const MAX_TEXT_BYTES: usize = 2_000;

/// With what the text of prost ends for a message that nests too deeply. Before that, it names each level.
const TOO_DEEP: &str = "recursion limit reached";

reasons! {
    /// Why gRPC ends a call without an answer of the service.
    GrpcReason {
        /// There is no such service or method.
        UnknownMethod = "UNKNOWN_METHOD", "There is no such method";
        /// A message did not arrive in time.
        BodyTimeout = "BODY_TIMEOUT", "The message did not arrive in time";
        /// The time is over that the client set for its call.
        DeadlinePassed = "DEADLINE_PASSED", "The deadline of the call has passed";
        /// A message cannot be decoded.
        MalformedMessage = "MALFORMED_MESSAGE", "The message cannot be decoded";
        /// The messages are compressed.
        CompressionUnknown = "COMPRESSION_UNKNOWN", "The compression of the messages is not supported";
    }
}

impl GrpcReason {
    /// The code of a reason that only gRPC has.
    pub const fn code(self) -> Code {
        match self {
            Self::UnknownMethod | Self::CompressionUnknown => Code::Unimplemented,
            Self::BodyTimeout | Self::DeadlinePassed => Code::DeadlineExceeded,
            Self::MalformedMessage => Code::InvalidArgument,
        }
    }
}

/// The code of a reason.
pub const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::MalformedJson | Reason::InvalidField | Reason::MalformedWebhook => Code::InvalidArgument,
        Reason::KeyReused => Code::AlreadyExists,
        Reason::WebhookNotFound | Reason::RouteNotFound | Reason::SourceNotFound | Reason::ReplayNotFound => {
            Code::NotFound
        }
        Reason::WrongStatus
        | Reason::RouteInForce
        | Reason::RouteNotPulled
        | Reason::ReplayRunning
        | Reason::SettingsInvalid => Code::FailedPrecondition,
        Reason::RateLimited | Reason::TooManyFailedTokens | Reason::BodyTooLarge => Code::ResourceExhausted,
        Reason::Unauthenticated | Reason::NotVerified => Code::Unauthenticated,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::BacklogFull | Reason::StoreUnavailable | Reason::ShuttingDown => Code::Unavailable,
        Reason::Internal => Code::Internal,
    }
}

/// The status of an error, with `ErrorInfo`, and with `BadRequest` and `RetryInfo` where they apply. Logs
/// errors with the code `Internal` or `Unavailable`.
pub(super) fn status(error: &Error, trace_id: &str) -> Status {
    let reason = error.reason();
    let code = code_of(reason);
    if matches!(code, Code::Internal | Code::Unavailable) {
        log_unserved(error, trace_id);
    }
    let mut details = error_info(reason.as_str(), trace_id, error.webhook());
    for violation in error.violations() {
        let (field, detail) = (&violation.field, &violation.detail);
        details.add_bad_request_violation(cut(field, MAX_TEXT_BYTES), cut(detail, MAX_TEXT_BYTES));
    }
    if let Some(delay) = error.retry_delay() {
        details.set_retry_info(Some(delay.max(Duration::from_millis(1))));
    }
    Status::with_error_details(code, cut(error.detail(), MAX_TEXT_BYTES), details)
}

/// The trace id of the call that is answered. Without an exporter, the caller's, or a random one.
pub(super) fn trace_id_of(incoming: Option<&Traceparent>) -> String {
    trace::join(&tracing::Span::current(), incoming).trace_id().to_owned()
}

/// Adds our error details to a response whose status tonic made itself, and has it counted. Leaves any other response
/// unchanged.
pub(super) fn explain<B>(mut response: http::Response<B>) -> http::Response<B> {
    if let Some(status) = Status::from_header_map(response.headers())
        && let Some(explained) = explained(&status)
    {
        // Cannot fail: the message is encoded, so it has only bytes that a header may have.
        let _ = explained.add_header(response.headers_mut());
        response.extensions_mut().insert(Uncounted(explained.code()));
    }
    response
}

/// The status with our error details that replaces a status of tonic; none for any other status.
pub(super) fn explained(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    let message = status.message();
    Some(match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => {
            let detail = format!("the message is too large; send a smaller one ({message})");
            self::status(&Error::new(Reason::BodyTooLarge, detail), &trace_id_of(None))
        }
        Code::Unimplemented if message.is_empty() => {
            let detail = "there is no such method; reflection lists the methods";
            refusal(GrpcReason::UnknownMethod, detail)
        }
        // tonic names the compression.
        Code::Unimplemented => {
            let detail = format!("the messages are compressed; send them without compression ({message})");
            refusal(GrpcReason::CompressionUnknown, &detail)
        }
        Code::Internal if message.ends_with(TOO_DEEP) => {
            let detail = "the message nests too deeply to be decoded: as `payload`, lists nest at most 49 levels deep, \
                          and objects 33; give deeper JSON as `payload_json`, which may nest 128 levels deep";
            refusal(GrpcReason::MalformedMessage, detail)
        }
        // Errors of hookbox have details, so the fault is in the message.
        Code::Internal => {
            let detail = format!("the message cannot be decoded; encode it as the proto says ({message})");
            refusal(GrpcReason::MalformedMessage, &detail)
        }
        _ => return None,
    })
}

/// The status of a call of which a message did not arrive in time; `bytes` of it did.
pub(super) fn too_slow(bytes: usize) -> Status {
    let detail = format!("a message arrived too slowly: {bytes} bytes of it; send it again");
    refusal(GrpcReason::BodyTimeout, &detail)
}

/// The status of a call whose message arrived, and whose stream the client did not end in time.
pub(super) fn not_ended() -> Status {
    let detail =
        "the message arrived, but the client did not end the stream behind it; send it again and end it";
    refusal(GrpcReason::BodyTimeout, detail)
}

/// The status of a call that was not answered within the time that its client set.
pub(super) fn deadline_passed() -> Status {
    let detail = "the deadline that the client set (grpc-timeout) passed before the answer; what the call writes may \
                  or may not be stored; repeat the call with more time";
    refusal(GrpcReason::DeadlinePassed, detail)
}

/// The status of a call with bytes behind the only message that its method takes.
pub(super) fn another_message() -> Status {
    let detail = "there is something behind the message; send one message, because the method takes one";
    refusal(GrpcReason::MalformedMessage, detail)
}

/// The status of a call whose connection failed, or whose client broke the rules of HTTP/2, before the message had
/// arrived.
pub(super) fn cut_off() -> Status {
    Status::cancelled("the request was cut off before its message had arrived")
}

fn refusal(reason: GrpcReason, detail: &str) -> Status {
    let details = error_info(reason.as_str(), &trace_id_of(None), None);
    Status::with_error_details(reason.code(), cut(detail, MAX_TEXT_BYTES), details)
}

fn error_info(reason: &str, trace_id: &str, webhook: Option<WebhookId>) -> ErrorDetails {
    let mut metadata = HashMap::from([("trace_id".to_owned(), trace_id.to_owned())]);
    metadata.extend(webhook.map(|id| ("webhook_id".to_owned(), id.to_string())));
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_with_a_long_text_fits_into_headers() {
        let error = Error::invalid("payload", "€".repeat(10_000));
        let mut headers = http::HeaderMap::new();
        status(&error, &"0".repeat(32)).add_header(&mut headers).expect("headers");
        let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        assert!(bytes < 16 * 1024, "{bytes}");
    }

    #[test]
    fn only_a_status_that_tonic_made_is_explained() {
        let reason_of = |status: &Status| {
            let info = explained(status)?.get_details_error_info()?;
            Some((info.reason, info.domain))
        };
        let ours = |reason: &str| Some((reason.to_owned(), DOMAIN.to_owned()));
        assert_eq!(reason_of(&Status::unimplemented("")), ours("UNKNOWN_METHOD"));
        assert_eq!(reason_of(&Status::out_of_range("too large")), ours("BODY_TOO_LARGE"));
        assert_eq!(reason_of(&Status::unimplemented("Content is compressed")), ours("COMPRESSION_UNKNOWN"));
        assert_eq!(reason_of(&Status::internal("invalid tag value: 0")), ours("MALFORMED_MESSAGE"));
        assert_eq!(reason_of(&Status::not_found("unknown service")), None);
        for reason in [Reason::RateLimited, Reason::Internal] {
            assert_eq!(reason_of(&status(&Error::new(reason, "ours"), "")), None);
        }
    }
}
