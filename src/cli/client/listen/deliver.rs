//! Delivers webhooks to the server, one at a time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::signer::Signer;
use super::told::{Delivery, left_out};
use crate::cli::client::safe::safe;
use crate::cli::note;
use crate::client::{Content, Target, Webhook};

/// The pause before a webhook without an answer is delivered again, at first and at most. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a webhook that is being delivered may take when Ctrl-C is pressed.
const STOP_TIME: Duration = Duration::from_secs(2);

/// What webhooks are delivered with.
pub(super) struct Deliverer<'a> {
    pub(super) target: Target,
    pub(super) signer: Option<Signer>,
    /// The URL of the server, for people.
    pub(super) forward: &'a Url,
    /// Cancelled by Ctrl-C.
    pub(super) stop: &'a CancellationToken,
}

impl Deliverer<'_> {
    /// Delivers a webhook: repeats the request until there is an answer. `content` is none if the webhook is past its
    /// retention.
    pub(super) async fn deliver(&self, webhook: &Webhook, content: Option<&Content>) -> Delivery {
        if webhook.status == "quarantined" {
            return Delivery::NotDelivered("is quarantined".into());
        }
        let Some(content) = content else { return Delivery::NotDelivered("is past its retention".into()) };
        let (mut pause, mut has_failed) = (FIRST_PAUSE, false);
        loop {
            // Each time anew, so that the time in the signature is that of the request.
            let signed = match self.signer.as_ref().map(|signer| signer.sign(webhook, content)).transpose() {
                Ok(signed) => signed,
                Err(why) => return Delivery::NotDelivered(why.into()),
            };
            let delivered = signed.as_ref().map_or(content, |signed| &signed.content);
            let query = signed.as_ref().map(|signed| signed.query.as_str());
            let delivering = self.target.deliver(webhook, delivered, query);
            tokio::pin!(delivering);
            let answered = tokio::select! {
                answered = &mut delivering => answered,
                // It may be in the middle of the work.
                () = self.stop.cancelled() => match tokio::time::timeout(STOP_TIME, &mut delivering).await {
                    Ok(answered) => answered,
                    Err(_) => return Delivery::Stopped,
                },
            };
            match answered {
                Ok(answer) => {
                    if has_failed {
                        note(&format!("{} answers again; nothing was left out", self.forward));
                    }
                    return Delivery::Answered(answer, left_out(content, delivered));
                }
                Err(_) if self.stop.is_cancelled() => return Delivery::Stopped,
                Err(why) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        let (forward, id, why) = (self.forward, safe(&webhook.id), safe(&why));
                        note(&format!(
                            "no answer from {forward} to {id}: {why}; trying again until there is"
                        ));
                    }
                    if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Delivery::Stopped;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}
