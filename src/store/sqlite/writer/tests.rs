use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::error::Reason;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::Source;
use crate::store::sqlite::command::Command;
use crate::store::sqlite::fixture::{self, job, policy, webhook};
use crate::store::{Inbox as _, Store as _};

/// The time after which a test is considered to hang.
const LIMIT: Duration = Duration::from_secs(30);

async fn within_limit(test: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, test).await.expect("the test ends within the limit");
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH))
}

#[tokio::test]
async fn commands_enqueued_during_shutdown_get_an_error() {
    within_limit(async {
        let (_folder, store) = fixture::open([], clock()).await;
        let queue = &store.writer.queue;
        let place = queue.reserve().await.expect("is open");
        store.writer.stop().await;
        queue.closed().await;
        let (reply, answer) = oneshot::channel();
        place.send(Message::Command(Box::new(Work::new(|_: &mut Transaction<'_>| Ok(()), reply))));
        answer.await.expect_err("gets no reply");
        assert_eq!(store.writer.unanswered().reason(), Reason::ShuttingDown);
    })
    .await;
}

#[tokio::test]
async fn a_command_that_panics_gets_an_error_and_the_others_of_its_batch_are_stored() {
    within_limit(async {
        let (folder, store) = fixture::open([policy("a")], clock()).await;
        // Holds the writer until the other commands are enqueued, so that they share a batch.
        let (gate, opened) = std::sync::mpsc::channel::<()>();
        let held = store.writer.run(move |_: &mut Transaction<'_>| {
            let _ = opened.recv();
            Ok(())
        });
        let panicking =
            store.writer.run(|transaction: &mut Transaction<'_>| -> std::result::Result<(), Refusal> {
                let queue = transaction.queue(&RouteName::new("b")?, &Source::default())?;
                transaction.context.memory.counts.add(queue, Status::Pending);
                panic!("a bug of a command");
            });
        let stored = store.accept(webhook("1"), vec![job("a", None)]);
        let (held, panicked, stored, ()) = tokio::join!(held, panicking, stored, async { drop(gate) });
        held.expect("runs");
        let error = panicked.expect_err("has panicked");
        assert_eq!(error.reason(), Reason::Internal);
        assert!(crate::domain::error::causes(&error).contains("a bug of a command"), "the log has the panic");
        assert!(!stored.expect("is stored").duplicate);

        store.accept(webhook("2"), vec![job("a", None)]).await.expect("is stored");
        let stats = store.stats().await.expect("reads");
        assert_eq!((stats.queues.len(), stats.counts().of(Status::Pending)), (1, 2));
        store.close().await;
        let store = fixture::open_in(&folder, [policy("a")], clock()).await;
        assert_eq!(store.stats().await.expect("reads").counts().of(Status::Pending), 2);
        store.close().await;
    })
    .await;
}

/// A command that panics while its result is sent.
struct PanicsAfterCommit {
    _reply: oneshot::Sender<()>,
}

impl Command for PanicsAfterCommit {
    fn run(&mut self, _: &mut Transaction<'_>) -> std::result::Result<(), QueryError> {
        Ok(())
    }

    fn committed(self: Box<Self>) {
        panic!("a bug behind a commit");
    }

    fn failed(self: Box<Self>, _: Error) {}
}

#[tokio::test]
async fn the_writer_goes_on_after_a_panic_behind_a_commit() {
    within_limit(async {
        let (_folder, store) = fixture::open([policy("a")], clock()).await;
        let (reply, answer) = oneshot::channel();
        let command = Message::Command(Box::new(PanicsAfterCommit { _reply: reply }));
        store.writer.send(command).await.expect("is open");
        answer.await.expect_err("gets no reply");
        assert_eq!(store.writer.unanswered().reason(), Reason::Internal);

        store.accept(webhook("1"), vec![job("a", None)]).await.expect("is stored");
        assert_eq!(store.stats().await.expect("reads").counts().of(Status::Pending), 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_stop_after_a_fault_ends_with_a_new_connection() {
    within_limit(async {
        let time = clock();
        let (folder, store) = fixture::open([policy("a")], Arc::clone(&time) as _).await;
        time.advance(jiff::SignedDuration::from_secs(10));
        let panicking =
            |_: &mut Transaction<'_>| -> std::result::Result<(), Refusal> { panic!("a bug of a command") };
        store.writer.run(panicking).await.expect_err("has panicked");
        store.close().await;
        let mut connection = connection::open_reader(&folder.path().join("inbox.db")).expect("opens");
        let noted = time_of_day::TimeOfDay::load(&mut connection).expect("reads");
        assert_eq!(noted.seen_at, 10_000, "the stop has noted the time");
    })
    .await;
}
