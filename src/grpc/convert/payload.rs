//! Converts payloads, and what verifying their requests found, to fields of messages.

use crate::domain::content_type::ContentType;
use crate::domain::verdict::{Cause, Verdict};
use crate::grpc::proto;

/// The fields `payload_json` and `payload_bytes`. One of them is set, unless the retention of the payload is over.
pub(super) fn payload(
    payload: Option<Vec<u8>>,
    content_type: &ContentType,
) -> (Option<String>, Option<Vec<u8>>) {
    let Some(bytes) = payload else { return (None, None) };
    if content_type.shown_json_of(&bytes).is_none() {
        return (None, Some(bytes));
    }
    match String::from_utf8(bytes) {
        Ok(json) => (Some(json), None),
        Err(error) => (None, Some(error.into_bytes())),
    }
}

pub(super) fn verdict(verdict: Verdict) -> proto::Verdict {
    match verdict {
        Verdict::None => proto::Verdict::None,
        Verdict::Verified => proto::Verdict::Verified,
        Verdict::Unverified(_) => proto::Verdict::Unverified,
    }
}

pub(super) fn cause(cause: Cause) -> proto::Cause {
    match cause {
        Cause::SignatureMissing => proto::Cause::SignatureMissing,
        Cause::SignatureMalformed => proto::Cause::SignatureMalformed,
        Cause::SignatureMismatch => proto::Cause::SignatureMismatch,
        Cause::TimestampMissing => proto::Cause::TimestampMissing,
        Cause::TimestampTooOld => proto::Cause::TimestampTooOld,
        Cause::TimestampInFuture => proto::Cause::TimestampInFuture,
        Cause::KeyUnavailable => proto::Cause::KeyUnavailable,
        Cause::CredentialsWrong => proto::Cause::CredentialsWrong,
    }
}
