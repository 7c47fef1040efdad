//! The JSON of responses. Its members are those of the messages in the proto;
//! `tests/integration/api/contract.rs` compares them.

mod action;
mod arrival;
mod delivery;
mod operation;
mod payload;
mod quarantine;
mod replay;
mod source;
mod stats;
mod webhook;
mod work;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub(super) use self::action::ListActionsResponse;
pub(super) use self::arrival::WatchWebhooksResponse;
pub(super) use self::operation::{
    CancelJobsResponse, ListPausesResponse, ListRoutesResponse, MoveJobsResponse, PauseBody,
    ReloadSettingsResponse, ResumeResponse,
};
pub(super) use self::quarantine::DiscardWebhookResponse;
pub(super) use self::replay::{ListReplaysResponse, ReplayBody, StartReplayBody};
pub(super) use self::source::{GetSourceResponse, ListRejectionsResponse, ListSourcesResponse};
pub(super) use self::stats::GetStatsResponse;
pub(super) use self::webhook::{ListWebhooksResponse, StatusBody, SubmitWebhookResponse, WebhookBody};
pub(super) use self::work::{
    ExtendLeasesBody, ExtendLeasesResponse, FinishJobsBody, FinishJobsResponse, LeaseJobsBody,
    LeaseJobsResponse,
};
use crate::domain::error::{Error, Result};
use crate::domain::job::Status;
use crate::domain::time;

/// A time as RFC 3339 writes it, in UTC with milliseconds: `2026-03-01T12:00:00.000Z`.
#[derive(Debug)]
struct Time(Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&time_text(self.0))
    }
}

/// A time as [`Time`] writes it.
fn time_text(time: Timestamp) -> String {
    PRINTER.timestamp_to_string(&time)
}

/// A time that a request gave, as [`Time`] writes it, but with all digits that it has.
fn exact_time_text(time: Timestamp) -> String {
    if time.subsec_nanosecond() % 1_000_000 == 0 { time_text(time) } else { time.to_string() }
}

/// The time in a member or a parameter of a request, as RFC 3339 writes it. Errors: `InvalidField`.
pub(super) fn time_of(field: &'static str, text: &str) -> Result<Timestamp> {
    if let Some(time) = text.parse::<Timestamp>().ok().and_then(time::in_range) {
        return Ok(time);
    }
    if time::is_time(text) {
        return Err(Error::invalid(field, time::out_of_range()));
    }
    Err(Error::invalid(field, "must be a time as in RFC 3339, such as 2024-12-01T14:30:00Z"))
}

fn word<S: Serializer>(status: &Status, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

/// The status of a job or of a webhook.
///
/// - `pending`: due, and not started. The job waits for a worker, for a limit of its route, for an earlier
///   job of its order value, or for the end of a pause.
/// - `processing`: a worker has leased the job and runs its handler.
/// - `retrying`: the last attempt failed; the next attempt is due at `next_attempt_at`.
/// - `completed`: the handler completed the job. Final unless it is replayed.
/// - `dead_lettered`: the handler failed for good, or the attempts are used up. Final until it is retried,
///   replayed or cancelled by hand.
/// - `cancelled`: cancelled while it waited, or given up as a dead letter. Final until it is retried or
///   replayed.
/// - `filtered`: only of a webhook. Stored without a job, because no route matched. Final.
/// - `quarantined`: only of a webhook. Stored without a job, because it was not verified, until an operator
///   releases or discards it.
///
/// The status of a webhook is the first of `processing`, `retrying`, `pending`, `dead_lettered`,
/// `cancelled` and `completed` that any of its jobs has.
#[derive(ToSchema)]
#[schema(as = Status, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum StatusWord {
    Pending,
    Processing,
    Retrying,
    Completed,
    DeadLettered,
    Cancelled,
    Filtered,
    Quarantined,
}

/// What verifying the request of a webhook found.
///
/// - `none`: the source verifies nothing.
/// - `verified`: the request is from its sender.
/// - `unverified`: it is not proved that the request is from its sender; `cause` says why.
#[derive(ToSchema)]
#[schema(as = Verdict, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum VerdictWord {
    None,
    Verified,
    Unverified,
}

/// Why a request is not verified.
///
/// - `key_unavailable`: there is no key, it could not be fetched, or `public_url` is not set.
/// - `signature_missing`: it has no signature.
/// - `signature_malformed`: the signature has a wrong form, or something that is signed is missing.
/// - `timestamp_missing`: it has no time.
/// - `signature_mismatch`: the signature is not that of the request by any key.
/// - `credentials_wrong`: the token or the password is not one of the secrets, or the request has another topic, audience,
///   issuer, account or claim than the settings name.
/// - `timestamp_too_old`: the signature is right, but the time is further back than the tolerance.
/// - `timestamp_in_future`: the signature is right, but the time is further ahead than the tolerance.
#[derive(ToSchema)]
#[schema(as = Cause, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum CauseWord {
    KeyUnavailable,
    SignatureMissing,
    SignatureMalformed,
    TimestampMissing,
    SignatureMismatch,
    CredentialsWrong,
    TimestampTooOld,
    TimestampInFuture,
}

/// How an attempt ended.
///
/// - `completed`: the handler completed the job.
/// - `failed`: the handler failed, panicked or took longer than its timeout; `error` says why.
/// - `interrupted`: the process died or lost the lease, or the attempt was stopped at shutdown.
#[derive(ToSchema)]
#[schema(as = Outcome, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum OutcomeWord {
    Completed,
    Failed,
    Interrupted,
}
