//! The one place that makes a `tonic::Status` of an error.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::error::{Error, Reason};

/// The domain of `google.rpc.ErrorInfo`.
const DOMAIN: &str = "hookbox";

/// The code of a reason.
pub const fn code_of(reason: Reason) -> Code {
    match reason {
        Reason::MalformedJson | Reason::InvalidField | Reason::UnsupportedMediaType => Code::InvalidArgument,
        Reason::KeyReused => Code::AlreadyExists,
        Reason::WebhookNotFound => Code::NotFound,
        Reason::PathNotFound | Reason::MethodNotAllowed => Code::Unimplemented,
        Reason::WrongStatus => Code::FailedPrecondition,
        Reason::RateLimited | Reason::BodyTooLarge => Code::ResourceExhausted,
        Reason::BodyTimeout => Code::DeadlineExceeded,
        Reason::BacklogFull | Reason::StoreUnavailable | Reason::ShuttingDown => Code::Unavailable,
        Reason::Internal => Code::Internal,
    }
}

/// Makes the status of an error, with the details that clients read.
pub(super) fn status(error: &Error, trace_id: &str) -> Status {
    let reason = error.reason();
    let code = code_of(reason);
    if matches!(code, Code::Internal | Code::Unavailable) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(trace_id, reason = reason.as_str(), cause, "a request could not be served: {error}");
    }
    let mut details = ErrorDetails::with_error_info(
        reason.as_str(),
        DOMAIN,
        [("trace_id".to_owned(), trace_id.to_owned())],
    );
    if let Some(field) = error.field() {
        details.add_bad_request_violation(field, error.detail());
    }
    if let Some(delay) = error.retry_delay() {
        details.set_retry_info(Some(delay.max(Duration::from_millis(1))));
    }
    Status::with_error_details(code, error.detail(), details)
}
