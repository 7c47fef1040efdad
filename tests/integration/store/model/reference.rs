//! The model: keeps the expected contents of a store in memory, and runs each operation on both.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::domain::error::{Reason, Result};
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::Policies;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::webhook::{NewWebhook, WebhookStatus};
use hookbox::internals::store::{Claim, ClaimedJob, Finish, PauseTarget, Purged};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::operation::{Name, Operation};
use super::webhooks::{Job, Lanes, Webhook};
use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, seconds, source, webhook_with};
use crate::store::routes::route;

pub(super) const MAX_BACKLOG: u64 = 8;
pub(super) const RETENTION: Retention = Retention {
    completed: seconds(60),
    dead_lettered: seconds(100),
    keys: seconds(150),
    quarantined: seconds(50),
};

type Checked<T = ()> = std::result::Result<T, TestCaseError>;

/// The expected state of a store.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) webhooks: BTreeMap<Name, Webhook>,
    pub(super) lanes: Lanes,
    pub(super) paused: HashMap<PauseTarget, Timestamp>,
    pub(super) policies: Arc<Policies>,
    /// All jobs that were ever claimed.
    claims: Vec<(Name, ClaimedJob)>,
    /// The webhooks as they were in the model and in a list when their details were compared.
    pub(super) compared: BTreeMap<Name, (Webhook, WebhookStatus)>,
    /// How many times the store was compared.
    pub(super) comparisons: usize,
    /// The number of the process that has the store open. Leases of the processes before it are lost to it.
    process: u32,
}

impl Reference {
    pub(super) fn new<H: Harness>(inbox: &Inbox<H>) -> Self {
        Self {
            webhooks: BTreeMap::new(),
            lanes: Lanes::new(),
            paused: HashMap::new(),
            policies: Arc::clone(inbox.policies()),
            claims: Vec::new(),
            compared: BTreeMap::new(),
            comparisons: 0,
            process: 0,
        }
    }

    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.webhooks.values().flat_map(|webhook| &webhook.jobs)
    }

    /// Runs an operation on the store and on the model, and compares the results.
    pub(super) async fn run<H: Harness>(&mut self, inbox: &mut Inbox<H>, operation: &Operation) -> Checked {
        let now = inbox.now();
        match operation {
            Operation::Accept { name, payload, jobs } => {
                let new = NewWebhook { source: source(name.0), ..webhook_with(name.1, payload) };
                let answer = inbox.accept(new, jobs.clone()).await;
                let found =
                    answer.as_ref().map(|accepted| accepted.duplicate).map_err(|error| error.reason());
                prop_assert_eq!(found, self.answer_to(name, payload));
                if let Ok(accepted) = answer.map(|accepted| accepted.webhook)
                    && !self.webhooks.contains_key(name)
                {
                    self.accept(*name, accepted.id, payload, jobs, now);
                }
            }
            Operation::Claim { threads, lease, running } => {
                let running =
                    running.iter().map(|(name, many)| (route(name), *many)).collect::<HashMap<_, _>>();
                let claim = Claim { lease: *lease, running: running.clone(), ..inbox.claim_for(*threads) };
                let claims = inbox.claim(claim).await.expect("claims");
                self.check_claimed(&claims.jobs, *threads, &running, now)?;
                for claim in &claims.jobs {
                    self.claimed(claim, now + *lease)?;
                }
                let mut next = claims.next;
                if next.is_some_and(|next| next <= now) && !self.may_start(now) {
                    // A claim may report a due job that was cancelled since. The next claim finds none and reports none.
                    let claims = inbox.claim(inbox.claim_for(100)).await.expect("claims");
                    prop_assert!(claims.jobs.is_empty(), "may not start: {:?}", claims.jobs);
                    next = claims.next;
                }
                self.check_next(next, now)?;
            }
            Operation::Finish { claim, next, .. } if !self.claims.is_empty() => {
                let (name, claim) = claim.get(&self.claims).clone();
                let finish = self.finish_of(inbox, &claim, *next, operation);
                let held = self.holder(name, &claim).is_some();
                prop_assert_eq!(inbox.finish_one(finish.clone()).await.expect("answers"), held);
                if held {
                    self.finish(name, &claim.route, &finish);
                }
            }
            Operation::Renew { claims, lease } if !self.claims.is_empty() => {
                let claims = claims.iter().map(|claim| claim.get(&self.claims).clone()).collect::<Vec<_>>();
                let leases = claims.iter().map(|(_, claim)| claim.lease).collect::<Vec<_>>();
                let lost = inbox.renew(leases, *lease).await.expect("renews");
                let mut expected = Vec::new();
                for (name, claim) in claims {
                    match self.holder(name, &claim) {
                        Some(job) => job.lease_until = now + *lease,
                        None => expected.push(claim.lease),
                    }
                }
                prop_assert_eq!(lost, expected);
            }
            Operation::GiveBack { claims } if !self.claims.is_empty() => {
                let claims = claims.iter().map(|claim| claim.get(&self.claims).clone()).collect::<Vec<_>>();
                let leases = claims.iter().map(|(_, claim)| claim.lease).collect::<Vec<_>>();
                inbox.give_back(leases).await.expect("gives back");
                claims.iter().for_each(|(name, claim)| self.give_back(*name, claim));
            }
            Operation::Finish { .. } | Operation::Renew { .. } | Operation::GiveBack { .. } => {}
            Operation::TakeOver => {
                let policies = Arc::clone(&self.policies);
                let left = |job: &Job| match policies.get(&job.route) {
                    Some(_) => Duration::ZERO,
                    None => H::LEFT_TO_OTHERS,
                };
                let expected = self.take_over(now, |job| job.lease_until + left(job) <= now);
                prop_assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), expected);
            }
            Operation::Retry { name, route } => {
                if let Some(webhook) = self.webhooks.get(name) {
                    let (id, kept) = (webhook.id, webhook.has_payload);
                    let chosen = self.chosen(name, *route, |job| kept && job.can_be_retried());
                    check(&chosen, inbox.retry(id, route.map(crate::store::routes::route)).await)?;
                    self.retry(*name, &chosen.unwrap_or_default(), now);
                }
            }
            Operation::Cancel { name, route } => {
                if let Some(webhook) = self.webhooks.get(name) {
                    let chosen = self.chosen(name, *route, Job::can_be_cancelled);
                    check(&chosen, inbox.cancel(webhook.id, route.map(crate::store::routes::route)).await)?;
                    self.cancel(*name, &chosen.unwrap_or_default(), now);
                }
            }
            Operation::CancelRoute { route: name } => {
                let mut cancelled = 0;
                loop {
                    match inbox.cancel_jobs(route(name)).await.expect("cancels") {
                        0 => break,
                        some => cancelled += some,
                    }
                }
                prop_assert_eq!(cancelled, self.cancel_route(name, now));
            }
            Operation::Pause { target } => {
                let since = *self.paused.entry(target.clone()).or_insert(now);
                let pause = inbox.pause(target.clone()).await.expect("pauses");
                prop_assert_eq!((&pause.target, pause.since), (target, since));
            }
            Operation::Resume { target } => {
                let was_paused = self.paused.remove(target).is_some();
                prop_assert_eq!(inbox.resume(target.clone()).await.expect("resumes"), was_paused);
            }
            Operation::Reload { settings } => {
                inbox.reload(settings.policies()).await;
                self.reload(settings.in_force(), now);
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
            Operation::Crash | Operation::Restart => {
                if matches!(operation, Operation::Crash) {
                    inbox.crash_and_reopen().await;
                    self.process += 1;
                } else {
                    inbox.close_and_reopen().await;
                }
                if H::TAKES_OVER_AT_OPEN {
                    self.take_over(now, |_| true);
                }
            }
        }
        Ok(())
    }

    /// The expected result of accepting a webhook: whether it is a duplicate, or the reason of the error.
    fn answer_to(&self, name: &Name, payload: &str) -> std::result::Result<bool, Reason> {
        let unfinished = self.jobs().filter(|job| !job.status.is_final()).count() as u64;
        match self.webhooks.get(name) {
            Some(webhook) if webhook.payload == payload => Ok(true),
            Some(_) => Err(Reason::KeyReused),
            None if unfinished >= MAX_BACKLOG => Err(Reason::BacklogFull),
            None => Ok(false),
        }
    }

    /// The end of an attempt as a worker would report it under the policy in force.
    fn finish_of<H: Harness>(
        &self,
        inbox: &Inbox<H>,
        claim: &ClaimedJob,
        next: Status,
        operation: &Operation,
    ) -> Finish {
        let Operation::Finish { delay, .. } = operation else { unreachable!("only of an end") };
        let policy = self.policies.get(&claim.route);
        let spent = policy.is_some_and(|policy| !policy.rules(claim.attempt_of_run).attempts_left);
        let next = if spent && next == Status::Retrying { Status::DeadLettered } else { next };
        let finish = inbox.ended(claim, next);
        if next.is_final() { finish } else { Finish { available_at: inbox.now() + *delay, ..finish } }
    }

    fn claimed(&mut self, claim: &ClaimedJob, until: Timestamp) -> Checked {
        let (id, process) = (claim.lease.job.webhook, self.process);
        let mut webhooks = self.webhooks.iter_mut();
        let found = webhooks.find(|(_, webhook)| webhook.id == id);
        let (name, webhook) = found.ok_or_else(|| TestCaseError::fail("claimed what is not there"))?;
        prop_assert_eq!((claim.source.as_str(), claim.idempotency_key.as_str()), *name);
        prop_assert_eq!(claim.payload.as_deref(), webhook.has_payload.then_some(webhook.payload.as_bytes()));
        let job = webhook.jobs.iter_mut().find(|job| job.route == claim.route);
        let job = job.ok_or_else(|| TestCaseError::fail("claimed what is not there"))?;
        prop_assert!(claim.lease.token > job.token, "tokens grow");
        job.started += 1;
        let expected = (job.started, job.started - job.uncounted, job.run, &job.order);
        prop_assert_eq!((claim.attempt, claim.attempt_of_run, claim.run, &claim.order), expected);
        (job.status, job.lease_until, job.token) = (Status::Processing, until, claim.lease.token);
        job.process = process;
        self.claims.push((*name, claim.clone()));
        Ok(())
    }

    /// The job of a claim, if the claim still holds its lease.
    pub(super) fn holder(&mut self, name: Name, claim: &ClaimedJob) -> Option<&mut Job> {
        let process = self.process;
        let webhook = self.webhooks.get_mut(&name).filter(|webhook| webhook.id == claim.lease.job.webhook)?;
        let job = webhook.jobs.iter_mut().find(|job| job.route == claim.route)?;
        (job.runs() && job.token == claim.lease.token && job.process == process).then_some(job)
    }

    /// The routes of the jobs that a retry or cancellation changes, or the reason of the error.
    fn chosen(
        &self,
        name: &Name,
        wanted: Option<&str>,
        allows: impl Fn(&Job) -> bool,
    ) -> std::result::Result<Vec<String>, Reason> {
        let jobs = &self.webhooks[name].jobs;
        let mut of_route = jobs.iter().filter(|job| wanted.is_none_or(|route| job.route.as_str() == route));
        if wanted.is_some() && of_route.clone().next().is_none() {
            return Err(Reason::RouteNotFound);
        }
        let first = of_route.clone().find(|job| allows(job));
        first.ok_or(Reason::WrongStatus)?;
        let chosen = of_route.by_ref().filter(|job| allows(job));
        Ok(chosen.map(|job| job.route.to_string()).collect())
    }
}

fn check<T>(chosen: &std::result::Result<Vec<String>, Reason>, answer: Result<T>) -> Checked {
    let expected = chosen.as_ref().map(|_| ()).map_err(|reason| *reason);
    prop_assert_eq!(answer.map(|_| ()).map_err(|error| error.reason()), expected);
    Ok(())
}
