//! How far a transfer is: a bar on a terminal, and elsewhere a line now and then.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::telemetry::metrics::Stopwatch;

/// The time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:40} {percent:>3} %  {human_pos} of {human_len} webhooks, {per_sec}, {eta} left";

/// See the module.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines(Lines),
}

/// Lines on standard error.
pub(super) struct Lines {
    total: u64,
    before: u64,
    since: Stopwatch,
    last: Stopwatch,
}

impl Progress {
    /// Of `total` webhooks, `before` were moved by the processes before.
    pub(super) fn new(total: u64, before: u64) -> Self {
        if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total).with_style(style).with_position(before);
            // The rate is that of this process.
            bar.reset_eta();
            return Self::Bar(bar);
        }
        let since = Stopwatch::start();
        let lines = Lines { total, before, since, last: since };
        lines.tell(before);
        Self::Lines(lines)
    }

    /// So many have been moved.
    pub(super) fn moved(&mut self, moved: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(moved),
            Self::Lines(lines) if lines.last.elapsed() >= LINE_EVERY => {
                lines.last = Stopwatch::start();
                lines.tell(moved);
            }
            Self::Lines(_) => {}
        }
    }

    /// All have been moved, and both sides are counted.
    pub(super) fn count(&self) {
        if let Self::Bar(bar) = self {
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message("counting both sides");
        }
    }

    /// Nothing more is to be told.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Lines {
    fn tell(&self, moved: u64) {
        let percent = moved.saturating_mul(100).checked_div(self.total).unwrap_or(100);
        let mut line = format!("moved {moved} of {} webhooks, {percent} %", self.total);
        let rate = (moved - self.before) as f64 / self.since.seconds().max(f64::EPSILON);
        if moved > self.before {
            let left = Duration::from_secs((self.total.saturating_sub(moved) as f64 / rate) as u64);
            line.push_str(&format!("; {rate:.0} a second, {} left", humantime::format_duration(left)));
        }
        // Where nobody can read it, it goes on all the same.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
