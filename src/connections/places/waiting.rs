//! Limits with how many requests hookbox waits for clients, over all connections.
//!
//! Each has a head, and up to 16 KiB of a body or an answer for which no memory is reserved. Over HTTP/2 a connection has
//! up to 200. A common count would cost every request something, so the counts of the connections are added up now and
//! then.

use std::time::Duration;

use super::Places;
use crate::connections::Connections;
use crate::telemetry::repeated::Repeated;

/// The most requests with which hookbox waits for clients, beside the first of each connection.
const MAX_WAITING: u64 = 4_096;

/// How often they are counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

static TOO_MANY: Repeated = Repeated::new("few requests wait for their clients again");

impl Connections {
    /// Closes connections while hookbox waits with too many requests for clients. Never ends.
    pub async fn limit_waiting(self) {
        loop {
            tokio::time::sleep(COUNT_EVERY).await;
            self.0.lock().limit_waiting();
        }
    }
}

impl Places {
    /// If hookbox waits with more than [`MAX_WAITING`] requests for clients, closes the connections with the most of them.
    fn limit_waiting(&mut self) {
        let mut waiting = Vec::new();
        for (number, (connection, _)) in &self.connections {
            let (_, of_connection) = connection.activity.requests.counts();
            if of_connection > 1 {
                waiting.push((of_connection - 1, *number));
            }
        }
        let mut left: u64 = waiting.iter().map(|(further, _)| *further).sum();
        if left <= MAX_WAITING {
            TOO_MANY.works();
            return;
        }
        waiting.sort_unstable();
        let before = waiting.len();
        while left > MAX_WAITING
            && let Some((further, number)) = waiting.pop()
        {
            self.free(number);
            left -= further;
        }
        let closed = before - waiting.len();
        TOO_MANY.failed(|times| {
            tracing::warn!(
                times,
                connections = closed,
                "too many requests wait for their clients; closing the connections with the most of them"
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;
    use crate::connections::{Arriving, InProgress, Place};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    struct Admitted {
        _place: Place,
        _requests: Vec<(InProgress, Option<Arriving>)>,
        closed: oneshot::Receiver<Infallible>,
    }

    impl Admitted {
        fn is_closed(&mut self) -> bool {
            self.closed.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        }
    }

    /// A connection with requests that hookbox works on, or that have not arrived.
    fn admit(connections: &Connections, requests: usize, have_arrived: bool) -> Admitted {
        let (place, connection, closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let request = |_| {
            let (in_progress, arriving) = connection.begin();
            (in_progress, (!have_arrived).then_some(arriving))
        };
        Admitted { _place: place, _requests: (0..requests).map(request).collect(), closed }
    }

    #[tokio::test]
    async fn above_the_limit_the_connections_with_the_most_waiting_requests_are_closed() {
        let connections = Connections::new(100);
        let mut honest =
            [admit(&connections, 200, true), admit(&connections, 10, false), admit(&connections, 1, false)];
        let mut hostile: Vec<_> = (0..20).map(|_| admit(&connections, 200, false)).collect();
        connections.0.lock().limit_waiting();
        assert!(!hostile.iter_mut().any(Admitted::is_closed), "20 x 199 and 9 wait");
        hostile.push(admit(&connections, 199, false));
        connections.0.lock().limit_waiting();
        let closed = hostile.iter_mut().filter_map(|admitted| admitted.is_closed().then_some(())).count();
        assert_eq!(closed, 1, "20 x 199, 198 and 9 wait");
        assert!(!honest.iter_mut().any(Admitted::is_closed));
    }
}
