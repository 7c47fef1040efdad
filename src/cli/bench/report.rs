//! The results, for people and as JSON.

use std::fmt;

use serde_json::{Map, Value, json};

use super::load::Measured;

/// The quantiles that are printed.
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The results.
pub(super) struct Report {
    pub(super) sent: Measured,
    /// How many jobs were completed while webhooks were sent; none if hookbox could not be asked, or after Ctrl-C.
    pub(super) completed: Option<u64>,
    /// The results of `--drain`. [`Display`](fmt::Display) leaves them out, because they come later.
    pub(super) drained: Option<Drained>,
}

/// The results once no job is unfinished.
pub(super) struct Drained {
    /// How many jobs were completed since the start.
    pub(super) completed: u64,
    /// Seconds from the start of sending to the last completed job.
    pub(super) seconds: f64,
}

impl Report {
    fn accepted_per_second(&self) -> f64 {
        self.sent.accepted as f64 / self.sent.seconds
    }

    fn completed_per_second(&self) -> Option<f64> {
        Some(self.completed? as f64 / self.sent.seconds)
    }

    /// The quantiles and the maximum of the latencies of accepted webhooks, in milliseconds.
    fn latencies(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let micros = &self.sent.micros;
        let quantiles = QUANTILES.map(|(name, quantile)| (name, micros.value_at_quantile(quantile)));
        let all = quantiles.into_iter().chain([("max", micros.max())]);
        all.map(|(name, micros)| (name, micros as f64 / 1000.0))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "accepted": self.sent.accepted,
            "accepted_per_second": self.accepted_per_second(),
            "completed_per_second": self.completed_per_second(),
            "latency_ms": self.latencies().map(|(name, ms)| (name.to_owned(), json!(ms))).collect::<Map<_, _>>(),
            "drained": self.drained.as_ref().map(|drained| json!({
                "completed": drained.completed,
                "seconds": drained.seconds,
                "per_second": drained.per_second(),
            })),
            "other_answers": self.sent.others,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = self.sent.accepted;
        writeln!(f, "accepted   {:>9.0} /s   {accepted} webhooks", self.accepted_per_second())?;
        if let Some(per_second) = self.completed_per_second() {
            writeln!(f, "completed  {per_second:>9.0} /s   jobs, while sending")?;
        }
        write!(f, "latency   ")?;
        for (name, milliseconds) in self.latencies() {
            write!(f, " {name} {milliseconds:.2} ms ")?;
        }
        writeln!(f)?;
        for (status, count) in &self.sent.others {
            writeln!(f, "refused    {count} webhooks with status {status}")?;
        }
        Ok(())
    }
}

impl Drained {
    fn per_second(&self) -> f64 {
        self.completed as f64 / self.seconds
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (per_second, completed, seconds) = (self.per_second(), self.completed, self.seconds);
        writeln!(
            f,
            "drained    {per_second:>9.0} /s   {completed} jobs in {seconds:.1} s, from the first webhook to the last job"
        )
    }
}
