//! Receives the requests of sources: verifies them, answers handshakes, and stores the webhooks of the others.

mod count;
mod handshakes;
mod once;
mod refuse;
mod store;
mod webhooks;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use self::count::Counted;
use self::once::{Once, Use};
use self::webhooks::webhooks_of;
use super::activity::Activity;
use super::conflicts::{Conflicts, Via};
use super::rate_limit::{RateLimiter, RateState};
use super::sources::SourceInForce;
use super::{Service, apart};
use crate::domain::clock::Clock;
use crate::domain::error::{Error, Reason, Result};
use crate::domain::route::Rate;
use crate::domain::trace::Traceparent;
use crate::domain::verdict::{Cause, Verdict};
use crate::domain::webhook::NewWebhook;
use crate::keys::KeyFetcher;
use crate::sources::{
    Handshake, HandshakeAnswer, OnUnverified, Request, Rules, SourceMap, SourceRules, Verification,
    handshake, verify_with,
};
use crate::store::Accepted;

/// What receiving webhooks needs in memory.
#[derive(Debug)]
pub struct Receiving {
    pub(super) limiter: RateLimiter,
    pub(super) activity: Activity,
    pub(super) conflicts: Conflicts,
    once: Once,
    keys: KeyFetcher,
    seed: u64,
    /// How many requests of sources have come.
    requests: AtomicU64,
}

impl Receiving {
    /// `rate_limit` is the limit of each source that has none of its own. `seed` differs between processes.
    pub fn new(rate_limit: Option<Rate>, keys: KeyFetcher, seed: u64, clock: Arc<dyn Clock>) -> Self {
        let limiter = RateLimiter::new(rate_limit, clock);
        let (activity, conflicts, once) = (Activity::default(), Conflicts::default(), Once::default());
        Self { limiter, activity, conflicts, once, keys, seed, requests: AtomicU64::new(0) }
    }

    /// Forgets what is known of sources that are not in the settings.
    pub(super) fn keep(&self, sources: &SourceMap) {
        self.activity.keep(sources);
        self.once.keep(sources);
    }

    /// A text that no other request has, in no process.
    fn request_id(&self, at: Timestamp) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:x}-{:016x}-{number:x}", at.as_millisecond(), self.seed)
    }
}

/// When a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The time of day.
    pub at: Timestamp,
    /// The monotonic time.
    pub monotonic: Duration,
}

/// A request to the URL of a source, without its body. Nothing of it is trusted.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path and the query, as they came.
    pub target: &'a str,
    /// The headers in the order in which they came.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The address that it came from; none if that is not known.
    pub client: Option<IpAddr>,
    /// Whether its sender has shown already that it may submit webhooks of the source.
    pub is_admitted: bool,
    /// The way by which it came.
    pub via: Via,
    /// The span in which it is answered.
    pub traceparent: &'a Traceparent,
    /// When it came.
    pub arrived: Arrived,
}

/// What a request of a source was.
#[derive(Debug)]
pub enum Received {
    /// A handshake, with its answer. Nothing is stored.
    Handshake(HandshakeAnswer),
    /// One webhook, as it is stored.
    Webhook(Accepted),
    /// Any other number of webhooks, as they are stored, in their order.
    Batch(Vec<Accepted>),
}

impl Received {
    fn of(mut webhooks: Vec<Accepted>) -> Self {
        match webhooks.pop() {
            Some(only) if webhooks.is_empty() => Self::Webhook(only),
            last => {
                webhooks.extend(last);
                Self::Batch(webhooks)
            }
        }
    }
}

/// The result of a request of a source.
#[derive(Debug)]
pub struct Receipt {
    /// What the request was, or why it was refused.
    pub outcome: Result<Received>,
    /// The rate limit of the source, and what is left of it; none if it has no limit, or nothing was counted.
    pub rate: Option<RateState>,
}

impl Receipt {
    /// Of a request of which nothing was counted against a limit.
    fn of(outcome: Result<Received>) -> Self {
        Self { outcome, rate: None }
    }
}

impl Service {
    /// The moment at which a request comes.
    pub fn arrived(&self) -> Arrived {
        Arrived { at: self.clock.now(), monotonic: self.clock.monotonic() }
    }

    /// Verifies a request by the rules of its source, and stores its webhooks, or answers it as a handshake. `held` is
    /// dropped once the body is no longer in memory, which can be after the answer.
    ///
    /// Errors: `NotVerified`; `MalformedWebhook`; of a source that verifies nothing `Unauthenticated`,
    /// `TooManyFailedTokens`, `Forbidden` and `SourceNotFound`; `RateLimited`; and those of
    /// [`Inbox::accept_batch`](crate::store::Inbox::accept_batch), of which `StoreUnavailable` also if the webhooks are
    /// not stored by the deadline of the source.
    pub async fn receive(
        &self,
        source: &SourceInForce,
        head: Head<'_>,
        body: &[u8],
        held: impl Send + 'static,
    ) -> Receipt {
        let (id, url) = (self.receiving.request_id(head.arrived.at), source.url_of(head.target));
        let request = Request {
            id: &id,
            method: head.method,
            url: url.as_deref(),
            query: head.target.split_once('?').map_or("", |(_, query)| query),
            headers: head.headers,
            body,
            received_at: head.arrived.at,
        };
        let verdict = self.verdict(source, &request, head.arrived).await;
        match apart(body.len(), || handshake(&request, verdict, &source.rules)).await {
            Some(Handshake::Answered(answer)) => {
                return Receipt::of(self.answer_handshake(source, &head, body.len(), answer).await);
            }
            Some(Handshake::Wrong(problem)) => {
                self.count_request(&source.name, Counted::Malformed);
                let error = refuse::wrong_handshake(source, &problem);
                return Receipt::of(Err(self.reject(source, &head, body.len(), error)));
            }
            None => {}
        }
        match self.webhooks(source, &head, &request, verdict).await {
            Ok((webhooks, used)) => {
                let receipt = self.store_webhooks(source, &head, body.len(), webhooks, verdict, held).await;
                if let Some(used) = used
                    && receipt.outcome.as_ref().is_err_and(refuse::stores_nothing)
                {
                    self.receiving.once.give_back(&source.name, used);
                }
                receipt
            }
            Err(error) => Receipt::of(Err(error)),
        }
    }

    /// What verifying a request finds. A key that has to be fetched, and is not there by the deadline of the source,
    /// is not available.
    async fn verdict(&self, source: &SourceRules, request: &Request<'_>, arrived: Arrived) -> Verdict {
        let (rules, keys) = (&source.rules, &self.receiving.keys);
        match apart(request.body.len(), || verify_with(request, rules, keys)).await {
            Verification::Verdict(verdict) => verdict,
            Verification::Needs(_) => tokio::select! {
                biased;
                verdict = keys.verify(&source.name, request, rules) => verdict,
                () = self.deadline(rules, arrived) => Verdict::Unverified(Cause::KeyUnavailable),
            },
        }
    }

    /// Ready at the deadline of a source; never, if it has none.
    async fn deadline(&self, rules: &Rules, arrived: Arrived) {
        let Some(deadline) = rules.deadline else { return std::future::pending().await };
        let until = arrived.monotonic.saturating_add(deadline);
        self.clock.sleep(until.saturating_sub(self.clock.monotonic())).await;
    }

    /// The webhooks of a request that is no handshake, if they may be stored, and the value that they use (`once`).
    /// Errors: `NotVerified`, `MalformedWebhook`, `Unauthenticated`, `TooManyFailedTokens`, `Forbidden`, `SourceNotFound`.
    async fn webhooks(
        &self,
        source: &SourceInForce,
        head: &Head<'_>,
        request: &Request<'_>,
        verdict: Verdict,
    ) -> Result<(Vec<NewWebhook>, Option<Use>)> {
        let (rules, bytes) = (&source.rules, request.body.len());
        if head.method != "POST" {
            let (counted, error) = refuse::no_handshake(source, request, verdict);
            self.count_request(&source.name, counted);
            return Err(self.reject(source, head, bytes, error));
        }
        let unverified = |cause, error| {
            self.note_verdict(&source.name, Verdict::Unverified(cause));
            self.count_request(&source.name, Counted::Unverified(cause));
            Err(self.reject(source, head, bytes, error))
        };
        let cause = verdict.cause();
        let is_refused = |cause: &Cause| cause.is_temporary() || rules.on_unverified == OnUnverified::Reject;
        if let Some(cause) = cause.filter(is_refused) {
            return unverified(cause, refuse::not_verified(rules, request, cause));
        }
        if verdict == Verdict::None && !head.is_admitted {
            self.check_sender(source, head, bytes)?;
        }
        let read = apart(bytes, || {
            let webhooks = webhooks_of(source, head, request, verdict);
            let once = if verdict == Verdict::Verified { rules.once(request) } else { None };
            webhooks.map(|webhooks| {
                // An empty batch has no key.
                let once = once.filter(|_| !webhooks.is_empty());
                (once.map(|once| Use::new(&once, &webhooks)), webhooks)
            })
        });
        let read = read.await;
        if let Some(cause) = cause {
            return match read {
                Ok((_, webhooks)) if !webhooks.is_empty() => {
                    self.note_verdict(&source.name, verdict);
                    self.count_request(&source.name, Counted::Unverified(cause));
                    Ok((webhooks, None))
                }
                // There is nothing to store.
                _ => unverified(cause, refuse::not_verified(rules, request, cause)),
            };
        }
        if let Ok((Some(used), _)) = read
            && !self.receiving.once.begin(&source.name, used, head.arrived.monotonic)
        {
            return unverified(Cause::SignatureMismatch, refuse::signature_of_another());
        }
        self.note_verdict(&source.name, verdict);
        self.saw(&source.name, head.arrived);
        match read {
            Ok((used, webhooks)) => {
                self.count_request(&source.name, Counted::Readable(verdict));
                Ok((webhooks, used))
            }
            Err(error) => {
                self.count_request(&source.name, Counted::Malformed);
                let detail = format!("{error}; nothing of the request is stored");
                Err(self.reject(source, head, bytes, Error::new(Reason::MalformedWebhook, detail)))
            }
        }
    }
}
