//! How operations change the model.

use std::sync::Arc;

use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::Policies;
use hookbox::internals::domain::route::{NewJob, OnDeadLetter, RouteName};
use hookbox::internals::store::{ClaimedJob, Finish};
use jiff::Timestamp;

use super::operation::Name;
use super::reference::{RETENTION, Reference};
use super::webhooks::{Job, Webhook};
use crate::store::inbox::source;

impl Reference {
    pub(super) fn accept(
        &mut self,
        name: Name,
        id: WebhookId,
        payload: &'static str,
        jobs: &[NewJob],
        now: Timestamp,
    ) {
        let source = source(name.0);
        let jobs = jobs.iter().map(|new| Job::new(id, &source, new, now)).collect::<Vec<_>>();
        jobs.iter().for_each(|job| self.enters_lane(job, now));
        self.webhooks.insert(name, Webhook { id, payload, has_payload: true, accepted: now, jobs });
    }

    pub(super) fn finish(&mut self, name: Name, route: &RouteName, finish: &Finish) {
        let webhook = self.webhooks.get_mut(&name).expect("is there");
        let job = webhook.jobs.iter_mut().find(|job| job.route == *route).expect("is held");
        job.finish(finish);
        let (job, ended) = (job.clone(), finish.finished_at);
        self.has_ended(&job, ended);
    }

    pub(super) fn give_back(&mut self, name: Name, claim: &ClaimedJob) {
        let Some(job) = self.holder(name, claim) else { return };
        (job.status, job.started) = (Status::Pending, job.started - 1);
        let job = job.clone();
        self.has_ended(&job, job.due);
    }

    pub(super) fn take_over(&mut self, now: Timestamp, taken: impl Fn(&Job) -> bool) -> usize {
        let policies = Arc::clone(&self.policies);
        let jobs = self.webhooks.values_mut().flat_map(|webhook| &mut webhook.jobs);
        let taken = jobs.filter(|job| job.runs() && taken(job)).map(|job| {
            job.interrupt(policies.get(&job.route).map(AsRef::as_ref), now);
            job.clone()
        });
        let taken = taken.collect::<Vec<_>>();
        taken.iter().for_each(|job| self.has_ended(job, now));
        taken.len()
    }

    pub(super) fn retry(&mut self, name: Name, routes: &[String], now: Timestamp) {
        for at in self.places_of(name, routes) {
            let before = self.webhooks[&name].jobs[at].clone();
            if before.blocks {
                self.is_freed(&before, now);
            } else {
                self.enters_lane(&before, now);
            }
            let job = &mut self.webhooks.get_mut(&name).expect("is there").jobs[at];
            (job.status, job.due, job.finished, job.blocks) = (Status::Pending, now, None, false);
            job.uncounted = job.started;
            job.run += 1;
        }
    }

    pub(super) fn cancel(&mut self, name: Name, routes: &[String], now: Timestamp) {
        for at in self.places_of(name, routes) {
            let before = self.webhooks[&name].jobs[at].clone();
            if before.status == Status::Cancelled {
                continue;
            }
            if before.blocks || before.status == Status::Retrying {
                self.is_freed(&before, now);
            } else if self.is_first(&before)
                && let Some((_, latest)) = before.lane().and_then(|lane| self.lanes.get_mut(&lane))
            {
                *latest = now;
            }
            let job = &mut self.webhooks.get_mut(&name).expect("is there").jobs[at];
            (job.status, job.finished, job.blocks) = (Status::Cancelled, Some(now), false);
        }
    }

    /// Cancels the waiting jobs of a route and returns their number.
    pub(super) fn cancel_route(&mut self, route: &str, now: Timestamp) -> usize {
        let waits = |job: &&Job| job.route.as_str() == route && job.waits();
        let waiting = self.webhooks.iter().filter(|(_, webhook)| webhook.jobs.iter().any(|job| waits(&job)));
        let names = waiting.map(|(name, _)| *name).collect::<Vec<_>>();
        names.iter().for_each(|name| self.cancel(*name, &[route.to_owned()], now));
        names.len()
    }

    pub(super) fn reload(&mut self, policies: Arc<Policies>, now: Timestamp) {
        let skips = |job: &Job| {
            policies.get(&job.route).is_some_and(|policy| policy.on_dead_letter == OnDeadLetter::Skip)
        };
        let jobs = self.webhooks.values_mut().flat_map(|webhook| &mut webhook.jobs);
        let freed = jobs.filter(|job| job.blocks && skips(job)).map(|job| {
            job.blocks = false;
            job.clone()
        });
        let freed = freed.collect::<Vec<_>>();
        freed.iter().for_each(|job| self.is_freed(job, now));
        self.policies = policies;
    }

    /// Purges, and returns the number of removed payloads and of removed webhooks.
    pub(super) fn purge(&mut self, now: Timestamp) -> (usize, usize) {
        let mut payloads = 0;
        for webhook in self.webhooks.values_mut().filter(|webhook| webhook.loses_payload(&RETENTION, now)) {
            webhook.has_payload = false;
            payloads += 1;
        }
        let over = self.webhooks.iter().filter(|(_, webhook)| webhook.is_over(&RETENTION, now));
        let over = over.map(|(name, _)| *name).collect::<Vec<_>>();
        let over = over.iter().filter_map(|name| self.webhooks.remove(name)).collect::<Vec<_>>();
        let blocking = over.iter().flat_map(|webhook| &webhook.jobs).filter(|job| job.blocks);
        blocking.for_each(|job| self.is_freed(job, now));
        (payloads, over.len())
    }

    fn places_of(&self, name: Name, routes: &[String]) -> Vec<usize> {
        let Some(webhook) = self.webhooks.get(&name) else { return Vec::new() };
        let of_routes = |at: &usize| routes.iter().any(|route| webhook.jobs[*at].route.as_str() == route);
        (0..webhook.jobs.len()).filter(of_routes).collect()
    }

    /// Records that a job that did not occupy its lane does so from now on.
    fn enters_lane(&mut self, job: &Job, now: Timestamp) {
        let Some(lane) = job.lane() else { return };
        let is_empty =
            !self.jobs().any(|other| other.occupies_lane() && other.lane().as_ref() == Some(&lane));
        let (earliest, latest) = self.lanes.entry(lane).or_insert((now, now));
        *earliest = if is_empty { now } else { now.min(*earliest) };
        *latest = if is_empty { now } else { now.min(*latest) };
    }

    /// Records that the attempt of a job ended or was interrupted.
    fn has_ended(&mut self, job: &Job, now: Timestamp) {
        if !job.blocks {
            self.is_freed(job, if job.waits() { job.due } else { now });
        }
    }

    /// Records that the first job of this job's lane may start from the time `from`.
    fn is_freed(&mut self, job: &Job, from: Timestamp) {
        if let Some(lane) = job.lane() {
            self.lanes.insert(lane, (from, from));
        }
    }
}
