//! Shows on a terminal how far a copy is. Shows nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::sqlite::backup::Step;

const COPYING: &str =
    "{bar:40} {percent:>3} %  {binary_bytes} of {binary_total_bytes}; {binary_bytes_per_sec}, {eta} left";

const CHECKING: &str = "{spinner} checking the copy, for {elapsed}";

/// A bar while the copy is made, then a time.
pub(super) struct Bar {
    bar: ProgressBar,
    is_checking: bool,
}

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(style(COPYING));
        Self { bar, is_checking: false }
    }

    pub(super) fn show(&mut self, step: Step) {
        match step {
            // Not known yet.
            Step::Copying { total: 0, .. } => {}
            Step::Copying { done, total } => {
                self.bar.set_length(total);
                self.bar.set_position(done);
            }
            Step::Checking => {
                if !self.is_checking {
                    self.is_checking = true;
                    self.bar.set_style(style(CHECKING));
                    self.bar.reset_elapsed();
                }
                self.bar.tick();
            }
        }
    }
}

impl Drop for Bar {
    /// Clears the bar, so that the next output begins on its own line.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
