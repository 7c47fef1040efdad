//! Shows the progress of a transfer on standard error: a bar on a terminal, else a line every few seconds.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::cli::bar::Bar;
use crate::telemetry::metrics::Stopwatch;

/// The shortest time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar} {percent:>3} %  {human_pos} of {human_len} webhooks{msg}";

/// The progress of a transfer.
pub(super) struct Progress {
    total: u64,
    /// How many webhooks earlier processes have moved.
    before: u64,
    since: Stopwatch,
    shown: Shown,
}

enum Shown {
    Bar(Bar),
    /// Lines, with the time since the last line.
    Lines(Stopwatch),
}

impl Progress {
    /// Begins with `before` of `total` webhooks moved by earlier processes.
    pub(super) fn new(total: u64, before: u64) -> Self {
        let since = Stopwatch::start();
        let shown = if std::io::stderr().is_terminal() {
            Shown::Bar(Bar::new(total, BAR))
        } else {
            Shown::Lines(since)
        };
        let progress = Self { total, before, since, shown };
        progress.show(before);
        progress
    }

    /// Shows that `moved` webhooks are moved.
    pub(super) fn moved(&mut self, moved: u64) {
        if let Shown::Lines(last) = &mut self.shown {
            if last.elapsed() < LINE_EVERY {
                return;
            }
            *last = Stopwatch::start();
        }
        self.show(moved);
    }

    /// Shows that all webhooks are moved, and that both sides are being counted.
    pub(super) fn count(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.set_message("; counting both sides");
        }
    }

    fn show(&self, moved: u64) {
        let rate = self.rate(moved);
        match &self.shown {
            Shown::Bar(bar) => {
                bar.set_message(rate);
                bar.set_position(moved);
            }
            Shown::Lines(_) => {
                let percent = moved.saturating_mul(100).checked_div(self.total).unwrap_or(100);
                let line = format!("moved {moved} of {} webhooks, {percent} %{rate}", self.total);
                // If standard error is closed, the transfer goes on without showing progress.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    /// The speed of this process and the estimated remaining time, as the end of a line.
    fn rate(&self, moved: u64) -> String {
        if moved <= self.before {
            return String::new();
        }
        let rate = (moved - self.before) as f64 / self.since.seconds().max(f64::EPSILON);
        let left = Duration::from_secs((self.total.saturating_sub(moved) as f64 / rate) as u64);
        format!("; {rate:.0} a second, {} left", humantime::format_duration(left))
    }
}
