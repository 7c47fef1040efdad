//! What becomes of a webhook whose key is taken by another one.

use serde::Deserialize;

/// What a webhook is answered whose key is taken by one with another body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It counts as a duplicate: the first one is kept.
    KeepFirst,
}
