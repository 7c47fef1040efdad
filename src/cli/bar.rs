//! Shows on a terminal how far a command is. Shows nothing elsewhere.

use std::ops::Deref;

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};

/// The widest bar, in columns.
const WIDEST: u16 = 40;

/// The share of the terminal that a bar has if it is not the widest one: the rest is for the numbers.
const SHARE: u16 = 4;

/// A bar on standard error, if that is a terminal. It is cleared when it is dropped, so that the next output begins on
/// its own line.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar of this length, with a template of indicatif. Its `{bar}` is as wide as the terminal allows.
    pub(super) fn new(length: u64, template: &str) -> Self {
        Self(ProgressBar::new(length).with_style(style(template)))
    }

    /// Takes another template.
    pub(super) fn restyle(&self, template: &str) {
        self.0.set_style(style(template));
    }
}

impl Deref for Bar {
    type Target = ProgressBar;

    fn deref(&self) -> &ProgressBar {
        &self.0
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let (_, columns) = Term::stderr().size();
    let template = template.replace("{bar}", &format!("{{bar:{}}}", width_on(columns)));
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The width of a bar on a terminal of this width. A line that does not fit would be left behind.
fn width_on(columns: u16) -> u16 {
    (columns / SHARE).clamp(1, WIDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_leaves_most_of_a_narrow_terminal_to_the_numbers() {
        assert_eq!([3, 40, 80, 160, 300].map(width_on), [1, 10, 20, 40, 40]);
    }
}
