//! Converts between messages of the proto and types of the domain.

mod action;
mod delivery;
mod payload;
mod replay;
mod request;
mod source;
mod stats;
mod value;
mod webhook;
mod work;

use jiff::Timestamp;

pub(super) use self::action::{action_query, actions};
pub(super) use self::replay::{list_replays, replay, replays, start_replay};
pub(super) use self::request::list_query;
pub use self::request::{memory_of, new_webhook};
pub(super) use self::source::{rejections, source_detail, sources};
pub(super) use self::stats::{pause, routes, stats};
pub(super) use self::webhook::{accepted, arrival, discarded, page, webhook, webhook_status};
pub(super) use self::work::{
    extend_request, extended_lease, finish_request, finished_job, lease_request, leased_job,
};
use super::proto;
use crate::domain::job::Status;

fn status(status: Status) -> proto::Status {
    match status {
        Status::Pending => proto::Status::Pending,
        Status::Processing => proto::Status::Processing,
        Status::Retrying => proto::Status::Retrying,
        Status::Completed => proto::Status::Completed,
        Status::DeadLettered => proto::Status::DeadLettered,
        Status::Cancelled => proto::Status::Cancelled,
        Status::Filtered => proto::Status::Filtered,
        Status::Quarantined => proto::Status::Quarantined,
    }
}

fn status_from(word: proto::Status) -> Option<Status> {
    Status::ALL.into_iter().find(|candidate| status(*candidate) == word)
}

/// A time as protobuf has it: its nanoseconds count forwards, also before 1970.
fn time(time: Timestamp) -> prost_types::Timestamp {
    match (time.as_second(), time.subsec_nanosecond()) {
        (seconds, nanos @ ..0) => {
            prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 }
        }
        (seconds, nanos) => prost_types::Timestamp { seconds, nanos },
    }
}
