//! Test requests to a source: signed as its sender signs them, and received as requests of the sender.

use super::actions::to_its_end;
use super::conflicts::Via;
use super::receive::{Arrived, Head, Received};
use super::sources::SourceInForce;
use super::{Service, apart};
use crate::access::Role;
use crate::domain::action::ActionKind;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::trace::Traceparent;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::sources::{Draft, sign};
use crate::store::{Accepted, ActionTarget};

/// The most bytes of the body of a test request.
pub const MAX_TEST_BYTES: usize = 256 * 1024;

/// The header `User-Agent` of test requests, so that their webhooks can be told from others.
const USER_AGENT: &str = concat!("hookbox/", env!("CARGO_PKG_VERSION"), " test");

/// A request by which a source is tested.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// The event type, put where the source looks for it; none for that of the body, or `test` if the body has none.
    pub event_type: Option<EventType>,
    /// The key, put where the source looks for it; none for that of the body, or one that no other request has.
    pub key: Option<IdempotencyKey>,
    /// The content type of the body.
    pub content_type: &'static str,
    /// The body. What the source looks for in it, and it has not, is added.
    pub body: Vec<u8>,
    /// The span of the call.
    pub traceparent: Traceparent,
}

impl Service {
    /// Signs a request with the first key of a source, and receives it as if its sender had sent it: its webhooks are
    /// stored, and their jobs run. Records that on the source, unless the request is refused.
    ///
    /// Errors: `Forbidden` for a caller without the role `Submit`; `SourceNotFound` if the source is not in force, or the
    /// caller does not see it; `BodyTooLarge`; `InvalidField` if the request cannot be signed; and those of
    /// [`receive`](Self::receive).
    pub async fn send_test(&self, source: &Source, test: TestRequest) -> Result<Received> {
        self.caller.check_role(Role::Submit)?;
        self.seen_source(source)?;
        let rules = self.source(source.as_str())?;
        let TestRequest { event_type, key, content_type, body, traceparent } = test;
        if body.len() > MAX_TEST_BYTES {
            let detail =
                format!("the body of a test request has more than {MAX_TEST_BYTES} bytes; send less");
            return Err(Error::new(Reason::BodyTooLarge, detail));
        }
        let arrived = self.arrived();
        let path = format!("/v1/sources/{source}/webhooks");
        let draft = Draft {
            id: format!("test-{}", traceparent.trace_id()),
            key: key.map(|key| key.to_string()),
            event_type: event_type.map(|event_type| event_type.to_string()),
            // Without `public_url`, no scheme looks at it.
            url: rules.url_of(&path).unwrap_or_else(|| path.clone()),
            query: String::new(),
            headers: [("content-type", content_type), ("user-agent", USER_AGENT)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            body,
            at: self.clock.now(),
        };
        let signed = apart(draft.body.len(), || sign(&draft, &rules.rules)).await.map_err(|error| {
            let detail =
                format!("no request can be made as the sender of the source `{source}` sends it: {error}");
            Error::new(Reason::InvalidField, detail)
        })?;
        let target = if signed.query.is_empty() { path } else { format!("{path}?{}", signed.query) };
        tracing::info!(
            actor = self.caller.name(),
            source = source.as_str(),
            trace_id = traceparent.trace_id(),
            "a test request is sent to a source"
        );
        let service = self.clone();
        let sending = to_its_end(async move {
            let received = service.receive_test(&rules, &target, &signed, &traceparent, arrived).await?;
            let target = ActionTarget { source: Some(rules.name.clone()), ..ActionTarget::default() };
            service.record(ActionKind::SendTest, target, Some(told(&received))).await;
            Ok(received)
        });
        sending.await
    }

    async fn receive_test(
        &self,
        rules: &SourceInForce,
        target: &str,
        signed: &Draft,
        traceparent: &Traceparent,
        arrived: Arrived,
    ) -> Result<Received> {
        let headers = signed.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers = headers.collect::<Vec<_>>();
        let head = Head {
            method: "POST",
            target,
            headers: &headers,
            client: None,
            is_admitted: true,
            via: Via::Test,
            traceparent,
            arrived,
        };
        self.receive(rules, head, &signed.body, ()).await.outcome
    }
}

/// The result of a test, as the detail of its action.
fn told(received: &Received) -> String {
    match received {
        Received::Handshake(answer) => format!("answered as a handshake, with {}", answer.status),
        Received::Webhook(Accepted { webhook, duplicate: true, .. }) => {
            format!("a duplicate of the webhook {}", webhook.id)
        }
        Received::Webhook(Accepted { webhook, .. }) if webhook.is_quarantined => {
            format!("in quarantine as the webhook {}", webhook.id)
        }
        Received::Webhook(Accepted { webhook, .. }) => format!("stored as the webhook {}", webhook.id),
        Received::Batch(all) => {
            let duplicates = all.iter().filter(|accepted| accepted.duplicate).count();
            format!("webhooks: {}; duplicates among them: {duplicates}", all.len())
        }
    }
}
