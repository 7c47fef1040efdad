//! Requests and their answers. A connection does not keep its place for a request while hookbox waits for the client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::answers::Turn;
use super::rounds::Rounds;
use super::{Activity, Connection};
use crate::domain::error::Result;

/// The requests of a connection whose response is not written yet, and those of them with which hookbox waits for the
/// client. One number has both, so that a request that begins is never seen as one of them only.
#[derive(Debug, Default)]
pub(super) struct Requests(AtomicU64);

impl Requests {
    const ONE: u64 = 1 << 32;
    const WAITING: u64 = 1;

    /// How many there are, and with how many of them hookbox waits for the client.
    pub(super) fn counts(&self) -> (u64, u64) {
        let counts = self.0.load(Ordering::Relaxed);
        (counts / Self::ONE, counts % Self::ONE)
    }

    fn add(&self, counts: u64) {
        self.0.fetch_add(counts, Ordering::Relaxed);
    }

    fn remove(&self, counts: u64) {
        self.0.fetch_sub(counts, Ordering::Relaxed);
    }
}

/// A request of a connection, and its answer.
#[derive(Clone, Debug)]
pub struct Exchange(Arc<State>);

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Locked while the counts of the connection change, so that each change shows as a whole.
    waits: Mutex<Waits>,
}

#[derive(Debug)]
struct Waits {
    /// For how many reasons hookbox waits for the client.
    reasons: u32,
    /// The response is written, or given up. What is left of the request counts no more: another request of the
    /// connection may be in work.
    have_ended: bool,
}

impl Waits {
    /// What they add to the counts of the connection.
    fn count(&self) -> u64 {
        if self.reasons > 0 && !self.have_ended { Requests::WAITING } else { 0 }
    }
}

impl Exchange {
    /// Notes that a request has begun.
    pub(super) fn begin(connection: Connection) -> (InProgress, Arriving) {
        let waits = Mutex::new(Waits { reasons: 1, have_ended: false });
        let exchange = Self(Arc::new(State { connection, waits }));
        exchange.activity().requests.add(Requests::ONE + Requests::WAITING);
        exchange.activity().progress.begin();
        (InProgress(exchange.clone()), Arriving(Waiting(exchange)))
    }

    /// The connection of the request.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Waits until a large answer may be built. Call it after the request has arrived, so that a slow client does not
    /// hold a turn. Errors: `StoreUnavailable` if there is no memory for answers.
    pub async fn turn(&self) -> Result<Turn> {
        // If others of its answers are in the way, the client has to take them, unless they are being made.
        let waiting = self.wait();
        let of_connection = Arc::clone(&self.activity().turns).acquire_owned().await.ok();
        drop(waiting);
        self.0.connection.shared.answers.turn(of_connection).await
    }

    /// Notes that hookbox waits for the client, until the value is dropped.
    pub fn wait(&self) -> Waiting {
        let mut waits = self.waits();
        let before = waits.count();
        waits.reasons += 1;
        self.activity().requests.add(waits.count() - before);
        drop(waits);
        Waiting(self.clone())
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.0.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn activity(&self) -> &Activity {
        &self.0.connection.activity
    }
}

/// A request whose response is not written yet.
#[derive(Debug)]
pub struct InProgress(Exchange);

impl InProgress {
    /// The request, and its answer.
    pub fn exchange(&self) -> &Exchange {
        &self.0
    }

    /// The connection of the request.
    pub fn connection(&self) -> &Connection {
        self.0.connection()
    }

    pub(super) fn rounds(&self) -> &Rounds {
        &self.0.activity().rounds
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut waits = self.0.waits();
        self.0.activity().requests.remove(Requests::ONE + waits.count());
        waits.have_ended = true;
        drop(waits);
        self.connection().note();
    }
}

/// A request that has not arrived: a reason for which hookbox waits for its client. Dropped once the request is here, or
/// the rest of it is not needed. If hookbox answers earlier, and reads the rest nevertheless, it is still arriving.
#[derive(Debug)]
pub struct Arriving(Waiting);

impl Arriving {
    /// Notes that a message has arrived, of a request that goes on: its client is not slow.
    pub fn message_arrived(&self) {
        self.0.0.activity().progress.message();
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.0.0.activity().progress.end();
    }
}

/// A reason for which hookbox waits for the client of a request: its body has not arrived, or a part of the answer is not
/// taken. Also kept for a request that needs no token and whose answer may last.
#[derive(Debug)]
pub struct Waiting(Exchange);

impl Waiting {
    /// Notes that the client has taken more: the connection is not quiet.
    pub fn goes_on(&self) {
        self.0.connection().note();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.0.waits();
        let before = waits.count();
        waits.reasons -= 1;
        self.0.activity().requests.remove(before - waits.count());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use futures::FutureExt as _;
    use tokio::time::Instant;

    use super::*;
    use crate::connections::Connections;
    use crate::connections::answers::TURNS_OF_CONNECTION;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_connection_keeps_its_place_while_one_of_its_requests_is_processed() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (waited_for, arriving) = connection.begin();
        let _twice = (arriving, waited_for.exchange().wait());
        let (being_made, arriving) = connection.begin();
        drop(arriving);
        assert!(connections.admit(CLIENT, Instant::now()).is_none(), "one of two answers is being made");
        let _untaken = being_made.exchange().wait();
        assert!(connections.admit(CLIENT, Instant::now()).is_some(), "both wait for the client");
    }

    #[tokio::test]
    async fn what_is_left_of_a_request_that_has_ended_does_not_count_for_another_one() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (ended, _arriving) = connection.begin();
        let (_being_made, arriving) = connection.begin();
        drop((ended, arriving));
        assert!(connections.admit(CLIENT, Instant::now()).is_none(), "one answer is being made");
    }

    #[tokio::test]
    async fn a_refused_request_counts_as_arriving_until_its_rest_is_read() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (refused, rest) = connection.begin();
        let (waited_for, arriving) = connection.begin();
        let _untaken = waited_for.exchange().wait();
        drop((refused, arriving));
        assert!(connection.is_arriving(), "the rest of the refused request is read");
        drop(rest);
        assert!(!connection.is_arriving(), "an answer is not taken");
    }

    #[tokio::test]
    async fn a_connection_with_unread_answers_waits_alone_and_can_be_closed() {
        let connections = Connections::new(2);
        let admit = || connections.admit(CLIENT, Instant::now());
        let (_place, lazy, _closed) = admit().expect("a place");
        let (_other_place, other, _other_closed) = admit().expect("a place");
        let begin = |connection: &Connection| connection.begin().0;
        let mut untaken = Vec::new();
        for _ in 0..TURNS_OF_CONNECTION {
            let in_progress = begin(&lazy);
            let turn = in_progress.exchange().turn().await.expect("a turn");
            let room = lazy.room(1, turn).await.expect("room");
            untaken.push((room, in_progress.exchange().wait(), in_progress));
        }
        let (further, of_other) = (begin(&lazy), begin(&other));
        assert!(of_other.exchange().turn().now_or_never().is_some());
        assert!(admit().is_none(), "hookbox works for both");
        let mut waiting = Box::pin(further.exchange().turn());
        assert!((&mut waiting).now_or_never().is_none());
        assert!(admit().is_some(), "hookbox waits for the client of one of them");
        untaken.pop();
        assert!((&mut waiting).now_or_never().is_some(), "a turn is free again");
    }
}
