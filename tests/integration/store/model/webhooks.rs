//! The webhooks and jobs of the model.

use std::collections::HashMap;

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::policy::Policy;
use hookbox::internals::domain::retention::Retention;
use hookbox::internals::domain::route::{NewJob, OrderValue, RouteName};
use hookbox::internals::domain::webhook::Source;
use hookbox::internals::store::Finish;
use jiff::Timestamp;

/// The key of a lane: jobs with the same route, source and order value start one at a time.
pub(super) type Lane = (RouteName, Source, OrderValue);

/// Since when earlier jobs of the lane allow its first job to start, as the earliest and the latest time that the
/// contract permits.
pub(super) type Lanes = HashMap<Lane, (Timestamp, Timestamp)>;

/// A webhook and its jobs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Webhook {
    pub(super) id: WebhookId,
    pub(super) payload: &'static str,
    pub(super) has_payload: bool,
    pub(super) accepted: Timestamp,
    pub(super) jobs: Vec<Job>,
}

/// One job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) id: WebhookId,
    pub(super) route: RouteName,
    pub(super) source: Source,
    pub(super) order: Option<OrderValue>,
    pub(super) status: Status,
    pub(super) started: u32,
    pub(super) uncounted: u32,
    pub(super) run: u32,
    /// The outcome and the run of each attempt that has ended.
    pub(super) ended: Vec<(Outcome, u32)>,
    pub(super) due: Timestamp,
    pub(super) lease_until: Timestamp,
    pub(super) token: u64,
    /// The process that claimed the job last.
    pub(super) process: u32,
    pub(super) finished: Option<Timestamp>,
    pub(super) blocks: bool,
}

impl Job {
    pub(super) fn new(id: WebhookId, source: &Source, new: &NewJob, now: Timestamp) -> Self {
        Self {
            id,
            route: new.route.clone(),
            source: source.clone(),
            order: new.order.clone(),
            status: Status::Pending,
            started: 0,
            uncounted: 0,
            run: 1,
            ended: Vec::new(),
            due: now,
            lease_until: now,
            token: 0,
            process: 0,
            finished: None,
            blocks: false,
        }
    }

    pub(super) fn lane(&self) -> Option<Lane> {
        self.order.clone().map(|order| (self.route.clone(), self.source.clone(), order))
    }

    pub(super) fn waits(&self) -> bool {
        self.status.is_waiting()
    }

    pub(super) fn runs(&self) -> bool {
        self.status == Status::Processing
    }

    /// Whether the job keeps later jobs of its lane from starting.
    pub(super) fn occupies_lane(&self) -> bool {
        !self.status.is_final() || self.blocks
    }

    pub(super) fn can_be_retried(&self) -> bool {
        matches!(self.status, Status::DeadLettered | Status::Cancelled)
    }

    pub(super) fn can_be_cancelled(&self) -> bool {
        self.waits() || self.can_be_retried()
    }

    pub(super) fn finish(&mut self, finish: &Finish) {
        self.ended.push((finish.outcome, self.run));
        (self.status, self.due) = (finish.next, finish.available_at);
        self.uncounted += u32::from(!finish.counts);
        self.finished = finish.next.is_final().then_some(finish.finished_at);
        self.blocks = finish.blocks && self.order.is_some();
    }

    /// Records an interrupted attempt. The policy in force decides the next status; without a policy, the job becomes
    /// a dead letter.
    pub(super) fn interrupt(&mut self, policy: Option<&Policy>, now: Timestamp) {
        self.ended.push((Outcome::Interrupted, self.run));
        // Without a policy it is unknown whether the job may start again.
        let spent = policy.is_none_or(|policy| {
            let rules = policy.rules(self.started - self.uncounted);
            !rules.attempts_left
                || rules.on_interrupt == hookbox::internals::domain::route::OnInterrupt::DeadLetter
        });
        if spent {
            (self.status, self.finished) = (Status::DeadLettered, Some(now));
            self.blocks = self.order.is_some() && policy.is_none_or(|policy| policy.blocks(self.status));
        } else {
            (self.status, self.due) = (Status::Pending, now);
        }
    }

    /// When the job no longer needs the payload; `None` if the job is unfinished.
    fn payload_kept_until(&self, retention: &Retention) -> Option<Timestamp> {
        let completed = self.status == Status::Completed;
        Some(self.finished? + if completed { retention.completed } else { retention.dead_lettered })
    }
}

impl Webhook {
    /// Whether a purge removes the payload.
    pub(super) fn loses_payload(&self, retention: &Retention, now: Timestamp) -> bool {
        let over = |job: &Job| job.payload_kept_until(retention).is_some_and(|until| until <= now);
        let filtered = self.jobs.is_empty();
        self.has_payload
            && self.jobs.iter().all(over)
            && (!filtered || self.accepted + retention.completed <= now)
    }

    /// Whether a purge removes the webhook with its key.
    pub(super) fn is_over(&self, retention: &Retention, now: Timestamp) -> bool {
        let over = |ended: Timestamp| ended + retention.keys <= now;
        let filtered = self.jobs.is_empty();
        self.jobs.iter().all(|job| job.finished.is_some_and(over)) && (!filtered || over(self.accepted))
    }
}
