//! Readiness while a store can be written, but takes no webhook.

use hookbox::internals::domain::conflict::OnConflict;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::store::Submission;

use super::harness::Harness;
use super::inbox::{Inbox, refused, seconds, webhook};
use super::routes::default_job;

/// Checks that a store which has refused every webhook for some seconds is not ready until the next try is due. After
/// `refuse` it refuses webhooks and nothing else, until `accept`.
pub(super) async fn follows_what_is_refused<H: Harness>(
    inbox: &Inbox<H>,
    mut refuse: impl FnMut(),
    mut accept: impl FnMut(),
) {
    for in_batch in [false, true] {
        // Stores a webhook by itself, or as one of two in a request.
        let submit = async |key: &str| {
            let only = webhook(&format!("{key} {in_batch}"));
            if in_batch {
                let both = [only, webhook(&format!("{key} other"))];
                let batch = both.map(|webhook| Submission { webhook, jobs: default_job() });
                let stored = inbox.accept_batch(batch.into(), OnConflict::Reject).await;
                stored.map(drop).map_err(|refused| refused.error)
            } else {
                inbox.submit(only).await.map(drop)
            }
        };
        let is_refused =
            async |key: &str| assert_eq!(refused(submit(key).await), Reason::StoreUnavailable, "{key}");

        refuse();
        is_refused("1").await;
        inbox.probe().await.expect("one refusal is no sign of a fault");
        inbox.advance(seconds(3));
        is_refused("2").await;
        assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);
        inbox.advance(seconds(10));
        inbox.probe().await.expect("is ready for a try");
        is_refused("3").await;
        assert_eq!(refused(inbox.probe().await), Reason::StoreUnavailable);

        accept();
        submit("4").await.expect("is stored");
        inbox.probe().await.expect("is ready");
    }
}
