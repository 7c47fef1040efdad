//! Sends distinct webhooks over many connections, and measures every response.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::StatusCode;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use super::Keys;
use super::client::{Connection, Target};
use crate::cli::Failure;
use crate::cli::client::Interrupt;
use crate::telemetry::metrics::Stopwatch;

/// The largest latency of the histogram, in microseconds. Longer ones count as this.
const LONGEST_MICROS: u64 = 60_000_000;

/// The precision of the histogram, in significant digits.
const DIGITS: u8 = 3;

/// The measured responses.
#[derive(Debug)]
pub(super) struct Measured {
    /// How many webhooks were accepted.
    pub(super) accepted: u64,
    /// How long sending took.
    pub(super) seconds: f64,
    /// The latencies of accepted webhooks, in microseconds.
    pub(super) micros: Histogram<u64>,
    /// How many other responses there were, by HTTP status.
    pub(super) others: BTreeMap<u16, u64>,
    /// Why a connection has stopped before the time was over; the first of several.
    pub(super) fault: Option<Failure>,
    /// Whether Ctrl-C came before the time was over.
    pub(super) is_interrupted: bool,
}

/// Opens this many connections.
pub(super) async fn open(target: &Target, connections: u16) -> Result<Vec<Connection>, Failure> {
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(target).await?);
    }
    Ok(opened)
}

/// Sends webhooks over these connections for `time`, or until Ctrl-C. Webhooks without an answer are not counted then.
#[expect(clippy::disallowed_methods, reason = "every run needs other keys")]
pub(super) async fn send(
    connections: Vec<Connection>,
    keys: Keys,
    time: Duration,
    interrupt: &mut Interrupt,
) -> Result<Measured, Failure> {
    let run: u64 = rand::random();
    let counter = Arc::new(AtomicU64::new(0));
    let took = Stopwatch::start();
    let (mut tasks, mut parts) = (JoinSet::new(), Vec::with_capacity(connections.len()));
    for connection in connections {
        let measured = Arc::new(Mutex::new(Measured::nothing()?));
        parts.push(Arc::clone(&measured));
        let (counter, random) = (Arc::clone(&counter), SmallRng::seed_from_u64(rand::random()));
        tasks.spawn(Sender { connection, keys, run, counter, random, measured }.send(took, time));
    }
    let all_ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(Box::new)?;
        }
        Ok::<_, Failure>(())
    };
    let ended = interrupt.race(all_ended).await;
    let mut all =
        Measured { seconds: took.seconds(), is_interrupted: ended.is_none(), ..Measured::nothing()? };
    ended.transpose()?;
    drop(tasks);
    for part in parts {
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        all.accepted += part.accepted;
        all.micros.add(&part.micros).map_err(Box::new)?;
        for (status, count) in &part.others {
            *all.others.entry(*status).or_default() += count;
        }
        all.fault = all.fault.or(part.fault.take());
    }
    Ok(all)
}

/// Sends over one connection, one webhook after the other.
struct Sender {
    connection: Connection,
    keys: Keys,
    run: u64,
    counter: Arc<AtomicU64>,
    random: SmallRng,
    /// The caller reads it when the task has ended, or was aborted.
    measured: Arc<Mutex<Measured>>,
}

impl Sender {
    /// Sends until `time` has passed on the stopwatch `since`, or the connection fails.
    async fn send(mut self, since: Stopwatch, time: Duration) {
        while since.elapsed() < time {
            let body = self.body();
            let took = Stopwatch::start();
            let submitted = self.connection.submit(body).await;
            let latency = took.elapsed();
            let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
            match submitted {
                Ok(StatusCode::ACCEPTED) => {
                    measured.accepted += 1;
                    measured.micros.saturating_record(latency.as_micros() as u64);
                }
                Ok(status) => *measured.others.entry(status.as_u16()).or_default() += 1,
                Err(fault) => {
                    measured.fault = Some(fault);
                    break;
                }
            }
        }
    }

    /// The next webhook.
    fn body(&mut self) -> String {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let key = match self.keys {
            Keys::Random => format!("{:032x}", self.random.random::<u128>()),
            Keys::Ordered => format!("{:016x}-{number:012}", self.run),
        };
        format!(
            r#"{{"idempotency_key":"{key}","event_type":"order.created","payload":{{"order_id":"ORD-{number}","customer":"Jan Kowalski","amount":299.99,"currency":"PLN","items":[{{"sku":"A-1","count":2}},{{"sku":"B-7","count":1}}]}}}}"#
        )
    }
}

impl Measured {
    fn nothing() -> Result<Self, Failure> {
        let micros = Histogram::new_with_max(LONGEST_MICROS, DIGITS).map_err(Box::new)?;
        let others = BTreeMap::new();
        Ok(Self { accepted: 0, seconds: 0.0, micros, others, fault: None, is_interrupted: false })
    }
}
