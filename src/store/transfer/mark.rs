//! The mark of a SQLite file whose webhooks are being moved, or were moved.

use jiff::Timestamp;
use uuid::Uuid;

/// The transfer of a file, as stored in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The id of the transfer. The database stores the same id.
    pub id: Uuid,
    /// The URL of the database, without user and password.
    pub moved_to: String,
    /// When the transfer began.
    pub started_at: Timestamp,
    /// When all webhooks had been moved and counted; `None` until then.
    pub finished_at: Option<Timestamp>,
}
