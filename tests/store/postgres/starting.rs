//! Webhooks that are leased as they are stored, for idle threads of the same process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox::domain::clock::Signal;
use hookbox::domain::error::Reason;
use hookbox::domain::job::Status;
use hookbox::store::{ClaimedJob, Starter};
use jiff::Timestamp;

use super::PostgresHarness;
use crate::inbox::{Inbox, LEASE, MAX_ATTEMPTS, refused, seconds, webhook, webhook_with};

/// Threads of a pool, and the jobs they got.
#[derive(Debug)]
struct Threads {
    idle: Mutex<usize>,
    started: Mutex<Vec<ClaimedJob>>,
    changed: tokio::sync::Notify,
}

impl Threads {
    /// So many idle ones, for new webhooks of `inbox`.
    fn of(inbox: &Inbox<PostgresHarness>, idle: usize) -> Arc<Self> {
        let threads = Arc::new(Self {
            idle: Mutex::new(idle),
            started: Mutex::default(),
            changed: tokio::sync::Notify::new(),
        });
        let starter: Arc<dyn Starter> = Arc::clone(&threads) as _;
        inbox.on_accept(Arc::downgrade(&starter));
        threads
    }

    fn idle(&self) -> usize {
        *self.idle.lock().expect("sound")
    }

    /// What was started, once it is as many as `jobs` and `idle` threads are left. A webhook is
    /// answered before its job starts.
    async fn started(&self, jobs: usize, idle: usize) -> Vec<ClaimedJob> {
        let all = async {
            loop {
                let changed = self.changed.notified();
                let started = self.started.lock().expect("sound").clone();
                if started.len() == jobs && self.idle() == idle {
                    return started;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("they start")
    }
}

impl Starter for Threads {
    fn lease(&self) -> Duration {
        LEASE
    }

    fn has_idle(&self) -> bool {
        self.idle() > 0
    }

    fn reserve(&self, most: usize) -> usize {
        let mut idle = self.idle.lock().expect("sound");
        let reserved = most.min(*idle);
        *idle -= reserved;
        reserved
    }

    fn unanswered(&self, _since: Timestamp) {
        unreachable!("everything is answered");
    }

    fn start(&self, reserved: usize, jobs: Vec<ClaimedJob>) {
        *self.idle.lock().expect("sound") += reserved - jobs.len();
        self.started.lock().expect("sound").extend(jobs);
        self.changed.notify_waiters();
    }
}

async fn starts_at_once(inbox: Inbox<PostgresHarness>) {
    let threads = Threads::of(&inbox, 2);
    let answered = inbox.accept(webhook_with("k", r#"{"n": 1.10}"#)).await.expect("accepted").webhook;
    assert_eq!((answered.status, answered.attempt_count), (Status::Pending, 0), "as it was stored");
    let started = threads.started(1, 1).await;
    let job = &started[0];
    assert_eq!((job.lease.webhook, job.lease.token), (answered.id, 1));
    assert_eq!((job.attempt, job.attempt_of_run, job.max_attempts), (1, 1, MAX_ATTEMPTS));
    assert_eq!(job.payload.as_deref(), Some(r#"{"n": 1.10}"#));
    let status = inbox.status_of(answered.id).await;
    assert_eq!((status.status, status.attempt_count), (Status::Processing, 1));
    assert_eq!(inbox.counts().await.of(Status::Processing), 1);
    assert!(inbox.claim(10, LEASE).await.expect("claims").jobs.is_empty(), "nobody else gets it");
    inbox.end(job, Status::Completed).await;
    let detail = inbox.detail_of(answered.id).await;
    assert_eq!(detail.status.status, Status::Completed);
    assert_eq!((detail.attempts.len(), detail.attempts[0].number), (1, 1));
    assert_eq!(detail.attempts[0].worker, "worker-1");
    assert_eq!(inbox.counts().await.of(Status::Processing), 0);
}

#[tokio::test]
async fn a_webhook_starts_without_a_claim_where_a_thread_is_idle() {
    starts_at_once(Inbox::new().await).await;
}

#[tokio::test]
async fn so_does_one_that_comes_near_the_limit_of_the_backlog() {
    starts_at_once(Inbox::with(10, MAX_ATTEMPTS).await).await;
}

#[tokio::test]
async fn a_webhook_without_a_thread_waits_for_a_claim() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let threads = Threads::of(&inbox, 1);
    let due = Arc::new(Signal::default());
    inbox.on_due(Arc::clone(&due));
    let first = inbox.accept_new("first").await;
    threads.started(1, 0).await;
    assert!(!due.is_raised(), "there is nothing to claim");
    let second = inbox.accept_new("second").await;
    assert!(due.is_raised());
    let waiting = inbox.claim_one().await;
    assert_eq!(waiting.lease.webhook, second.id);
    assert_eq!(threads.started(1, 0).await[0].lease.webhook, first.id);
}

#[tokio::test]
async fn a_duplicate_starts_nothing_and_gives_its_thread_back() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let threads = Threads::of(&inbox, 2);
    let first = inbox.accept_new("k").await;
    threads.started(1, 1).await;
    let again = inbox.accept(webhook("k")).await.expect("answered");
    assert!(again.duplicate);
    assert_eq!((again.webhook.id, again.webhook.status), (first.id, Status::Processing));
    assert_eq!(refused(inbox.accept(webhook_with("k", "2")).await), Reason::KeyReused);
    threads.started(1, 1).await;
}

#[tokio::test]
async fn one_that_is_refused_gives_its_thread_back() {
    let inbox = Inbox::<PostgresHarness>::with(1, MAX_ATTEMPTS).await;
    let threads = Threads::of(&inbox, 2);
    inbox.accept_new("k").await;
    assert_eq!(refused(inbox.accept(webhook("one too many")).await), Reason::BacklogFull);
    threads.started(1, 1).await;
}

#[tokio::test]
async fn many_at_once_start_on_the_threads_there_are_and_each_once() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let threads = Threads::of(&inbox, 30);
    let accepting = (0..100).map(|number| inbox.accept(webhook(&format!("k{number}"))));
    let accepted = futures::future::join_all(accepting).await;
    assert!(accepted.iter().all(|accepted| accepted.as_ref().is_ok_and(|accepted| !accepted.duplicate)));
    let mut jobs = threads.started(30, 0).await;
    jobs.extend(inbox.claim(200, LEASE).await.expect("claims").jobs);
    let mut webhooks = jobs.iter().map(|job| job.lease.webhook).collect::<Vec<_>>();
    webhooks.sort();
    webhooks.dedup();
    assert_eq!(webhooks.len(), 100);
}

#[tokio::test]
async fn the_first_lease_expires_like_any_other() {
    let inbox = Inbox::<PostgresHarness>::new().await;
    let threads = Threads::of(&inbox, 1);
    let webhook = inbox.accept_new("k").await;
    let late = threads.started(1, 0).await.remove(0);
    inbox.advance(LEASE - seconds(1));
    assert_eq!(inbox.take_over_expired(vec![]).await.expect("looks"), 0);
    inbox.advance(seconds(1));
    assert_eq!(inbox.take_over_expired(vec![late.lease]).await.expect("looks"), 0, "it still runs here");
    assert_eq!(inbox.take_over_expired(vec![]).await.expect("looks"), 1);
    assert!(!inbox.finish(inbox.ended(&late, Status::Completed)).await.expect("answers"));
    let next = inbox.claim_one().await;
    assert_eq!((next.lease.webhook, next.lease.token, next.attempt), (webhook.id, 2, 2));
}
