//! The tokens of the settings.

use std::sync::Arc;

use super::{Caller, Digest, MAX_TOKEN_BYTES, REMOVED, unauthenticated};
use crate::domain::error::Result;

/// Tokens. The default has none, so that requests need none.
#[derive(Debug, Default)]
pub struct Tokens {
    /// The owner of each token.
    callers: Box<[Arc<Caller>]>,
    are_metrics_open: bool,
}

impl Tokens {
    /// Takes the owners of tokens, and whether the metrics need no token.
    pub fn new(callers: impl IntoIterator<Item = Caller>, are_metrics_open: bool) -> Self {
        Self { callers: callers.into_iter().map(Arc::new).collect(), are_metrics_open }
    }

    /// Whether there are any.
    pub fn are_needed(&self) -> bool {
        !self.callers.is_empty()
    }

    /// Whether the metrics need no token.
    pub fn are_metrics_open(&self) -> bool {
        self.are_metrics_open
    }

    /// The owner of a token. Compares it with every token, so that the time tells nothing about any of them.
    pub(super) fn find(&self, token: &[u8]) -> Option<Arc<Caller>> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let digest = Digest::of(token);
        let mut found = None;
        for caller in &self.callers {
            if caller.token.as_ref() == Some(&digest) {
                found = Some(caller);
            }
        }
        found.cloned()
    }

    /// Whether these tokens admit a caller who was admitted before. Errors: `Unauthenticated` if a reload has changed or
    /// removed the token.
    pub fn check(&self, caller: &Caller) -> Result<()> {
        if !self.are_needed() || self.have(caller) { Ok(()) } else { Err(unauthenticated(REMOVED)) }
    }

    /// Whether a caller has one of these tokens, with the same roles and limits.
    fn have(&self, caller: &Caller) -> bool {
        self.callers.iter().any(|known| **known == *caller)
    }
}
