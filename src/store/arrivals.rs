//! What is needed to follow the webhooks that come in, in the order of their ids.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::webhook::WebhookStatus;

/// Reads the webhooks that have come in since a place in the order of ids. [`Changes::arrivals`] tells when there may be
/// more.
///
/// [`Changes::arrivals`]: super::changes::Changes::arrivals
#[async_trait]
pub trait Arrivals: fmt::Debug + Send + Sync {
    /// Returns the greatest id; `None` if there are no webhooks.
    async fn newest(&self) -> Result<Option<WebhookId>>;

    /// Returns the ids that are greater than `after`, the smallest first, at most `limit` of them. Includes webhooks
    /// without jobs.
    async fn ids_after(&self, after: WebhookId, limit: usize) -> Result<Vec<WebhookId>>;

    /// Returns the status of these webhooks, the smallest id first. Leaves out webhooks that were removed.
    async fn statuses(&self, ids: Vec<WebhookId>) -> Result<Vec<WebhookStatus>>;

    /// The time by which ids are made: those that are made from now on have this time or a later one, unless the clock is
    /// set back.
    fn time_of_ids(&self) -> Timestamp;

    /// For how long after a webhook became visible others with smaller ids may still become visible. It is zero if
    /// webhooks become visible in the order of their ids.
    fn visible_within(&self) -> Duration;
}
