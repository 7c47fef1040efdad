//! The mark of a file that is being moved, or was.

use jiff::Timestamp;
use uuid::Uuid;

/// What a file says of its transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The id of the transfer, which the database has as well.
    pub id: Uuid,
    /// The database, without user and password.
    pub moved_to: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When all had been moved and counted; none before.
    pub finished_at: Option<Timestamp>,
}
