//! How long what is finished is kept.

use std::time::Duration;

/// How long finished webhooks are kept, from the moment they reached their final status.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Payload and result of a completed webhook.
    pub completed: Duration,
    /// Payload of a dead-lettered or cancelled webhook.
    pub dead_lettered: Duration,
    /// The key, and all the rest; at least as long as the others.
    pub keys: Duration,
}
