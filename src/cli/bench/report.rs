//! What the bench prints, for people and for machines.

use std::fmt;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::load::Measured;

/// The quantiles that are printed.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// All that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) turns: Vec<Turn>,
    pub(super) drained: Option<Drained>,
}

/// One turn: the hookbox under test, and the same route with no storage.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) sent: Measured,
    /// Completed in the same time.
    pub(super) completed_per_second: f64,
    pub(super) limit: Option<Measured>,
}

/// How the hookbox got done with all that was sent.
#[derive(Debug)]
pub(super) struct Drained {
    /// Completed since before the first was sent.
    pub(super) completed: u64,
    /// Seconds from the last one sent to the last one completed.
    pub(super) waited: f64,
}

impl Turn {
    fn accepted_per_second(&self) -> f64 {
        self.sent.accepted as f64 / self.sent.seconds
    }

    fn limit_per_second(&self) -> Option<f64> {
        self.limit.as_ref().map(|limit| limit.accepted as f64 / limit.seconds)
    }
}

impl Report {
    /// Whether some webhooks were not accepted.
    pub(super) fn has_failures(&self) -> bool {
        self.turns.iter().any(|turn| !turn.sent.others.is_empty())
    }

    fn median(&self, value: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let mut values = self.turns.iter().filter_map(value).collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn ratio(&self, value: impl Fn(&Turn) -> f64) -> Option<f64> {
        self.median(|turn| Some(value(turn) / turn.limit_per_second()?))
    }

    /// Completed, and seconds from the first one sent to the last one completed.
    fn end_to_end(&self) -> Option<(u64, f64)> {
        let drained = self.drained.as_ref()?;
        let sending: f64 = self.turns.iter().map(|turn| turn.sent.seconds).sum();
        Some((drained.completed, sending + drained.waited))
    }

    fn latencies(&self) -> Option<Histogram<u64>> {
        let mut turns = self.turns.iter().map(|turn| &turn.sent.micros);
        let mut all = turns.next()?.clone();
        for turn in turns {
            // All are made alike, so they can be added.
            let _ = all.add(turn);
        }
        Some(all)
    }

    /// Everything as JSON: rates a second, latencies in milliseconds.
    pub(super) fn json(&self) -> Value {
        let latency = self.latencies().map(|all| {
            let mut quantiles = QUANTILES
                .iter()
                .map(|(name, quantile)| {
                    ((*name).to_owned(), json!(milliseconds(all.value_at_quantile(*quantile))))
                })
                .collect::<serde_json::Map<_, _>>();
            quantiles.insert("max".to_owned(), json!(milliseconds(all.max())));
            quantiles
        });
        let turns = self.turns.iter().map(|turn| {
            json!({
                "accepted_per_second": turn.accepted_per_second(),
                "completed_per_second": turn.completed_per_second,
                "limit_per_second": turn.limit_per_second(),
                "other_answers": turn.sent.others,
            })
        });
        json!({
            "accepted_per_second": self.median(|turn| Some(turn.accepted_per_second())),
            "completed_per_second": self.median(|turn| Some(turn.completed_per_second)),
            "limit_per_second": self.median(Turn::limit_per_second),
            "accepted_ratio": self.ratio(Turn::accepted_per_second),
            "completed_ratio": self.ratio(|turn| turn.completed_per_second),
            "latency_ms": latency,
            "drained": self.end_to_end().map(|(completed, seconds)| json!({
                "completed": completed,
                "seconds": seconds,
                "per_second": completed as f64 / seconds,
            })),
            "turns": turns.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted: u64 = self.turns.iter().map(|turn| turn.sent.accepted).sum();
        let rate = self.median(|turn| Some(turn.accepted_per_second())).unwrap_or_default();
        writeln!(f, "accepted   {rate:>9.0} /s   {accepted} webhooks")?;
        let completed = self.median(|turn| Some(turn.completed_per_second)).unwrap_or_default();
        writeln!(f, "completed  {completed:>9.0} /s   meanwhile")?;
        if let Some(all) = self.latencies() {
            write!(f, "latency   ")?;
            for (name, quantile) in QUANTILES {
                write!(f, " {name} {:.2} ms ", milliseconds(all.value_at_quantile(quantile)))?;
            }
            writeln!(f, " max {:.2} ms", milliseconds(all.max()))?;
        }
        if let Some(limit) = self.median(Turn::limit_per_second) {
            writeln!(f, "limit      {limit:>9.0} /s   the same route with no storage behind it, in turns")?;
            let ratio = self.ratio(Turn::accepted_per_second).unwrap_or_default();
            let completed = self.ratio(|turn| turn.completed_per_second).unwrap_or_default();
            writeln!(
                f,
                "ratio      accepted {ratio:.2}   completed {completed:.2}   (median of {} turns)",
                self.turns.len()
            )?;
        }
        if let Some((completed, seconds)) = self.end_to_end() {
            let per_second = completed as f64 / seconds;
            writeln!(
                f,
                "drained    {per_second:>9.0} /s   {completed} completed in {seconds:.1} s, from the first sent to the last done"
            )?;
        }
        for (turn, number) in self.turns.iter().zip(1..) {
            for (status, count) in &turn.sent.others {
                writeln!(f, "turn {number}: {count} answered {status}")?;
            }
        }
        Ok(())
    }
}

fn milliseconds(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
