//! Shows on a terminal how far a command is. Shows nothing elsewhere.

use std::ops::Deref;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal. It is cleared when it is dropped, so that the next output begins on
/// its own line.
pub(super) struct Bar(ProgressBar);

impl Bar {
    /// A bar of this length, with a template of indicatif.
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
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
