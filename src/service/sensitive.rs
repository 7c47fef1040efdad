//! Sources that are marked `sensitive`: the page hides their payloads until a caller asks for one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Service;
use super::recent::Recent;
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::webhook::{Source, WebhookStatus};
use crate::store::ActionTarget;

/// For how long the record of a showing counts for the same one again. Otherwise, a token that only reads could fill the
/// store.
const RECORDED_FOR: Duration = Duration::from_secs(60);

/// The most showings of a token that are recorded in [`RECORDED_FOR`].
const MAX_SHOWINGS: usize = 1_000;

/// After which time to try again when there were too many.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The showings of the last [`RECORDED_FOR`]: when each began, by the monotonic time, and its record.
#[derive(Debug, Default)]
pub(super) struct Showings(Mutex<HashMap<Showing, (Duration, Record)>>);

/// That a showing is recorded, once it is.
type Record = Arc<Recent<()>>;

/// A payload that is shown.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Showing {
    /// The name of the token.
    actor: String,
    webhook: WebhookId,
    /// How it is shown.
    detail: Option<String>,
}

impl Showings {
    /// The record of a showing, which may have to be made. Errors: `StoreUnavailable` if there are too many.
    fn record_of(&self, showing: Showing, now: Duration) -> Result<Record> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.retain(|_, (began, _)| now.saturating_sub(*began) < RECORDED_FOR);
        let of_actor = records.keys().filter(|other| other.actor == showing.actor).count();
        if of_actor >= MAX_SHOWINGS && !records.contains_key(&showing) {
            let detail = format!(
                "this token was shown {MAX_SHOWINGS} hidden payloads within a minute, which is the most that are recorded; \
                 try again in a minute"
            );
            return Err(Error::new(Reason::StoreUnavailable, detail).retry_after(RETRY_AFTER));
        }
        let new = || (now, Arc::new(Recent::kept_for(RECORDED_FOR)));
        let (_, record) = records.entry(showing).or_insert_with(new);
        Ok(Arc::clone(record))
    }
}

impl Service {
    /// Whether the page hides the payloads of a source, by the settings in force. Those of a source that the settings
    /// do not have are not hidden.
    pub fn hides_payloads(&self, source: &Source) -> bool {
        self.sources().get(source).is_some_and(|rules| rules.rules.is_sensitive)
    }

    /// Records that the caller asks for the payload of a webhook, unless that was recorded within the last minute. Show it
    /// only after that: a payload that was shown is always recorded. `detail` says how it is shown. Errors:
    /// `StoreUnavailable` if too many payloads are shown; those of the store.
    pub async fn record_shown_payload(&self, webhook: &WebhookStatus, detail: Option<&str>) -> Result<()> {
        let (actor, detail) = (self.caller.name().to_owned(), detail.map(ToOwned::to_owned));
        let showing = Showing { actor, webhook: webhook.id, detail: detail.clone() };
        let record = self.showings.record_of(showing, self.clock.monotonic())?;
        let source = webhook.source.clone();
        let target =
            ActionTarget { webhook: Some(webhook.id), source: Some(source), ..ActionTarget::default() };
        let action = self.action(ActionKind::ShowPayload, target, detail);
        let store = Arc::clone(&self.store);
        record.get(&self.clock, async move { store.record_action(action).await }).await?;
        tracing::info!(
            actor = self.caller.name(),
            webhook_id = %webhook.id,
            source = webhook.source.as_str(),
            "a hidden payload is shown"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number is that of the webhook.
    fn showing(actor: &str, number: usize) -> Showing {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        Showing { actor: actor.to_owned(), webhook: WebhookId::from_bytes(id), detail: None }
    }

    #[test]
    fn a_token_is_shown_a_limited_number_of_payloads_in_a_minute() {
        let (showings, minute) = (Showings::default(), RECORDED_FOR);
        let before = showings.record_of(showing("anna", 0), Duration::ZERO).expect("has room");
        for number in 1..MAX_SHOWINGS {
            showings.record_of(showing("anna", number), minute / 2).expect("has room");
        }
        let refused = showings.record_of(showing("anna", MAX_SHOWINGS), minute / 2).expect_err("has no room");
        assert_eq!((refused.reason(), refused.retry_delay()), (Reason::StoreUnavailable, Some(RETRY_AFTER)));
        showings.record_of(showing("ben", 0), minute / 2).expect("has room");
        let again = showings.record_of(showing("anna", 0), minute / 2).expect("is remembered");
        assert!(Arc::ptr_eq(&before, &again));
        let after = showings.record_of(showing("anna", 0), minute).expect("has room");
        assert!(!Arc::ptr_eq(&before, &after), "it is recorded again");
    }
}
