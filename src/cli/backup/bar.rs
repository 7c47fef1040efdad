//! Shows on a terminal how far a copy is. Shows nothing elsewhere.

use crate::cli::bar::Bar;
use crate::store::sqlite::backup::Step;

const COPYING: &str =
    "{bar} {percent:>3} %  {binary_bytes} of {binary_total_bytes}; {binary_bytes_per_sec}, {eta} left";

const CHECKING: &str = "{spinner} checking the copy, for {elapsed}";

/// A bar while the copy is made, then a time.
pub(super) struct CopyBar {
    bar: Bar,
    is_checking: bool,
}

impl CopyBar {
    pub(super) fn new() -> Self {
        Self { bar: Bar::new(0, COPYING), is_checking: false }
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
                    self.bar.restyle(CHECKING);
                    self.bar.reset_elapsed();
                }
                self.bar.tick();
            }
        }
    }
}
