//! Takes commands out of the writer's queue, one batch at a time.
//!
//! Large webhooks are set aside, and so are other commands that store many bytes, such as the webhooks of one request.
//! Each batch takes everything else that is enqueued, and a limited number of bytes of what was set aside. So other
//! commands wait for a few large ones at most, and large ones move on with every batch.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::domain::error::Error;
use crate::store::acceptance::queue_full;
use crate::store::fitting::{LARGE_BYTES, fitting};
use crate::store::sqlite::accept::Accept;
use crate::store::sqlite::command::{Batch, Message, Storing};

/// Maximum number of commands in one transaction, beside large ones. Bounds how long the first command waits
/// for the last.
const BATCH_COMMANDS: usize = 1_024;

/// From this number of bytes of payloads on, a transaction takes no more commands.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Maximum number of bytes of the large payloads in one transaction, or one large command.
const LARGE_BATCH_BYTES: usize = 1024 * 1024;

/// The receiving end of the writer's queue.
pub(super) struct Queue {
    messages: mpsc::Receiver<Message>,
    /// The large commands that were taken out of `messages`, oldest first.
    large: VecDeque<Large>,
    /// The capacity of `large`. When it is full, large commands are refused.
    most_large: usize,
    is_stopped: bool,
}

/// A command that was set aside.
enum Large {
    Webhook(Box<Accept>),
    Other(Storing),
}

impl Large {
    fn bytes(&self) -> usize {
        match self {
            Self::Webhook(accept) => accept.bytes(),
            Self::Other(storing) => storing.bytes,
        }
    }

    fn join(self, batch: &mut Batch) {
        match self {
            Self::Webhook(accept) => batch.accept(*accept),
            Self::Other(storing) => batch.store(storing),
        }
    }

    fn failed(self, error: Error) {
        match self {
            Self::Webhook(accept) => accept.failed(error),
            Self::Other(storing) => storing.command.failed(error),
        }
    }
}

impl Queue {
    /// At most `most_large` large commands wait at the same time; at least one has to be allowed.
    pub(super) fn new(messages: mpsc::Receiver<Message>, most_large: usize) -> Self {
        Self { messages, large: VecDeque::new(), most_large, is_stopped: false }
    }

    /// Returns the next batch, which is not empty. Waits until something is enqueued. Returns `None` when the writer
    /// has to end: everything that was enqueued before the stop has been returned.
    pub(super) fn next_batch(&mut self) -> Option<Batch> {
        let mut batch = Batch::default();
        if self.large.is_empty() && !self.is_stopped {
            let first = self.messages.blocking_recv()?;
            self.sort(first, &mut batch);
        }
        // Lets other ready threads run first. On busy cores more of their commands join this batch; on
        // idle cores the call returns immediately.
        std::thread::yield_now();
        // Bounded, because large commands that are refused do not fill the batch, but others may follow as fast.
        for _ in 0..self.messages.max_capacity() {
            let is_full = batch.len() >= BATCH_COMMANDS || batch.bytes() >= BATCH_BYTES;
            if is_full || self.is_stopped {
                break;
            }
            let Ok(message) = self.messages.try_recv() else { break };
            self.sort(message, &mut batch);
        }
        if !self.large.is_empty() {
            let some = fitting(self.large.iter().map(Large::bytes), LARGE_BATCH_BYTES);
            self.large.drain(..some).for_each(|large| large.join(&mut batch));
        }
        (batch.len() > 0).then_some(batch)
    }

    /// Adds a small command to the batch, and sets a large one aside.
    fn sort(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Accept(small) if small.bytes() <= LARGE_BYTES => batch.accept(*small),
            Message::Accept(large) => self.set_aside(Large::Webhook(large)),
            Message::Store(small) if small.bytes <= LARGE_BYTES => batch.store(small),
            Message::Store(large) => self.set_aside(Large::Other(large)),
            Message::Command(command) => batch.commands.push(command),
            Message::Stop => self.is_stopped = true,
        }
    }

    fn set_aside(&mut self, large: Large) {
        if self.large.len() < self.most_large {
            self.large.push_back(large);
        } else {
            large.failed(queue_full(self.most_large));
        }
    }

    /// Ends the queue. Commands behind the stop get an error, because their reply channel is dropped. The queue is
    /// read to its end: otherwise a command that is being enqueued at this moment would never get a reply.
    pub(super) fn close(mut self) {
        self.messages.close();
        while self.messages.blocking_recv().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::domain::conflict::OnConflict;
    use crate::domain::error::{Reason, Result};
    use crate::domain::payload::Payload;
    use crate::domain::webhook::NewWebhook;
    use crate::store::sqlite::command::Work;
    use crate::store::sqlite::fixture;
    use crate::store::sqlite::transaction::Transaction;
    use crate::store::{Accepted, Submission};

    type Answer = oneshot::Receiver<Result<Accepted>>;

    /// A queue in which at most two large webhooks wait.
    fn queue() -> (mpsc::Sender<Message>, Queue) {
        let (sender, messages) = mpsc::channel(256);
        (sender, Queue::new(messages, 2))
    }

    /// A payload of this many bytes.
    fn payload(bytes: usize) -> Payload {
        Payload::new(format!("\"{}\"", "x".repeat(bytes - 2))).expect("valid")
    }

    /// Enqueues webhooks with this payload.
    fn enqueue(sender: &mpsc::Sender<Message>, webhooks: usize, payload: &Payload) -> Vec<Answer> {
        let enqueue_one = |_| {
            let webhook = NewWebhook { payload: payload.clone(), ..fixture::webhook("k") };
            let (reply, answer) = oneshot::channel();
            let submission = Submission { webhook, jobs: Vec::new() };
            let accept = Accept::new(submission, OnConflict::default(), reply);
            sender.try_send(Message::Accept(Box::new(accept))).expect("has room");
            answer
        };
        (0..webhooks).map(enqueue_one).collect()
    }

    /// Enqueues a command that stores this many bytes.
    fn enqueue_storing(sender: &mpsc::Sender<Message>, bytes: usize) -> oneshot::Receiver<Result<()>> {
        let (reply, answer) = oneshot::channel();
        let storing =
            Storing { command: Box::new(Work::new(|_: &mut Transaction<'_>| Ok(()), reply)), bytes };
        sender.try_send(Message::Store(storing)).expect("has room");
        answer
    }

    /// The number of commands and of bytes of each batch, until the queue ends.
    fn batches(queue: &mut Queue) -> Vec<(usize, usize)> {
        std::iter::from_fn(|| queue.next_batch()).map(|batch| (batch.len(), batch.bytes())).collect()
    }

    #[test]
    fn a_batch_takes_every_other_command_and_a_limited_number_of_bytes_of_large_webhooks() {
        let (sender, messages) = mpsc::channel(256);
        let mut queue = Queue::new(messages, 5);
        let (large, small) = (payload(400 * 1024), payload(10));
        enqueue(&sender, 5, &large);
        enqueue(&sender, 3, &small);
        let (reply, _answer) = oneshot::channel();
        let command = Message::Command(Box::new(Work::new(|_: &mut Transaction<'_>| Ok(()), reply)));
        sender.try_send(command).expect("has room");
        drop(sender);
        assert_eq!(batches(&mut queue), [(6, 800 * 1024 + 30), (2, 800 * 1024), (1, 400 * 1024)]);
    }

    #[test]
    fn large_requests_wait_beside_small_webhooks_and_are_taken_one_at_a_time() {
        let (sender, messages) = mpsc::channel(256);
        let mut queue = Queue::new(messages, 3);
        let large = LARGE_BATCH_BYTES + 1;
        let _answers = [large, large, LARGE_BYTES + 1].map(|bytes| enqueue_storing(&sender, bytes));
        let mut refused = enqueue_storing(&sender, large);
        let _small = enqueue_storing(&sender, LARGE_BYTES);
        enqueue(&sender, 3, &payload(10));
        drop(sender);
        let first = (5, large + LARGE_BYTES + 30);
        assert_eq!(batches(&mut queue), [first, (1, large), (1, LARGE_BYTES + 1)]);
        let refusal = refused.try_recv().expect("is answered").expect_err("three wait already");
        assert_eq!(refusal.reason(), Reason::BacklogFull);
    }

    #[test]
    fn a_webhook_that_is_larger_than_a_batch_is_taken_alone() {
        let (sender, mut queue) = queue();
        enqueue(&sender, 2, &payload(LARGE_BATCH_BYTES + 1));
        drop(sender);
        assert_eq!(batches(&mut queue), [(1, LARGE_BATCH_BYTES + 1); 2]);
    }

    #[test]
    fn a_batch_takes_a_limited_number_of_bytes_of_small_webhooks() {
        let (sender, mut queue) = queue();
        let most = BATCH_BYTES / LARGE_BYTES;
        enqueue(&sender, most + 2, &payload(LARGE_BYTES));
        drop(sender);
        assert_eq!(batches(&mut queue), [(most, BATCH_BYTES), (2, 2 * LARGE_BYTES)]);
    }

    #[test]
    fn large_webhooks_beyond_their_limit_are_refused() {
        let (sender, mut queue) = queue();
        let mut answers = enqueue(&sender, 3, &payload(LARGE_BYTES + 1));
        drop(sender);
        assert_eq!(batches(&mut queue), [(2, 2 * (LARGE_BYTES + 1))]);
        let refusal = answers[2].try_recv().expect("is answered").expect_err("is refused");
        assert_eq!(refusal.reason(), Reason::BacklogFull);
        assert!(refusal.retry_delay().is_some(), "the error says when to retry");
    }

    #[test]
    fn all_commands_before_the_stop_are_taken_and_none_behind_it() {
        let (sender, mut queue) = queue();
        let (large, small) = (payload(600 * 1024), payload(10));
        enqueue(&sender, 2, &large);
        enqueue(&sender, 1, &small);
        sender.try_send(Message::Stop).expect("has room");
        let mut behind = enqueue(&sender, 1, &small);
        assert_eq!(batches(&mut queue), [(2, 600 * 1024 + 10), (1, 600 * 1024)]);
        queue.close();
        behind[0].try_recv().expect_err("gets no reply");
        assert!(sender.is_closed());
    }
}
