//! Compares everything that a store returns with the model.

use std::collections::{BTreeSet, HashMap};

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::webhook::{WebhookName, WebhookStatus};
use hookbox::internals::store::{ListQuery, StatusCounts, StoreStats};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::operation::Name;
use super::reference::Reference;
use super::webhooks::{Job, Webhook};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, key_of, source};

type Checked = Result<(), TestCaseError>;

impl Reference {
    /// Compares what the store returns with the model. The details of a webhook are compared if it has changed in the model
    /// or in the list since they were compared. Of the others, one in turn is: most operations change few webhooks.
    pub(super) async fn compare<H: Harness>(&mut self, inbox: &Inbox<H>) -> Checked {
        let all = inbox.listed(&ListQuery { limit: 500, ..ListQuery::default() }).await;
        prop_assert_eq!(all.iter().map(|webhook| webhook.id).collect::<BTreeSet<_>>(), self.ids(|_| true));
        self.comparisons += 1;
        let in_turn = self.comparisons % self.webhooks.len().max(1);
        for (number, (name, webhook)) in self.webhooks.iter().enumerate() {
            let listed = all.iter().find(|listed| listed.id == webhook.id).expect("is listed");
            let is_as_before =
                self.compared.get(name).is_some_and(|(model, list)| (model, list) == (webhook, listed));
            if is_as_before && number != in_turn {
                continue;
            }
            compare_webhook(inbox, name, webhook, listed).await?;
            self.compared.insert(*name, (webhook.clone(), listed.clone()));
        }
        self.compare_stats(&inbox.stats().await.expect("counts"), inbox.now())?;
        let pauses = inbox.pauses().await.expect("looks");
        let pauses = pauses.into_iter().map(|pause| (pause.target, pause.since)).collect::<HashMap<_, _>>();
        prop_assert_eq!(&pauses, &self.paused);
        self.compare_pending(inbox).await
    }

    /// The same, with the details of all webhooks.
    pub(super) async fn compare_everything<H: Harness>(&mut self, inbox: &Inbox<H>) -> Checked {
        self.compared.clear();
        self.compare(inbox).await
    }

    fn compare_stats(&self, stats: &StoreStats, now: jiff::Timestamp) -> Checked {
        let mut queues = HashMap::new();
        for queue in &stats.queues {
            let name = (queue.route.clone(), queue.source.clone());
            prop_assert!(queues.insert(name, queue).is_none(), "a route and a source have one queue");
        }
        for job in self.jobs() {
            let name = (job.route.clone(), job.source.clone());
            prop_assert!(queues.contains_key(&name), "has a queue: {:?}", name);
        }
        for ((route, source), queue) in queues {
            let jobs = || self.jobs().filter(|job| job.route == route && job.source == source);
            let count = |status| jobs().filter(|job| job.status == status).count() as u64;
            prop_assert_eq!(queue.counts, StatusCounts::new(Status::ALL.map(count)), "{:?}", route);
            let expected = jobs().next().and_then(|job| self.oldest_due(job, now));
            let fits = match (queue.oldest_due, expected) {
                (Some(due), Some((earliest, latest))) => earliest <= due && due <= latest,
                (None, None) => true,
                _ => false,
            };
            prop_assert!(fits, "{route}: {:?} is not {expected:?}", queue.oldest_due);
        }
        let filtered = self.webhooks.values().filter(|webhook| webhook.jobs.is_empty()).count() as u64;
        prop_assert_eq!((stats.unrouted.of(Status::Filtered), stats.unrouted.total()), (filtered, filtered));
        Ok(())
    }

    async fn compare_pending<H: Harness>(&self, inbox: &Inbox<H>) -> Checked {
        let statuses = BTreeSet::from([Status::Pending]);
        let listed = inbox.listed(&ListQuery { statuses, limit: 500, ..ListQuery::default() }).await;
        let pending = self.ids(|webhook| webhook.jobs.iter().any(|job| job.status == Status::Pending));
        prop_assert_eq!(listed.iter().map(|webhook| webhook.id).collect::<BTreeSet<_>>(), pending);
        Ok(())
    }

    fn ids(&self, matches: impl Fn(&Webhook) -> bool) -> BTreeSet<WebhookId> {
        self.webhooks.values().filter(|webhook| matches(webhook)).map(|webhook| webhook.id).collect()
    }
}

async fn compare_webhook<H: Harness>(
    inbox: &Inbox<H>,
    name: &Name,
    webhook: &Webhook,
    listed: &WebhookStatus,
) -> Checked {
    let status = inbox.status(WebhookName::Key(source(name.0), key_of(name.1))).await.expect("found");
    prop_assert_eq!(&status, listed);
    prop_assert_eq!((status.id, status.accepted_at), (webhook.id, webhook.id.time()));
    let derived = Status::of_webhook(webhook.jobs.iter().map(|job| job.status));
    prop_assert_eq!(status.status(), derived);
    let detail = inbox.detail_of(webhook.id).await;
    prop_assert_eq!(&detail.status, &status);
    prop_assert_eq!(detail.payload.as_deref(), webhook.has_payload.then_some(webhook.payload.as_bytes()));
    prop_assert_eq!((status.jobs.len(), detail.jobs.len()), (webhook.jobs.len(), webhook.jobs.len()));
    for job in &webhook.jobs {
        let at = status.jobs.iter().position(|found| found.route == job.route);
        let at = at.ok_or_else(|| TestCaseError::fail(format!("has a job of {}", job.route)))?;
        let (found, detail) = (&status.jobs[at], &detail.jobs[at]);
        prop_assert_eq!((found.status, found.attempt_count), (job.status, job.started), "{}", job.route);
        prop_assert_eq!((detail.run, detail.uncounted_attempts), (job.run, job.uncounted));
        prop_assert_eq!(detail.completed_at, job.finished);
        if is_due_at_its_own_time(job) {
            prop_assert_eq!(detail.available_at, job.due);
        }
        let due = found.status.is_waiting().then_some(detail.available_at);
        prop_assert_eq!(found.next_attempt_at, due, "{}", job.route);
        let last_error = detail.attempts.last().and_then(|last| last.error.as_ref());
        prop_assert_eq!(found.last_error.as_ref(), last_error.filter(|_| found.status.is_failed()));
        let ended = detail.attempts.iter().map(|attempt| (attempt.outcome, attempt.run)).collect::<Vec<_>>();
        prop_assert_eq!(&ended, &job.ended);
        let numbers = detail.attempts.iter().map(|attempt| attempt.number as usize).collect::<Vec<_>>();
        prop_assert_eq!(numbers, Vec::from_iter(1..=ended.len()));
        let leased_until = detail.lease.as_ref().map(|lease| lease.until);
        prop_assert_eq!(leased_until, job.runs().then_some(job.lease_until));
    }
    Ok(())
}

/// Whether the reported due time of a job must be its own. For other ordered jobs, a store may report the end of the
/// jobs before it instead.
fn is_due_at_its_own_time(job: &Job) -> bool {
    job.order.is_none() || job.status == Status::Retrying
}
