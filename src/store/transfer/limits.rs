//! Limits of one batch of a transfer.

/// Most webhooks in one batch, by default.
pub const BATCH_WEBHOOKS: usize = 4_000;

/// Most bytes of payloads and other texts in one batch, by default.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Limits of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most webhooks in one batch; at least one is moved.
    pub webhooks: usize,
    /// Most bytes in one batch; a larger webhook is moved alone.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { webhooks: BATCH_WEBHOOKS, bytes: BATCH_BYTES }
    }
}
