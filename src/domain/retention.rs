//! How long finished webhooks are kept.

use std::time::Duration;

/// How long finished webhooks are kept, from the moment their job reached its final status. For a filtered
/// webhook, from its acceptance.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// The payload and results of a completed or filtered webhook.
    pub completed: Duration,
    /// The payload of a dead-lettered or cancelled webhook.
    pub dead_lettered: Duration,
    /// Everything else, with the key: jobs and attempts. At least as long as the other two.
    pub keys: Duration,
    /// A quarantined webhook, with its payload, from its acceptance.
    pub quarantined: Duration,
}
