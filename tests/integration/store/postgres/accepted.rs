//! `claim_accepted`: jobs are leased in the transaction that stores them.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hookbox::domain::error::{Reason, Result};
use hookbox::domain::job::Status;
use hookbox::domain::policy::Policy;
use hookbox::store::{ClaimedJob, Claims, Inbox as _, PauseTarget, Store as _};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{PostgresHarness, close_connections, open};
use crate::store::harness::Options;
use crate::store::inbox::{Inbox, LEASE, keys, seconds, source, webhook};
use crate::store::routes::{concurrent, in_force, job, ordered, paced, policy, route};
use crate::support::postgres::Session;

/// The time within which a result must arrive.
const SOON: Duration = Duration::from_secs(20);

type Store = Inbox<PostgresHarness>;

/// A call of `claim_accepted` that waits for new webhooks.
struct Waiting {
    until: CancellationToken,
    claims: Pin<Box<dyn Future<Output = Result<Claims>> + Send>>,
}

impl Waiting {
    async fn start(inbox: &Store, threads: usize) -> Self {
        let (store, claim, until) = (inbox.shared(), inbox.claim_for(threads), CancellationToken::new());
        let token = until.clone();
        let mut claims: Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(async move { store.claim_accepted(claim, token).await });
        assert!((&mut claims).now_or_never().is_none(), "no webhook was accepted yet");
        Self { until, claims }
    }

    async fn answer(self) -> Result<Vec<ClaimedJob>> {
        let claims = tokio::time::timeout(SOON, self.claims).await.expect("answers");
        claims.map(|claims| claims.jobs)
    }

    async fn jobs(self) -> Vec<ClaimedJob> {
        self.answer().await.expect("claims")
    }

    /// Cancels the wait and returns the leased jobs.
    async fn cancelled(self) -> Vec<ClaimedJob> {
        self.until.cancel();
        self.jobs().await
    }
}

/// Opens an inbox with these routes. Each route has already had a job of the source `default`.
async fn inbox(policies: impl IntoIterator<Item = Policy>) -> Store {
    let policies = policies.into_iter().collect::<Vec<_>>();
    let inbox = Store::with_routes(policies.clone()).await;
    for policy in policies {
        inbox.accept_for(policy.route.as_str(), [job(policy.route.as_str())]).await;
        let job = inbox.claim_one().await;
        inbox.end(&job, Status::Completed).await;
    }
    inbox.advance(seconds(3_600));
    inbox
}

/// Accepts a webhook for the route `a` and returns its job, which must start as it is accepted.
async fn starts_a(inbox: &Store, key: &str) -> ClaimedJob {
    let waiting = Waiting::start(inbox, 4).await;
    let accepted = inbox.accept_for(key, [job("a")]).await;
    let [job] = <[_; 1]>::try_from(waiting.jobs().await).expect("one job starts");
    assert_eq!(job.lease.job.webhook, accepted.id);
    job
}

#[tokio::test]
async fn a_job_accepted_while_a_claim_waits_starts_in_the_transaction_that_stores_it() {
    let inbox = inbox([policy("a")]).await;
    let before = inbox.counts().await;
    let (wake, waiting) = (Arc::new(Notify::new()), Waiting::start(&inbox, 4).await);
    inbox.on_due(Arc::clone(&wake));
    let accepted = inbox.accept_for("k", [job("a")]).await;
    assert_eq!(
        (accepted.status(), accepted.revision()),
        (Status::Pending, 0),
        "the result shows the job as it was stored"
    );
    let status = inbox.status_of(accepted.id).await;
    assert_eq!((status.status(), status.attempt_count(), status.revision()), (Status::Processing, 1, 1));
    let counts = inbox.counts().await;
    assert_eq!((counts.of(Status::Pending), counts.of(Status::Processing)), (0, 1));
    assert_eq!(counts.total(), before.total() + 1);
    inbox.claim_nothing().await;
    assert!(tokio::time::timeout(Duration::ZERO, wake.notified()).await.is_err(), "no other job is due");

    let [leased] = <[_; 1]>::try_from(waiting.jobs().await).expect("one job starts");
    inbox.advance(LEASE);
    assert_eq!(inbox.take_over_expired(Vec::new()).await.expect("takes over"), 1, "its lease has expired");
    assert!(!inbox.finish_one(inbox.ended(&leased, Status::Completed)).await.expect("answers"));
    let claimed = inbox.claim_one().await;
    assert_eq!((leased.attempt, leased.lease.token), (1, 1));
    assert_eq!((claimed.attempt, claimed.lease.token), (2, 2));
    let as_claimed = ClaimedJob {
        lease: claimed.lease,
        attempt: claimed.attempt,
        attempt_of_run: claimed.attempt_of_run,
        available_at: claimed.available_at,
        claimed_at: claimed.claimed_at,
        ..leased
    };
    assert_eq!(
        format!("{as_claimed:?}"),
        format!("{claimed:?}"),
        "the job has everything that its handler needs"
    );
    inbox.end(&claimed, Status::Completed).await;
}

#[tokio::test]
async fn a_job_that_starts_as_it_is_accepted_ends_like_any_other() {
    let inbox = inbox([policy("a")]).await;
    let job = starts_a(&inbox, "k").await;
    inbox.fail(&job, seconds(1)).await;
    inbox.advance(seconds(1));
    let job = inbox.claim_one().await;
    assert_eq!((job.attempt, job.attempt_of_run), (2, 2));
    inbox.end(&job, Status::Completed).await;
    let (_, job) = inbox.job_of(job.lease.job.webhook, "a").await;
    assert_eq!(job.attempts.len(), 2);
}

#[tokio::test]
async fn jobs_that_may_not_start_wait_for_a_claim() {
    let hour = seconds(3_600);
    let inbox =
        inbox([policy("a"), policy("paused"), concurrent("limited", 9), paced("paced", 9, hour)]).await;
    inbox.pause(PauseTarget::Route(route("paused"))).await.expect("pauses");
    for (key, jobs) in [
        ("of a paused route", vec![job("paused")]),
        ("of a route with a limit", vec![job("limited")]),
        ("of a route with a rate", vec![job("paced")]),
        ("of a route that is gone", vec![job("gone")]),
        ("ordered", vec![ordered("a", "x")]),
        ("filtered", vec![]),
    ] {
        let waiting = Waiting::start(&inbox, 4).await;
        let webhook = inbox.accept_for(key, jobs.clone()).await;
        let status = inbox.status_of(webhook.id).await;
        let expected = if jobs.is_empty() { Status::Filtered } else { Status::Pending };
        assert_eq!((status.status(), status.attempt_count()), (expected, 0), "{key}");
        assert_eq!(keys(&waiting.cancelled().await), [""; 0], "{key}");
        for job in inbox.claimed(4).await {
            inbox.end(&job, Status::Completed).await;
        }
    }
    let left = inbox.counts().await;
    assert_eq!(left.unfinished(), 2, "the paused job and the job of the route that is gone");
    starts_a(&inbox, "these two keep no other from starting").await;
}

#[tokio::test]
async fn a_pause_by_another_process_holds_jobs_at_once() {
    for target in
        [PauseTarget::Route(route("a")), PauseTarget::Source(source("default")), PauseTarget::Everything]
    {
        let inbox = inbox([policy("a")]).await;
        let session = Session::open(&inbox.harness().url()).expect("connects");
        let (scope, name) = match &target {
            PauseTarget::Everything => (0, ""),
            PauseTarget::Route(route) => (1, route.as_str()),
            PauseTarget::Source(source) => (2, source.as_str()),
        };
        session.ask(&format!("INSERT INTO pauses VALUES ({scope}, '{name}', now())")).expect("pauses");
        let waiting = Waiting::start(&inbox, 4).await;
        let webhook = inbox.accept_for("k", [job("a")]).await;
        assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Pending, "{target}");
        assert_eq!(keys(&waiting.jobs().await), [""; 0], "{target}");
        inbox.claim_nothing().await;
        assert!(inbox.resume(target).await.expect("resumes"));
        assert_eq!(inbox.claim_one().await.attempt, 1);
    }
}

#[tokio::test]
async fn a_job_that_is_due_comes_before_those_that_are_accepted() {
    let inbox = inbox([policy("a"), policy("b")]).await;
    let first = inbox.accept_for("first", [job("b")]).await;
    let waiting = Waiting::start(&inbox, 4).await;
    inbox.accept_for("second", [job("a")]).await;
    assert_eq!(keys(&waiting.cancelled().await), [""; 0]);
    assert_eq!(inbox.claimed(4).await.len(), 2);
    assert_eq!(inbox.status_of(first.id).await.status(), Status::Processing);
    starts_a(&inbox, "third").await;
}

#[tokio::test]
async fn a_duplicate_starts_nothing() {
    let inbox = inbox([policy("a")]).await;
    let first = inbox.accept_for("k", [job("a")]).await;
    let claimed = inbox.claim_one().await;
    let waiting = Waiting::start(&inbox, 4).await;
    let accepted = inbox.accept(webhook("k"), vec![job("a")]).await.expect("answers");
    assert!(accepted.duplicate && accepted.webhook.id == first.id);
    assert_eq!(keys(&waiting.jobs().await), [""; 0]);
    let status = inbox.status_of(first.id).await;
    assert_eq!((status.status(), status.attempt_count()), (Status::Processing, 1));
    inbox.end(&claimed, Status::Completed).await;
}

#[tokio::test]
async fn one_job_of_a_webhook_can_start_while_another_waits() {
    let inbox = inbox([policy("a"), concurrent("limited", 1), policy("z")]).await;
    let waiting = Waiting::start(&inbox, 4).await;
    let jobs = [job("a"), job("limited"), ordered("z", "x")];
    let webhook = inbox.accept_for("k", jobs).await;
    let [started] = <[_; 1]>::try_from(waiting.jobs().await).expect("one job starts");
    assert_eq!(started.route, route("a"));
    for (name, status) in [("a", Status::Processing), ("limited", Status::Pending), ("z", Status::Pending)] {
        assert_eq!(inbox.job_of(webhook.id, name).await.0.status, status, "{name}");
    }
    let others = inbox.claimed(4).await;
    assert_eq!(others.len(), 2);
    for job in others.iter().chain([&started]) {
        inbox.end(job, Status::Completed).await;
    }
    assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Completed);
}

#[tokio::test]
async fn no_more_jobs_start_than_there_are_threads() {
    let inbox = inbox([policy("a"), policy("b")]).await;
    let waiting = Waiting::start(&inbox, 2).await;
    let jobs = [job("a"), job("b")];
    inbox.accept_many("k", 10, &jobs).await;
    let started = waiting.jobs().await;
    assert!((1..=2).contains(&started.len()), "{}", started.len());
    let counts = inbox.counts().await;
    assert_eq!(counts.of(Status::Processing), started.len() as u64);
    assert_eq!(inbox.claimed(100).await.len(), 20 - started.len(), "the others wait for a claim");
}

#[tokio::test]
async fn a_claim_that_is_cancelled_leaves_jobs_to_the_next_one() {
    let inbox = inbox([policy("a")]).await;
    assert_eq!(keys(&Waiting::start(&inbox, 4).await.cancelled().await), [""; 0]);
    let webhook = inbox.accept_for("k", [job("a")]).await;
    assert_eq!(inbox.status_of(webhook.id).await.status(), Status::Pending);
    inbox.claim_one().await;
    starts_a(&inbox, "another").await;
}

#[tokio::test]
async fn near_the_backlog_limit_only_stored_jobs_start() {
    let inbox = Store::with_backlog(2).await;
    inbox.accept_new("before").await;
    let before = inbox.claim_one().await;
    let waiting = Waiting::start(&inbox, 4).await;
    inbox.accept_new("fits").await;
    assert_eq!(keys(&waiting.jobs().await), ["fits"]);
    let waiting = Waiting::start(&inbox, 4).await;
    let full = inbox.submit(webhook("full")).await.expect_err("is full");
    assert_eq!(full.reason(), Reason::BacklogFull);
    assert_eq!(keys(&waiting.jobs().await), [""; 0]);
    inbox.end(&before, Status::Completed).await;
}

/// The commit may have succeeded, so the jobs may be leased.
#[tokio::test]
async fn a_claim_whose_commit_is_not_confirmed_is_answered_with_an_error() {
    let inbox = inbox([policy("a")]).await;
    let url = inbox.harness().url();
    let session = Session::open(&url).expect("connects");
    session.ask("BEGIN").expect("begins");
    session.ask("LOCK TABLE webhooks IN EXCLUSIVE MODE").expect("locks");
    let waiting = Waiting::start(&inbox, 4).await;
    let (store, new) = (inbox.shared(), webhook("k"));
    let accepting = tokio::spawn(async move { store.accept(new, vec![job("a")]).await });
    let waits = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'
                   AND query LIKE '%INSERT INTO webhooks%'";
    let is_waiting = async {
        while session.ask(waits).expect("asks") == ["0"] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, is_waiting).await.expect("the statement waits");
    waiting.until.cancel();
    close_connections(&url);
    assert_eq!(waiting.answer().await.expect_err("is lost").reason(), Reason::StoreUnavailable);
    let refused = accepting.await.expect("ends").expect_err("is not confirmed");
    assert_eq!(refused.reason(), Reason::StoreUnavailable);
    session.ask("ROLLBACK").expect("unlocks");
    let always = || Timestamp::UNIX_EPOCH..=inbox.now();
    let given = answered(|| inbox.give_back_unheld("worker-1", vec![], always())).await;
    assert_eq!(given, 0, "the webhook was not stored");
    let accepted = answered(|| inbox.accept(webhook("k"), vec![job("a")])).await;
    assert!(!accepted.duplicate);
    assert_eq!(answered(|| inbox.claim(inbox.claim_for(4))).await.jobs.len(), 1, "it waited");
}

/// Repeats a call until it succeeds. The store notices that the server has closed an idle connection only when it
/// uses the connection.
async fn answered<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> T {
    let answered = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert_eq!(error.reason(), Reason::StoreUnavailable),
            }
        }
    };
    tokio::time::timeout(SOON, answered).await.expect("answers")
}

#[tokio::test]
async fn an_unheld_job_that_started_as_it_was_accepted_is_given_back() {
    let inbox = inbox([policy("a")]).await;
    let from = inbox.now();
    let job = starts_a(&inbox, "k").await;
    inbox.advance(seconds(1));
    let given = inbox.give_back_unheld("worker-1", vec![], from..=inbox.now()).await;
    assert_eq!(given.expect("looks"), 1);
    let again = inbox.claim_one().await;
    assert_eq!((again.lease.job, again.attempt, again.lease.token), (job.lease.job, 1, 2));
}

#[tokio::test]
async fn a_store_that_closes_answers_the_claim_that_waits() {
    let inbox = inbox([policy("a")]).await;
    let waiting = Waiting::start(&inbox, 4).await;
    inbox.close().await;
    assert_eq!(keys(&waiting.jobs().await), [""; 0]);
    let closed = inbox.claim_accepted(inbox.claim_for(1), CancellationToken::new()).await;
    assert_eq!(closed.expect_err("is closed").reason(), Reason::ShuttingDown);
}

#[tokio::test]
async fn each_process_starts_what_it_accepts() {
    let inbox = inbox([policy("a")]).await;
    let options = Options { max_backlog: 1_000, policies: in_force([policy("a")]), seed: 2 };
    let other = open(&inbox.harness().url(), &options, Arc::clone(&inbox.clock) as _).await.expect("opens");
    let waiting = Waiting::start(&inbox, 4).await;
    let accepted = other.accept(webhook("by the other"), vec![job("a")]).await.expect("accepts");
    assert_eq!(inbox.status_of(accepted.webhook.id).await.status(), Status::Pending);
    assert_eq!(keys(&waiting.cancelled().await), [""; 0]);
    other.close().await;
}
