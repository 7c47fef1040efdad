//! A store under test with its clock, and shorthand for operations on it.

mod attempts;
mod samples;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hookbox::internals::domain::clock::{Clock, ManualClock};
use hookbox::internals::domain::error::Result;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::JobStatus;
use hookbox::internals::domain::policy::{Policies, Policy};
use hookbox::internals::domain::route::NewJob;
use hookbox::internals::domain::webhook::{JobDetail, NewWebhook, WebhookDetail, WebhookName, WebhookStatus};
use hookbox::internals::store::{Accepted, ListQuery, Pause, PauseTarget, StatusCounts, Store};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

pub(crate) use self::attempts::{keys, sorted_keys};
pub(crate) use self::samples::{
    OPERATOR, delivery, event_type, key_of, look_alike, milliseconds, new_pause, refused, seconds, source,
    webhook, webhook_with,
};
use crate::store::harness::{Harness, Options};
use crate::store::routes::{default_job, in_force, policy, route};

/// The default duration of leases.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// The default limit of unfinished jobs.
const MAX_BACKLOG: u64 = 1_000_000;

/// An open store with a clock that only moves when the test moves it.
pub(crate) struct Inbox<H> {
    store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
    options: Options,
    /// The name of the process. It has a space, as the names of processes have.
    worker: Arc<str>,
    harness: H,
    /// Before the store was last opened.
    opened: Instant,
}

impl<H> Deref for Inbox<H> {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        self.store.as_ref()
    }
}

impl<H: Harness> Inbox<H> {
    /// Opens an empty store with only the default route.
    pub(crate) async fn new() -> Self {
        Self::with_routes([policy("default")]).await
    }

    /// Opens an empty store with these routes.
    pub(crate) async fn with_routes(policies: impl IntoIterator<Item = Policy>) -> Self {
        Self::with(MAX_BACKLOG, in_force(policies)).await
    }

    /// Opens an empty store with only the default route and with this limit of unfinished jobs.
    pub(crate) async fn with_backlog(max_backlog: u64) -> Self {
        Self::with(max_backlog, in_force([policy("default")])).await
    }

    pub(crate) async fn with(max_backlog: u64, policies: Arc<Policies>) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(1_700_000_000).expect("in range")));
        let options = Options { max_backlog, policies, seed: 1 };
        let harness = H::new();
        let opened = Instant::now();
        let store = harness.open(&options, Arc::clone(&clock)).await;
        Self { store, clock, options, worker: "process 1".into(), harness, opened }
    }

    /// Crashes the process. Another one (`process 2`, `process 3` and so on) opens the store.
    pub(crate) async fn crash_and_reopen(&mut self) {
        self.harness.crash(Arc::clone(&self.store)).await;
        self.options.seed += 1;
        self.worker = format!("process {}", self.options.seed).into();
        self.open().await;
    }

    /// Whether the store may have woken the dispatcher by itself.
    pub(crate) fn may_have_woken(&self) -> bool {
        self.opened.elapsed() >= H::WAKES_AFTER
    }

    /// Releases a quarantined webhook, unless its key is taken by another content.
    pub(crate) async fn release(&self, id: WebhookId, jobs: Vec<NewJob>) -> Result<Accepted> {
        self.store.release(id, jobs, None).await
    }

    /// Closes the store and opens it again as the same worker.
    pub(crate) async fn close_and_reopen(&mut self) {
        self.store.close().await;
        self.open().await;
    }

    /// Closes the store and opens it again with other routes.
    pub(crate) async fn reopen_with(&mut self, policies: impl IntoIterator<Item = Policy>) {
        self.options.policies = in_force(policies);
        self.close_and_reopen().await;
    }

    /// Closes the store and opens it again with the options, the worker and the time of `other`.
    pub(crate) async fn reopen_like<O: Harness>(&mut self, other: &Inbox<O>) {
        self.store.close().await;
        self.options = other.options.clone();
        self.worker = Arc::clone(&other.worker);
        self.clock.advance(other.now().duration_since(self.now()));
        self.open().await;
    }

    /// Puts other policies in force. Processes that open the store later use them, too.
    pub(crate) async fn reload(&mut self, policies: impl IntoIterator<Item = Policy>) {
        self.options.policies = in_force(policies);
        self.set_policies(Arc::clone(&self.options.policies)).await.expect("takes policies");
    }

    pub(crate) fn policies(&self) -> &Arc<Policies> {
        &self.options.policies
    }

    pub(crate) fn shared(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    pub(crate) fn harness(&self) -> &H {
        &self.harness
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by.try_into().expect("in range"));
        self.harness.set_time(self.now());
    }

    /// Moves the clock to a time that is not in the past.
    pub(crate) fn advance_to(&self, time: Timestamp) {
        self.advance(time.duration_since(self.now()).try_into().expect("not past"));
    }

    pub(crate) fn go_back(&self, by: Duration) {
        self.set_clocks_by(-SignedDuration::try_from(by).expect("in range"));
    }

    /// Sets the clocks forward or back. No time passes.
    pub(crate) fn set_clocks_by(&self, by: SignedDuration) {
        self.clock.set_by(by);
        self.harness.set_time(self.now());
    }

    /// Accepts a webhook for the default route.
    pub(crate) async fn submit(&self, webhook: NewWebhook) -> Result<Accepted> {
        self.accept(webhook, default_job()).await
    }

    /// Accepts a webhook for the default route. Panics if it is a duplicate.
    pub(crate) async fn accept_new(&self, key: &str) -> WebhookStatus {
        self.accept_for(key, default_job()).await
    }

    /// Accepts a webhook with these jobs. Panics if it is a duplicate.
    pub(crate) async fn accept_for(
        &self,
        key: &str,
        jobs: impl IntoIterator<Item = NewJob>,
    ) -> WebhookStatus {
        self.accept_from("default", key, jobs).await
    }

    /// Accepts a webhook from a source. Panics if it is a duplicate.
    pub(crate) async fn accept_from(
        &self,
        from: &str,
        key: &str,
        jobs: impl IntoIterator<Item = NewJob>,
    ) -> WebhookStatus {
        let new = NewWebhook { source: source(from), ..webhook(key) };
        let accepted = self.accept(new, jobs.into_iter().collect()).await.expect("accepted");
        assert!(!accepted.duplicate, "{key} is new");
        accepted.webhook
    }

    /// Concurrently accepts `many` webhooks with these jobs. Their keys are the prefix and a number.
    pub(crate) async fn accept_many(&self, prefix: &str, many: usize, jobs: &[NewJob]) {
        let keys = (0..many).map(|number| format!("{prefix} {number}")).collect::<Vec<_>>();
        // Limits the concurrency so that no store refuses a webhook.
        for keys in keys.chunks(1_000) {
            join_all(keys.iter().map(|key| self.accept_for(key, jobs.iter().cloned()))).await;
        }
    }

    /// Pauses a target as [`OPERATOR`], without a reason.
    pub(crate) async fn pause(&self, target: PauseTarget) -> Result<Pause> {
        self.shared().pause(new_pause(target, None)).await
    }

    pub(crate) async fn status_of(&self, id: WebhookId) -> WebhookStatus {
        self.status(WebhookName::Id(id)).await.expect("is kept")
    }

    pub(crate) async fn detail_of(&self, id: WebhookId) -> WebhookDetail {
        self.webhook(id).await.expect("is kept")
    }

    /// The job of a route, with its status and its details.
    pub(crate) async fn job_of(&self, id: WebhookId, name: &str) -> (JobStatus, JobDetail) {
        let WebhookDetail { status, jobs, .. } = self.detail_of(id).await;
        assert_eq!(status.jobs.len(), jobs.len());
        let mut jobs = status.jobs.into_iter().zip(jobs);
        jobs.find(|(job, _)| job.route == route(name)).expect("has a job of the route")
    }

    /// All webhooks that match, newest first, read page by page.
    pub(crate) async fn listed(&self, query: &ListQuery) -> Vec<WebhookStatus> {
        let mut query = query.clone();
        let mut all = Vec::new();
        loop {
            let page = self.list(query.clone()).await.expect("lists");
            assert!(page.webhooks.len() <= query.limit, "a page holds at most what was asked for");
            all.extend(page.webhooks);
            match page.next {
                Some(next) => query.before = Some(next),
                None => return all,
            }
        }
    }

    pub(crate) async fn everything(&self) -> Vec<WebhookStatus> {
        self.listed(&ListQuery { limit: 500, ..ListQuery::default() }).await
    }

    /// The number of jobs in each status, and of webhooks without jobs.
    pub(crate) async fn counts(&self) -> StatusCounts {
        self.stats().await.expect("counts").counts()
    }

    async fn open(&mut self) {
        self.opened = Instant::now();
        self.store = self.harness.open(&self.options, Arc::clone(&self.clock)).await;
    }
}
