//! How far a transfer is: a bar on a terminal, and elsewhere a line now and then.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::telemetry::metrics::Stopwatch;

/// The time between two lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

const BAR: &str = "{bar:40} {percent:>3} %  {human_pos} of {human_len} webhooks{msg}";

/// See the module.
pub(super) struct Progress {
    total: u64,
    before: u64,
    since: Stopwatch,
    shown: Shown,
}

enum Shown {
    Bar(ProgressBar),
    /// On standard error; since the last one.
    Lines(Stopwatch),
}

impl Drop for Progress {
    /// What comes next begins on a line of its own.
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Progress {
    /// Of `total` webhooks, `before` were moved by the processes before.
    pub(super) fn new(total: u64, before: u64) -> Self {
        let since = Stopwatch::start();
        let shown = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
            Shown::Bar(ProgressBar::new(total).with_style(style).with_position(before))
        } else {
            Shown::Lines(since)
        };
        let progress = Self { total, before, since, shown };
        progress.show(before);
        progress
    }

    /// So many have been moved.
    pub(super) fn moved(&mut self, moved: u64) {
        if let Shown::Lines(last) = &mut self.shown {
            if last.elapsed() < LINE_EVERY {
                return;
            }
            *last = Stopwatch::start();
        }
        self.show(moved);
    }

    /// All have been moved, and both sides are counted.
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
                // Where nobody can read it, it goes on all the same.
                let _ = writeln!(std::io::stderr(), "{line}");
            }
        }
    }

    /// How fast this process is, and how long it will take.
    fn rate(&self, moved: u64) -> String {
        if moved <= self.before {
            return String::new();
        }
        let rate = (moved - self.before) as f64 / self.since.seconds().max(f64::EPSILON);
        let left = Duration::from_secs((self.total.saturating_sub(moved) as f64 / rate) as u64);
        format!("; {rate:.0} a second, {} left", humantime::format_duration(left))
    }
}
