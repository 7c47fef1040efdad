//! Closes connections without a request when hookbox stops.
//!
//! The servers wait for their connections, and close those that are idle. That leaves clients that have sent a part of a
//! head, or of the preface of HTTP/2, and clients of HTTP/2 that do not answer when the server says goodbye.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Places;
use crate::connections::Connections;

/// How long a connection may be without a request at the stop: until the rest of a head has arrived, or what is left of
/// an answer is sent.
const GRACE: Duration = Duration::from_secs(1);

/// A connection without a request: its number, and its last event.
type Idle = (u64, u64);

impl Connections {
    /// Once hookbox stops, closes connections that are without a request for [`GRACE`], at most twice as late. Never
    /// ends.
    pub async fn close_idle(self, stopping: Arc<CancellationToken>) {
        stopping.cancelled().await;
        let mut idle = HashSet::new();
        loop {
            idle = self.0.lock().close_idle(&idle);
            tokio::time::sleep(GRACE).await;
        }
    }
}

impl Places {
    /// Closes the connections that were idle `before`, and have been since. Returns those that are idle now.
    fn close_idle(&mut self, before: &HashSet<Idle>) -> HashSet<Idle> {
        let idle = self.connections.iter().filter(|(_, (connection, _))| !connection.is_busy());
        let idle: HashSet<Idle> =
            idle.map(|(number, (connection, _))| (*number, connection.moment())).collect();
        for (number, _) in idle.intersection(before) {
            self.free(*number);
        }
        idle
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::oneshot::error::TryRecvError;
    use tokio::time::Instant;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_stop_closes_connections_that_stay_without_a_request() {
        let connections = Connections::new(3);
        let admit = || connections.admit(CLIENT, Instant::now()).expect("a place");
        let (_silent_place, _silent, mut silent_closed) = admit();
        let (_asking_place, asking, mut asking_closed) = admit();
        let (_arriving_place, arriving, mut arriving_closed) = admit();
        let (answer, _arriving) = (asking.begin(), arriving.begin());
        let look = |before: &HashSet<Idle>| connections.0.lock().close_idle(before);
        let mut are_closed = || {
            [&mut silent_closed, &mut asking_closed, &mut arriving_closed]
                .map(|closed| closed.try_recv() == Err(TryRecvError::Closed))
        };
        let first = look(&HashSet::new());
        assert_eq!(are_closed(), [false, false, false], "the rest of a head may come");
        drop(answer);
        let second = look(&first);
        assert_eq!(are_closed(), [true, false, false], "the answer may have to be sent");
        // Between two looks, so that it is idle at both of them.
        drop(asking.begin());
        let third = look(&second);
        assert_eq!(are_closed(), [true, false, false], "so may that of a further request");
        look(&third);
        assert_eq!(are_closed(), [true, true, false], "one request has not arrived");
    }
}
