//! The JSON that goes out. Its members are those of the messages in the proto; a test compares.

mod operation;
mod stats;
mod webhook;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub(super) use self::operation::{
    CancelJobsResponse, ListPausesResponse, ListRoutesResponse, MoveJobsResponse, PauseBody,
    ReloadSettingsResponse, ResumeResponse,
};
pub(super) use self::stats::GetStatsResponse;
pub(super) use self::webhook::{ListWebhooksResponse, StatusBody, SubmitWebhookResponse, WebhookBody};
use crate::domain::job::Status;

/// RFC 3339, UTC, milliseconds.
#[derive(Debug)]
struct Time(Timestamp);

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&PRINTER.timestamp_to_string(&self.0))
    }
}

fn word<S: Serializer>(status: &Status, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(status.as_str())
}

/// Where the processing of a job stands. The status of a webhook is the first of `processing`,
/// `retrying`, `pending`, `dead_lettered`, `cancelled` and `completed` that any of its jobs has; without
/// jobs it is `filtered` or `quarantined`.
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

/// How one attempt ended.
#[derive(ToSchema)]
#[schema(as = Outcome, rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum OutcomeWord {
    Completed,
    Failed,
    Interrupted,
}
