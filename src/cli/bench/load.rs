//! Sends distinct webhooks over many connections, and measures every response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use hyper::StatusCode;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Keys;
use super::client::{Connection, Target};
use crate::cli::Failure;
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
}

/// Sends webhooks for `time` over this many connections.
#[expect(clippy::disallowed_methods, reason = "every run needs other keys")]
pub(super) async fn send(
    target: &Target,
    keys: Keys,
    connections: u16,
    time: Duration,
) -> Result<Measured, Failure> {
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(target).await?);
    }
    let run: u64 = rand::random();
    let counter = Arc::new(AtomicU64::new(0));
    let took = Stopwatch::start();
    let tasks = opened
        .into_iter()
        .map(|connection| {
            let counter = Arc::clone(&counter);
            let random = SmallRng::seed_from_u64(rand::random());
            tokio::spawn(send_over(connection, keys, run, counter, random, took, time))
        })
        .collect::<Vec<_>>();
    let mut all = Measured::nothing()?;
    for task in tasks {
        let one = task.await.map_err(Box::new)??;
        all.accepted += one.accepted;
        all.micros.add(&one.micros).map_err(Box::new)?;
        for (status, count) in one.others {
            *all.others.entry(status).or_default() += count;
        }
        all.fault = all.fault.or(one.fault);
    }
    all.seconds = took.seconds();
    Ok(all)
}

async fn send_over(
    mut connection: Connection,
    keys: Keys,
    run: u64,
    counter: Arc<AtomicU64>,
    mut random: SmallRng,
    since: Stopwatch,
    time: Duration,
) -> Result<Measured, Failure> {
    let mut measured = Measured::nothing()?;
    while since.elapsed() < time {
        let number = counter.fetch_add(1, Ordering::Relaxed);
        let key = match keys {
            Keys::Random => format!("{:032x}", random.random::<u128>()),
            Keys::Ordered => format!("{run:016x}-{number:012}"),
        };
        let body = format!(
            r#"{{"idempotency_key":"{key}","event_type":"order.created","payload":{{"order_id":"ORD-{number}","customer":"Jan Kowalski","amount":299.99,"currency":"PLN","items":[{{"sku":"A-1","count":2}},{{"sku":"B-7","count":1}}]}}}}"#
        );
        let took = Stopwatch::start();
        let status = match connection.submit(body).await {
            Ok(status) => status,
            Err(fault) => {
                measured.fault = Some(fault);
                break;
            }
        };
        if status == StatusCode::ACCEPTED {
            measured.accepted += 1;
            measured.micros.saturating_record(took.elapsed().as_micros() as u64);
        } else {
            *measured.others.entry(status.as_u16()).or_default() += 1;
        }
    }
    Ok(measured)
}

impl Measured {
    fn nothing() -> Result<Self, Failure> {
        let micros = Histogram::new_with_max(LONGEST_MICROS, DIGITS).map_err(Box::new)?;
        Ok(Self { accepted: 0, seconds: 0.0, micros, others: BTreeMap::new(), fault: None })
    }
}
