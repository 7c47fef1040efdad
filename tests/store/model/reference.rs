//! The model: what a store should hold, in a map.

use std::collections::{BTreeMap, BTreeSet};

use hookbox::domain::attempt::Outcome;
use hookbox::domain::error::{Reason, Result};
use hookbox::domain::id::WebhookId;
use hookbox::domain::job::Status;
use hookbox::domain::retention::Retention;
use hookbox::domain::webhook::{WebhookName, WebhookStatus};
use hookbox::store::{ClaimedJob, Finish, Purged, StatusCounts};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::operation::Operation;
use crate::harness::Harness;
use crate::inbox::{Inbox, key_of, seconds, source, webhook_with};

pub(super) const MAX_BACKLOG: u64 = 4;
pub(super) const MAX_ATTEMPTS: u32 = 2;
const RETENTION: Retention =
    Retention { completed: seconds(60), dead_lettered: seconds(100), keys: seconds(150) };

/// A webhook and its job.
#[derive(Debug)]
struct Job {
    id: WebhookId,
    payload: &'static str,
    has_payload: bool,
    status: Status,
    max_attempts: u32,
    started: u32,
    ended: Vec<Outcome>,
    due: Timestamp,
    lease_until: Timestamp,
    token: u64,
    finished: Option<Timestamp>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reference {
    jobs: BTreeMap<&'static str, Job>,
    /// Every claim ever made.
    claims: Vec<(&'static str, ClaimedJob)>,
}

impl Reference {
    /// Runs a step in both; what they answer must agree.
    pub(super) async fn run<H: Harness>(
        &mut self,
        inbox: &mut Inbox<H>,
        operation: &Operation,
    ) -> std::result::Result<(), TestCaseError> {
        let now = inbox.now();
        match operation {
            Operation::Accept { key, payload } => {
                let answer = inbox.accept(webhook_with(key, payload)).await;
                let expected = self.accept(key, payload);
                let found =
                    answer.as_ref().map(|accepted| accepted.duplicate).map_err(|error| error.reason());
                prop_assert_eq!(found, expected);
                if let Ok(accepted) = answer.map(|accepted| accepted.webhook) {
                    self.jobs.entry(key).or_insert_with(|| Job::new(accepted.id, payload, now));
                }
            }
            Operation::Claim { limit, lease } => {
                let mut due = self
                    .jobs
                    .values()
                    .filter(|job| job.waits() && job.due <= now)
                    .map(|job| job.due)
                    .collect::<Vec<_>>();
                due.sort();
                due.truncate(*limit);
                let claims = inbox.claim(*limit, *lease).await.expect("claims");
                // Of those due at the same time any may come first.
                prop_assert_eq!(claims.jobs.iter().map(|job| job.available_at).collect::<Vec<_>>(), due);
                for claim in claims.jobs {
                    self.claimed(claim, now + *lease)?;
                }
                let next_due = self.jobs.values().filter(|job| job.waits()).map(|job| job.due).min();
                prop_assert_eq!(claims.next_due, next_due);
            }
            Operation::Finish { claim, next, delay } => {
                if !self.claims.is_empty() {
                    let (key, claim) = claim.get(&self.claims);
                    // A worker decides by the rules of the domain.
                    let spent = *next == Status::Retrying && claim.attempt >= claim.max_attempts;
                    let mut finish = inbox.ended(claim, if spent { Status::DeadLettered } else { *next });
                    finish.available_at = now + *delay;
                    let holds = self.jobs.get_mut(key).filter(|job| job.holds(claim));
                    prop_assert_eq!(inbox.finish(finish.clone()).await.expect("answers"), holds.is_some());
                    if let Some(job) = holds {
                        job.finish(&finish);
                    }
                }
            }
            Operation::Renew { claims, lease } => {
                if !self.claims.is_empty() {
                    let claims = claims.iter().map(|claim| claim.get(&self.claims)).collect::<Vec<_>>();
                    let leases = claims.iter().map(|(_, claim)| claim.lease).collect::<Vec<_>>();
                    let lost = inbox.renew(leases, *lease).await.expect("renews");
                    let mut expected = Vec::new();
                    for (key, claim) in claims {
                        match self.jobs.get_mut(key).filter(|job| job.holds(claim)) {
                            Some(job) => job.lease_until = now + *lease,
                            None => expected.push(claim.lease),
                        }
                    }
                    prop_assert_eq!(lost, expected);
                }
            }
            Operation::TakeOver => {
                let expected = self.take_over(now, |job| job.lease_until <= now);
                prop_assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), expected);
            }
            Operation::Retry { key, attempts } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    let allowed =
                        matches!(job.status, Status::DeadLettered | Status::Cancelled) && job.has_payload;
                    check(allowed, inbox.retry(job.id, *attempts).await)?;
                    if allowed {
                        job.max_attempts = job.started + attempts;
                        (job.status, job.due, job.finished) = (Status::Pending, now, None);
                    }
                }
            }
            Operation::Cancel { key } => {
                if let Some(job) = self.jobs.get_mut(key) {
                    let waits = job.waits();
                    check(waits || job.status == Status::Cancelled, inbox.cancel(job.id).await)?;
                    if waits {
                        (job.status, job.finished) = (Status::Cancelled, Some(now));
                    }
                }
            }
            Operation::Advance { by } => inbox.advance(*by),
            Operation::Purge => {
                let mut purged = Purged::default();
                loop {
                    let step = inbox.purge(RETENTION).await.expect("purges");
                    purged.payloads += step.payloads;
                    purged.webhooks += step.webhooks;
                    if !step.more {
                        break;
                    }
                }
                prop_assert_eq!((purged.payloads, purged.webhooks), self.purge(now));
            }
            Operation::Crash => {
                inbox.crash_and_reopen().await;
                if H::TAKES_OVER_AT_OPEN {
                    self.take_over(now, |_| true);
                }
            }
            Operation::Restart => {
                inbox.close_and_reopen().await;
                if H::TAKES_OVER_AT_OPEN {
                    self.take_over(now, |_| true);
                }
            }
        }
        Ok(())
    }

    /// Compares all that the store shows.
    pub(super) async fn compare<H: Harness>(
        &self,
        inbox: &Inbox<H>,
    ) -> std::result::Result<(), TestCaseError> {
        for (key, job) in &self.jobs {
            let status = inbox.status(WebhookName::Key(source("default"), key_of(key))).await.expect("found");
            prop_assert_eq!(
                (status.id, status.status, status.attempt_count),
                (job.id, job.status, job.started)
            );
            let detail = inbox.detail_of(job.id).await;
            prop_assert_eq!(detail.payload.as_deref(), job.has_payload.then_some(job.payload));
            prop_assert_eq!(detail.max_attempts, job.max_attempts);
            prop_assert_eq!(detail.completed_at, job.finished);
            let outcomes = detail.attempts.iter().map(|attempt| attempt.outcome).collect::<Vec<_>>();
            prop_assert_eq!(&outcomes, &job.ended);
            let numbers = detail.attempts.iter().map(|attempt| attempt.number as usize).collect::<Vec<_>>();
            prop_assert_eq!(numbers, Vec::from_iter(1..=outcomes.len()));
        }
        let stats = inbox.stats().await.expect("counts");
        let count = |status| self.jobs.values().filter(|job| job.status == status).count() as u64;
        prop_assert_eq!(stats.counts, StatusCounts::new(Status::ALL.map(count)));
        let due = self.jobs.values().filter(|job| job.waits()).map(|job| job.due);
        prop_assert_eq!(stats.oldest_due, due.filter(|due| *due <= inbox.now()).min());
        let listed = inbox.everything().await.into_iter().map(|one| one.id).collect::<BTreeSet<_>>();
        prop_assert_eq!(listed, self.jobs.values().map(|job| job.id).collect::<BTreeSet<_>>());
        Ok(())
    }

    /// Whether it is a duplicate, or why it is refused.
    fn accept(&self, key: &str, payload: &str) -> std::result::Result<bool, Reason> {
        match self.jobs.get(key) {
            Some(job) if job.payload == payload => Ok(true),
            Some(_) => Err(Reason::KeyReused),
            None if self.unfinished() >= MAX_BACKLOG => Err(Reason::BacklogFull),
            None => Ok(false),
        }
    }

    fn unfinished(&self) -> u64 {
        self.jobs.values().filter(|job| !job.status.is_final()).count() as u64
    }

    fn claimed(&mut self, claim: ClaimedJob, until: Timestamp) -> std::result::Result<(), TestCaseError> {
        let found = self.jobs.iter_mut().find(|(_, job)| job.id == claim.lease.webhook);
        let (key, job) = found.ok_or_else(|| TestCaseError::fail("claimed what is not there"))?;
        prop_assert!(job.waits());
        prop_assert!(claim.lease.token > job.token, "tokens grow");
        prop_assert_eq!(claim.payload.as_deref(), Some(job.payload));
        job.started += 1;
        prop_assert_eq!((claim.attempt, claim.max_attempts), (job.started, job.max_attempts));
        prop_assert!(claim.attempt <= claim.max_attempts);
        (job.status, job.lease_until, job.token) = (Status::Processing, until, claim.lease.token);
        self.claims.push((key, claim));
        Ok(())
    }

    fn take_over(&mut self, now: Timestamp, taken: impl Fn(&Job) -> bool) -> usize {
        let jobs = self.jobs.values_mut().filter(|job| job.status == Status::Processing && taken(job));
        jobs.map(|job| {
            job.ended.push(Outcome::Interrupted);
            job.due = now;
            if job.started < job.max_attempts {
                job.status = Status::Pending;
            } else {
                (job.status, job.finished) = (Status::DeadLettered, Some(now));
            }
        })
        .count()
    }

    fn purge(&mut self, now: Timestamp) -> (usize, usize) {
        let past = |job: &Job, kept| job.finished.is_some_and(|finished| finished + kept <= now);
        let mut payloads = 0;
        for job in self.jobs.values_mut().filter(|job| job.has_payload) {
            let kept =
                if job.status == Status::Completed { RETENTION.completed } else { RETENTION.dead_lettered };
            if past(job, kept) {
                job.has_payload = false;
                payloads += 1;
            }
        }
        let before = self.jobs.len();
        self.jobs.retain(|_, job| !past(job, RETENTION.keys));
        (payloads, before - self.jobs.len())
    }
}

impl Job {
    fn new(id: WebhookId, payload: &'static str, now: Timestamp) -> Self {
        Self {
            id,
            payload,
            has_payload: true,
            status: Status::Pending,
            max_attempts: MAX_ATTEMPTS,
            started: 0,
            ended: Vec::new(),
            due: now,
            lease_until: now,
            token: 0,
            finished: None,
        }
    }

    fn waits(&self) -> bool {
        matches!(self.status, Status::Pending | Status::Retrying)
    }

    fn holds(&self, claim: &ClaimedJob) -> bool {
        self.status == Status::Processing && (self.id, self.token) == (claim.lease.webhook, claim.lease.token)
    }

    fn finish(&mut self, finish: &Finish) {
        self.ended.push(finish.outcome);
        (self.status, self.due) = (finish.next, finish.available_at);
        self.max_attempts += u32::from(finish.next == Status::Pending);
        self.finished = finish.next.is_final().then_some(finish.finished_at);
    }
}

fn check(allowed: bool, answer: Result<WebhookStatus>) -> std::result::Result<(), TestCaseError> {
    let expected = if allowed { Ok(()) } else { Err(Reason::WrongStatus) };
    prop_assert_eq!(answer.map(|_| ()).map_err(|error| error.reason()), expected);
    Ok(())
}
