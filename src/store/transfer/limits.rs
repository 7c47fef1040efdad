//! How much a transfer moves at once.

/// Webhooks in one batch.
pub const BATCH_WEBHOOKS: usize = 4_000;

/// Bytes of payloads and other texts in one batch.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// How much is moved at once.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Webhooks in one batch; at least one is moved.
    pub webhooks: usize,
    /// Bytes in one batch; a webhook that is larger is moved alone.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { webhooks: BATCH_WEBHOOKS, bytes: BATCH_BYTES }
    }
}
