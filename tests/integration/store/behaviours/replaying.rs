//! Replays: finished jobs of many webhooks run again, step by step.

use std::collections::BTreeSet;

use futures::future::join_all;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::id::WebhookId;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::replay::{ReplayCounts, ReplayState};
use hookbox::internals::store::{NewReplay, Replay, ReplayFilter, ReplayStep};

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, milliseconds, refused, seconds, source, webhook};
use crate::store::routes::{default_job, job, ordered, policy, route};

/// More jobs than any of these tests has.
pub(super) const ALL: usize = 1_000;

/// More steps than any of these tests needs.
const MAX_STEPS: usize = 10_000;

pub(super) fn new(filter: ReplayFilter) -> NewReplay {
    NewReplay { filter, reason: None, actor: "anna".to_owned(), rate: None, dry_run: false }
}

/// Everything of the source `default`.
pub(super) fn everything() -> ReplayFilter {
    ReplayFilter { source: Some(source("default")), ..ReplayFilter::default() }
}

pub(super) fn of_status(statuses: impl IntoIterator<Item = Status>) -> ReplayFilter {
    ReplayFilter { statuses: statuses.into_iter().collect::<BTreeSet<_>>(), ..ReplayFilter::default() }
}

/// Does steps of at most `jobs` jobs until the replay is over. Returns how many steps it took.
pub(super) async fn run<H: Harness>(inbox: &Inbox<H>, number: u64, jobs: usize) -> usize {
    for steps in 0..MAX_STEPS {
        if inbox.replay(number).await.expect("is kept").state != ReplayState::Running {
            return steps;
        }
        assert_eq!(inbox.step_replay(jobs).await.expect("steps"), ReplayStep::Moved);
    }
    panic!("the replay does not end");
}

/// Starts a replay and brings it to its end.
pub(super) async fn replayed<H: Harness>(inbox: &Inbox<H>, new: NewReplay) -> Replay {
    let number = inbox.start_replay(new).await.expect("starts").number;
    run(inbox, number, ALL).await;
    inbox.replay(number).await.expect("is kept")
}

/// The number of the run of the only job of a webhook.
pub(super) async fn run_of<H: Harness>(inbox: &Inbox<H>, id: WebhookId) -> u32 {
    inbox.detail_of(id).await.jobs[0].run
}

/// Accepts webhooks with these keys and completes their jobs.
pub(super) async fn completed<H: Harness>(
    inbox: &Inbox<H>,
    keys: impl IntoIterator<Item = String>,
) -> Vec<WebhookId> {
    let mut ids = Vec::new();
    for key in keys {
        ids.push(inbox.ended_webhook(&key, Status::Completed).await.id);
        inbox.advance(milliseconds(1));
    }
    ids
}

pub(super) fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("k{number}"))
}

pub(crate) async fn finished_jobs_run_again_and_keep_their_history<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let mut finished = Vec::new();
    for status in [Status::Completed, Status::DeadLettered, Status::Cancelled] {
        finished.push(inbox.ended_webhook(&status.to_string(), status).await.id);
    }
    let before = inbox.detail_of(finished[0]).await;
    assert_eq!(before.jobs[0].result.as_deref(), Some(r#"{"done":true}"#));
    inbox.accept_for("filtered", []).await;
    inbox.advance(seconds(10));
    // Not before: a job that is due for a while holds the replay up.
    let pending = inbox.accept_new("pending").await;
    let replay = replayed(&inbox, new(everything())).await;
    let counts = ReplayCounts { webhooks: 5, jobs: 3, unfinished: 1, without_jobs: 1, ..Default::default() };
    assert_eq!((replay.state, replay.counts, replay.progress), (ReplayState::Completed, counts, 1.0));
    assert_eq!((replay.number, replay.actor.as_str(), replay.ended_at), (1, "anna", Some(inbox.now())));

    inbox.crash_and_reopen().await;
    for (id, attempts) in finished.iter().zip([1, 1, 0]) {
        let ((job, detail), now) = (inbox.job_of(*id, "default").await, inbox.now());
        assert_eq!((job.status, job.updated_at, detail.available_at), (Status::Pending, now, now));
        assert_eq!((detail.run, detail.uncounted_attempts, detail.completed_at), (2, attempts, None));
        assert_eq!((detail.attempts.len(), detail.result), (attempts as usize, None), "{job:?}");
    }
    assert_eq!(inbox.detail_of(finished[0]).await.jobs[0].attempts, before.jobs[0].attempts);
    assert_eq!(inbox.status_of(pending.id).await, pending, "an unfinished job is left");
    let counted = inbox.counts().await;
    assert_eq!((counted.of(Status::Pending), counted.total()), (4, 5));
    let claimed = inbox.claimed(10).await;
    assert_eq!(claimed.len(), 4);
    for job in &claimed {
        inbox.end(job, Status::Completed).await;
    }
    let after = inbox.detail_of(finished[0]).await;
    let runs = after.jobs[0].attempts.iter().map(|attempt| attempt.run).collect::<Vec<_>>();
    assert_eq!((runs, after.jobs[0].run), (vec![1, 2], 2));
    assert_eq!(after.jobs[0].result.as_deref(), Some(r#"{"done":true}"#));
    assert_eq!(inbox.counts().await.of(Status::Completed), 4);
}

pub(crate) async fn a_job_names_the_replay_that_began_its_run<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let id = completed(&inbox, numbered(1)).await.remove(0);
    let replay_of = async |inbox: &Inbox<H>| inbox.detail_of(id).await.jobs[0].replay;
    assert_eq!(replay_of(&inbox).await, None, "its first run");
    let number = replayed(&inbox, new(everything())).await.number;
    assert_eq!(replay_of(&inbox).await, Some(number));
    inbox.crash_and_reopen().await;
    for ended in [Status::Retrying, Status::DeadLettered] {
        let job = inbox.claim_one().await;
        assert_eq!(replay_of(&inbox).await, Some(number), "while it is processing");
        match ended {
            Status::Retrying => inbox.fail(&job, seconds(0)).await,
            ended => inbox.end(&job, ended).await,
        }
        assert_eq!(replay_of(&inbox).await, Some(number), "{ended}");
    }
    inbox.cancel(id, None).await.expect("cancels a dead letter");
    assert_eq!(replay_of(&inbox).await, Some(number));

    inbox.retry(id, None).await.expect("retries");
    assert_eq!(replay_of(&inbox).await, None, "an operator began the run");
    inbox.cancel(id, None).await.expect("cancels");
    let next = replayed(&inbox, new(everything())).await.number;
    inbox.cancel(id, None).await.expect("cancels a waiting job");
    assert_eq!((next, replay_of(&inbox).await), (number + 1, Some(next)));
    inbox.replay_webhook(id, None).await.expect("runs again");
    assert_eq!(replay_of(&inbox).await, None, "an operator began the run");
}

pub(crate) async fn the_oldest_webhooks_come_first_step_by_step<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(5)).await;
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    for restarted in [2, 4, 5] {
        assert_eq!(inbox.step_replay(2).await.expect("steps"), ReplayStep::Moved);
        let replay = inbox.replay(number).await.expect("is kept");
        assert_eq!((replay.counts.webhooks, replay.counts.jobs), (restarted, restarted));
        for (place, id) in ids.iter().enumerate() {
            let is_restarted = (place as u64) < restarted;
            assert_eq!(run_of(&inbox, *id).await, 1 + u32::from(is_restarted), "{place} of {restarted}");
        }
        if restarted < 5 {
            assert_eq!(replay.looked_to, ids[restarted as usize - 1].time());
            assert!(replay.progress > 0.0 && replay.progress < 1.0, "{replay:?}");
        }
    }
    assert_eq!(inbox.replay(number).await.expect("is kept").state, ReplayState::Completed);
    assert_eq!(inbox.step_replay(2).await.expect("answers"), ReplayStep::Idle);
}

pub(crate) async fn a_replay_goes_on_after_a_crash_and_restarts_each_job_once<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(7)).await;
    let started = inbox.start_replay(new(everything())).await.expect("starts");
    let mut steps = 0;
    while inbox.replay(started.number).await.expect("is kept").state == ReplayState::Running {
        inbox.step_replay(2).await.expect("steps");
        steps += 1;
        assert!(steps <= 4, "the steps go on where they were");
        inbox.crash_and_reopen().await;
    }
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [2; 7]);
    let replay = inbox.replay(started.number).await.expect("is kept");
    assert_eq!((replay.counts.jobs, replay.started_at), (7, started.started_at));
}

pub(crate) async fn concurrent_steps_restart_each_job_once<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(40)).await;
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    let tasks = (0..4).map(|_| {
        let store = inbox.shared();
        tokio::spawn(async move {
            while store.replay(number).await.expect("is kept").state == ReplayState::Running {
                store.step_replay(3).await.expect("steps");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("ran");
    }
    assert_eq!(inbox.replay(number).await.expect("is kept").counts.jobs, 40);
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [2; 40]);
}

pub(crate) async fn one_replay_runs_at_a_time<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    completed(&inbox, numbered(1)).await;
    let first = inbox.start_replay(new(everything())).await.expect("starts");
    assert_eq!(refused(inbox.start_replay(new(everything())).await), Reason::ReplayRunning);
    let dry_run = NewReplay { dry_run: true, ..new(everything()) };
    assert_eq!(refused(inbox.start_replay(dry_run).await), Reason::ReplayRunning);
    run(&inbox, first.number, ALL).await;
    let starting = (0..8).map(|_| inbox.start_replay(new(everything())));
    let started = join_all(starting).await.into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(started.iter().map(|replay| replay.number).collect::<Vec<_>>(), [2]);
}

pub(crate) async fn a_cancelled_replay_stops_and_what_it_restarted_runs<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let ids = completed(&inbox, numbered(3)).await;
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    inbox.step_replay(1).await.expect("steps");
    inbox.advance(seconds(1));
    let cancelled = inbox.cancel_replay(number).await.expect("cancels");
    assert!(cancelled.changed);
    let cancelled = cancelled.replay;
    assert_eq!((cancelled.state, cancelled.ended_at), (ReplayState::Cancelled, Some(inbox.now())));
    assert_eq!(inbox.step_replay(1).await.expect("answers"), ReplayStep::Idle);
    let runs = join_all(ids.iter().map(|id| run_of(&inbox, *id))).await;
    assert_eq!(runs, [2, 1, 1]);
    inbox.advance(seconds(1));
    let again = inbox.cancel_replay(number).await.expect("answers");
    assert!(!again.changed);
    assert_eq!((again.replay.state, again.replay.ended_at), (cancelled.state, cancelled.ended_at));

    inbox.claim_one().await;
    let second = replayed(&inbox, new(everything())).await;
    assert_eq!((second.counts.jobs, second.counts.unfinished), (2, 1));
    assert_eq!(refused(inbox.cancel_replay(second.number).await), Reason::WrongStatus);
    for unknown in [3, u64::MAX] {
        assert_eq!(refused(inbox.cancel_replay(unknown).await), Reason::ReplayNotFound);
        assert_eq!(refused(inbox.replay(unknown).await), Reason::ReplayNotFound);
    }
}

pub(crate) async fn a_dry_run_counts_and_changes_nothing<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(4).await;
    let ids = completed(&inbox, numbered(3)).await;
    inbox.accept_new("pending 1").await;
    inbox.accept_new("pending 2").await;
    let before = inbox.everything().await;
    // Neither the rate nor the backlog matters.
    let rate = Some("1/h".parse().expect("a rate"));
    let dry_run = replayed(&inbox, NewReplay { dry_run: true, rate, ..new(everything()) }).await;
    let counts = ReplayCounts { webhooks: 5, jobs: 3, unfinished: 2, ..Default::default() };
    assert_eq!((dry_run.dry_run, dry_run.counts), (true, counts));
    assert_eq!(inbox.everything().await, before);
    assert_eq!(run_of(&inbox, ids[0]).await, 1);
}

pub(crate) async fn webhooks_accepted_after_the_start_are_left<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    let before = completed(&inbox, ["before".to_owned()]).await;
    let number = inbox.start_replay(new(everything())).await.expect("starts").number;
    let after = completed(&inbox, ["after".to_owned()]).await;
    run(&inbox, number, ALL).await;
    assert_eq!(inbox.replay(number).await.expect("is kept").counts.webhooks, 1);
    assert_eq!((run_of(&inbox, before[0]).await, run_of(&inbox, after[0]).await), (2, 1));
}

pub(crate) async fn ordered_jobs_run_again_in_their_order<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    for key in ["1", "2", "3"] {
        inbox.accept_for(key, [ordered("default", "a")]).await;
        let job = inbox.claim_one().await;
        let next = if key == "2" { Status::DeadLettered } else { Status::Completed };
        inbox.end(&job, next).await;
        if next == Status::DeadLettered {
            inbox.cancel(job.lease.job.webhook, None).await.expect("gives up");
        }
    }
    inbox.accept_for("4", [ordered("default", "a")]).await;
    assert_eq!(replayed(&inbox, new(everything())).await.counts.jobs, 3);
    for key in ["1", "2", "3", "4"] {
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), key);
        inbox.end(&job, Status::Completed).await;
    }
    inbox.claim_nothing().await;
}

pub(crate) async fn a_replayed_dead_letter_frees_the_jobs_behind_it<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept_for("dead", [ordered("default", "a")]).await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;
    inbox.accept_for("behind", [ordered("default", "a")]).await;
    inbox.claim_nothing().await;
    inbox.advance(seconds(60));
    assert_eq!(replayed(&inbox, new(of_status([Status::DeadLettered]))).await.counts.jobs, 1);
    for key in ["dead", "behind"] {
        let job = inbox.claim_one().await;
        assert_eq!(job.idempotency_key.as_str(), key);
        inbox.end(&job, Status::Completed).await;
    }
}

pub(crate) async fn one_webhook_is_replayed<H: Harness>() {
    let inbox = Inbox::<H>::with_routes(["a", "b"].map(policy)).await;
    let id = inbox.accept_for("k", ["a", "b"].map(job)).await.id;
    for status in [Status::Completed, Status::DeadLettered, Status::Cancelled] {
        for job in inbox.claimed(2).await {
            inbox.end(&job, if status == Status::Cancelled { Status::DeadLettered } else { status }).await;
        }
        if status == Status::Cancelled {
            inbox.cancel(id, None).await.expect("gives up");
        }
        let answered = inbox.replay_webhook(id, Some(route("a"))).await.expect("replays");
        let found = answered.jobs.iter().map(|job| (job.route.as_str(), job.status)).collect::<Vec<_>>();
        assert_eq!(found, [("a", Status::Pending), ("b", status)]);
        let answered = inbox.replay_webhook(id, None).await.expect("replays the other");
        assert_eq!(inbox.status_of(id).await, answered);
        assert!(answered.jobs.iter().all(|job| job.status == Status::Pending));
        assert_eq!(refused(inbox.replay_webhook(id, None).await), Reason::WrongStatus, "nothing is finished");
    }
    assert_eq!(run_of(&inbox, id).await, 4);
    assert_eq!(refused(inbox.replay_webhook(id, Some(route("c"))).await), Reason::RouteNotFound);
    let unknown = WebhookId::from_bytes([7; 16]);
    assert_eq!(refused(inbox.replay_webhook(unknown, None).await), Reason::WebhookNotFound);
    let filtered = inbox.accept_for("filtered", []).await.id;
    assert_eq!(refused(inbox.replay_webhook(filtered, None).await), Reason::WrongStatus);
}

pub(crate) async fn replays_are_kept_and_listed_newest_first<H: Harness>() {
    let mut inbox = Inbox::<H>::new().await;
    assert!(inbox.replays(None, 10).await.expect("lists").is_empty());
    completed(&inbox, numbered(1)).await;
    let filter = ReplayFilter {
        statuses: BTreeSet::from([Status::Completed, Status::Cancelled]),
        route: Some(route("default")),
        source: Some(source("default")),
        accepted_after: Some(inbox.now() - seconds(3600)),
        accepted_before: Some(inbox.now()),
        ..ReplayFilter::default()
    };
    for number in 1..=3 {
        let started = inbox.start_replay(new(filter.clone())).await.expect("starts");
        assert_eq!(started.number, number);
        run(&inbox, number, ALL).await;
    }
    inbox.crash_and_reopen().await;
    let numbers = async |before, limit| {
        let found = inbox.replays(before, limit).await.expect("lists");
        found.into_iter().map(|replay| replay.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(None, 10).await, [3, 2, 1]);
    assert_eq!(numbers(None, 2).await, [3, 2]);
    assert_eq!(numbers(Some(2), 2).await, [1]);
    let kept = inbox.replay(2).await.expect("is kept");
    assert_eq!(kept.filter, filter);
}

pub(crate) async fn restarted_jobs_wake_the_dispatcher<H: Harness>() {
    let inbox = Inbox::<H>::new().await;
    inbox.accept(webhook("k"), default_job()).await.expect("accepted");
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    let wake = std::sync::Arc::new(tokio::sync::Notify::new());
    inbox.on_due(std::sync::Arc::clone(&wake));
    replayed(&inbox, new(everything())).await;
    tokio::time::timeout(seconds(10), wake.notified()).await.expect("is woken");
}
