//! The backlog: the number of unfinished jobs is limited.

use futures::future::join_all;
use hookbox::internals::domain::error::Reason;
use hookbox::internals::domain::job::Status;

use crate::store::harness::Harness;
use crate::store::inbox::{Inbox, refused, seconds, webhook, webhook_with};
use crate::store::routes::default_job;

pub(crate) async fn a_full_backlog_refuses_new_webhooks_and_answers_duplicates<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(2).await;
    inbox.accept_new("a").await;
    let b = inbox.accept_new("b").await;

    let refusal = inbox.submit(webhook("c")).await.expect_err("refused");
    assert_eq!(refusal.reason(), Reason::BacklogFull);
    assert!(refusal.retry_delay().is_some(), "the error says when to retry");
    assert_eq!(inbox.submit(webhook("b")).await.expect("answered").webhook, b);
    assert_eq!(refused(inbox.submit(webhook_with("b", "2")).await), Reason::KeyReused);
    assert_eq!(inbox.everything().await.len(), 2);
}

pub(crate) async fn a_job_counts_toward_the_backlog_until_it_is_finished<H: Harness>() {
    let mut inbox = Inbox::<H>::with_backlog(1).await;
    let is_full =
        async |inbox: &Inbox<H>| refused(inbox.submit(webhook("next")).await) == Reason::BacklogFull;

    inbox.accept_new("a").await;
    let job = inbox.claim_one().await;
    assert!(is_full(&inbox).await, "a running job");
    inbox.fail(&job, seconds(10)).await;
    assert!(is_full(&inbox).await, "a retrying job is unfinished");
    inbox.crash_and_reopen().await;
    assert!(is_full(&inbox).await, "the backlog is still full after a restart");
    inbox.advance(seconds(10));
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::DeadLettered).await;

    let b = inbox.accept_new("b").await;
    assert!(is_full(&inbox).await);
    inbox.cancel(b.id, None).await.expect("cancels");

    inbox.accept_new("c").await;
    let job = inbox.claim_one().await;
    inbox.end(&job, Status::Completed).await;
    inbox.accept_new("d").await;
    assert!(is_full(&inbox).await);
}

pub(crate) async fn concurrent_webhooks_do_not_exceed_the_backlog_limit<H: Harness>() {
    let inbox = Inbox::<H>::with_backlog(10).await;
    let keys = (0..64).map(|number| number.to_string()).collect::<Vec<_>>();
    let tasks = keys.iter().cloned().map(|key| {
        let store = inbox.shared();
        tokio::spawn(async move { store.accept(webhook(&key), default_job()).await })
    });
    let answers = join_all(tasks).await.into_iter().map(|answer| answer.expect("ran"));

    let refusals = answers.filter_map(Result::err).map(|error| error.reason()).collect::<Vec<_>>();
    assert_eq!(refusals, [Reason::BacklogFull; 54]);
    assert_eq!(inbox.everything().await.len(), 10);
}
