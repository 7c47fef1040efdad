//! Limits of one batch of a transfer.

/// Maximum number of webhooks in one batch, by default.
pub const BATCH_WEBHOOKS: usize = 4_000;

/// Maximum number of bytes of payloads and other texts in one batch, by default.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Limits of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of webhooks in one batch; at least one is moved.
    pub webhooks: usize,
    /// Maximum number of bytes in one batch; a larger webhook is moved alone.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { webhooks: BATCH_WEBHOOKS, bytes: BATCH_BYTES }
    }
}
