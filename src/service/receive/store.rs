//! Stores the webhooks of a request, within the limits and the deadline of its source.

use std::time::Duration;

use tracing::Instrument as _;
use tracing::level_filters::LevelFilter;

use super::super::conflicts::Via;
use super::super::rate_limit::OverLimit;
use super::super::sources::SourceInForce;
use super::super::{Service, apart, jobs_of, log};
use super::webhooks::visible;
use super::{Arrived, Head, Receipt, Received};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::verdict::Verdict;
use crate::domain::webhook::{NewWebhook, Source};
use crate::sources::{OnConflict, Rules};
use crate::store::{Accepted, BatchError, Submission};
use crate::telemetry::metrics::Stopwatch;

impl Service {
    /// Stores the webhooks of a request of `bytes`: with their jobs, or in quarantine if they are not verified.
    pub(super) async fn store_webhooks(
        &self,
        source: &SourceInForce,
        head: &Head<'_>,
        bytes: usize,
        webhooks: Vec<NewWebhook>,
        verdict: Verdict,
        held: impl Send + 'static,
    ) -> Receipt {
        let (rules, took) = (&source.rules, Stopwatch::start());
        if webhooks.is_empty() {
            return Receipt::of(Ok(Received::Batch(Vec::new())));
        }
        if let Some(cause) = verdict.cause() {
            let storing = self.clone().quarantine(source.name.clone(), webhooks, took);
            return Receipt::of(match self.in_time(rules, head.arrived, held, storing).await {
                Ok(Some(webhooks)) => {
                    self.log_quarantine(source, head, cause);
                    Ok(Received::of(webhooks))
                }
                Ok(None) => Err(self.reject_beyond_quarantine(source, head, bytes, cause)),
                Err(error) => Err(error),
            });
        }
        let count = webhooks.len();
        let rate = match self.receiving.limiter.check(&source.name, rules.rate_limit, count) {
            Ok(rate) => rate,
            Err(refused) => {
                let OverLimit { error, state } = *refused;
                self.count_refused(&source.name, &error, count, took);
                return Receipt { outcome: Err(error), rate: Some(state) };
            }
        };
        let submissions = apart(bytes, || submissions(source, head, webhooks)).await;
        let storing =
            self.clone().store_all(source.name.clone(), submissions, rules.on_conflict, head.via, took);
        let stored = self.in_time(rules, head.arrived, held, storing).await;
        let outcome = stored.map(Received::of).map_err(|error| match error.reason() {
            Reason::KeyReused => self.reject(source, head, bytes, error),
            _ => error,
        });
        Receipt { outcome, rate }
    }

    /// The result of `storing`, or `StoreUnavailable` if it is not there by the deadline of the source. Then it goes on
    /// all the same, and keeps what is `held`.
    async fn in_time<T: Send + 'static>(
        &self,
        rules: &Rules,
        arrived: Arrived,
        held: impl Send + 'static,
        storing: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let storing = async move {
            let stored = storing.await;
            drop(held);
            stored
        };
        let Some(deadline) = rules.deadline else { return storing.await };
        let mut storing = Box::pin(storing.in_current_span());
        tokio::select! {
            biased;
            stored = &mut storing => stored,
            () = self.deadline(rules, arrived) => {
                // A task for each request would cost more than all that verifying costs.
                tokio::spawn(storing);
                Err(too_late(deadline))
            }
        }
    }

    /// Stores webhooks with their jobs: all of them or none. Counts and logs the outcome, and keeps what has another content
    /// than the webhook with its key.
    async fn store_all(
        self,
        source: Source,
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
        via: Via,
        took: Stopwatch,
    ) -> Result<Vec<Accepted>> {
        let mut stored = self.store_together(&source, submissions, on_conflict, took).await;
        match &mut stored {
            Ok(accepted) => self.keep_duplicates(&source, accepted, via).await,
            Err(error) => self.keep_refused(error, via).await,
        }
        stored
    }

    async fn store_together(
        &self,
        source: &Source,
        mut submissions: Vec<Submission>,
        on_conflict: OnConflict,
        took: Stopwatch,
    ) -> Result<Vec<Accepted>> {
        if submissions.len() > 1 {
            return self.store_batch(source, submissions, on_conflict, took).await;
        }
        let Some(only) = submissions.pop() else { return Ok(Vec::new()) };
        Ok(vec![self.store_one(source, only, on_conflict, took).await?])
    }

    async fn store_one(
        &self,
        source: &Source,
        Submission { webhook, jobs }: Submission,
        on_conflict: OnConflict,
        took: Stopwatch,
    ) -> Result<Accepted> {
        // The store takes the webhook, so what is logged is copied before, if it is logged at all.
        let logged = (LevelFilter::current() >= LevelFilter::DEBUG)
            .then(|| (webhook.traceparent.clone(), webhook.idempotency_key.clone()));
        // A batch of one is stored as `accept` stores it, but `on_conflict` decides.
        let stored = self.store.accept_batch(vec![Submission { webhook, jobs }], on_conflict).await;
        let outcome = match stored.map(|mut stored| stored.pop()) {
            Ok(Some(accepted)) => Ok(self.in_order(accepted)),
            Ok(None) => Err(Error::internal("a batch of one webhook has no result")),
            Err(BatchError { error, .. }) => Err(error),
        };
        let word = self.count(source, &outcome, took);
        if let Some((traceparent, key)) = logged {
            log(&traceparent, source, &key, word, &outcome);
        }
        outcome.map(|accepted| self.as_seen(accepted))
    }

    async fn store_batch(
        &self,
        source: &Source,
        submissions: Vec<Submission>,
        on_conflict: OnConflict,
        took: Stopwatch,
    ) -> Result<Vec<Accepted>> {
        let count = submissions.len();
        let all = match self.store.accept_batch(submissions, on_conflict).await {
            Ok(all) => all,
            Err(BatchError { item, error }) => {
                let error = match item {
                    Some(item) => error.at(&format!("item {} of the batch", item + 1)),
                    None => error,
                };
                self.count_refused(source, &error, count, took);
                return Err(error);
            }
        };
        let seen = all.into_iter().map(|accepted| {
            let outcome = Ok(self.as_seen(self.in_order(accepted)));
            self.count(source, &outcome, took);
            outcome
        });
        let seen = seen.collect::<Result<Vec<_>>>()?;
        let duplicates = seen.iter().filter(|accepted| accepted.duplicate).count();
        tracing::debug!(source = source.as_str(), webhooks = count, duplicates, "a batch is accepted");
        Ok(seen)
    }

    /// Counts and logs webhooks of a request that are refused together.
    fn count_refused(&self, source: &Source, error: &Error, webhooks: usize, took: Stopwatch) {
        let (source, outcome) = (source.as_str(), error.reason().as_str());
        for _ in 0..webhooks {
            self.metrics.submitted(source, outcome, took);
        }
        tracing::debug!(source, webhooks, outcome, error = %error, "a submission is refused");
    }

    /// Stores webhooks that are not verified, without jobs: all of them, or none if the quarantine of the source has no
    /// room for all. Counts the outcome.
    async fn quarantine(
        self,
        source: Source,
        webhooks: Vec<NewWebhook>,
        took: Stopwatch,
    ) -> Result<Option<Vec<Accepted>>> {
        let count = webhooks.len();
        let stored = match self.store.quarantine(webhooks).await {
            Ok(stored) => stored,
            Err(error) => {
                self.count_refused(&source, &error, count, took);
                return Err(error);
            }
        };
        let action = if stored.is_some() { "stored" } else { "refused_full" };
        for _ in 0..count {
            self.metrics.quarantined(source.as_str(), action);
        }
        Ok(stored.map(|webhooks| webhooks.into_iter().map(Accepted::new).collect()))
    }
}

/// The webhooks with a job for each route that matches.
fn submissions(source: &SourceInForce, head: &Head<'_>, webhooks: Vec<NewWebhook>) -> Vec<Submission> {
    let headers = || visible(&source.rules, head);
    let submission = |webhook| {
        let jobs = jobs_of(&source.routes, &webhook, &headers);
        Submission { webhook, jobs }
    };
    webhooks.into_iter().map(submission).collect()
}

/// `StoreUnavailable`: the webhooks are not stored by the deadline of their source.
fn too_late(deadline: Duration) -> Error {
    let detail = format!(
        "the webhooks are not stored after {deadline:?}, which is the deadline of the source; they may be stored later, so send them again: those that are stored count as duplicates then"
    );
    Error::store_unavailable(detail, "the deadline of the source has passed")
}
