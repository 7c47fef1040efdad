//! What standard output is: how wide, and whether it takes colours.

use console::{Style, Term};

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terminal {
    /// The width of the terminal in columns; none if it is no terminal or does not know its width, so that nothing is cut.
    pub(super) width: Option<usize>,
    /// Whether it is a terminal, also one that does not know its width.
    pub(super) is_terminal: bool,
    /// Whether it takes colours: a terminal without `NO_COLOR`.
    has_colors: bool,
}

/// What a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    Plain,
    Heading,
    Good,
    Bad,
    Busy,
    Late,
    Dim,
}

impl Terminal {
    /// What standard output is now.
    pub(super) fn stdout() -> Self {
        let terminal = Term::stdout();
        let width = terminal.size_checked().map(|(_, columns)| usize::from(columns));
        let is_terminal = terminal.is_term();
        Self { width, is_terminal, has_colors: is_terminal && console::colors_enabled() }
    }

    /// No terminal, as a pipe is none.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { width: None, is_terminal: false, has_colors: false }
    }

    /// A terminal of this width, without colours.
    #[cfg(test)]
    pub(super) fn of_width(width: usize) -> Self {
        Self { width: Some(width), is_terminal: true, has_colors: false }
    }

    /// The text in the colour of its meaning.
    pub(super) fn tinted(self, text: &str, tint: Tint) -> String {
        let style = Style::new();
        let style = match tint {
            Tint::Plain => return text.to_owned(),
            Tint::Heading => style.bold(),
            Tint::Good => style.green(),
            Tint::Bad => style.red(),
            Tint::Busy => style.cyan(),
            Tint::Late => style.yellow(),
            Tint::Dim => style.dim(),
        };
        style.force_styling(self.has_colors).apply_to(text).to_string()
    }
}

/// What the status of a webhook, or the state of a replay, means.
pub(super) fn tint_of(status: &str) -> Tint {
    match status {
        "completed" => Tint::Good,
        "dead_lettered" | "quarantined" => Tint::Bad,
        "processing" | "running" => Tint::Busy,
        "retrying" => Tint::Late,
        "cancelled" | "filtered" => Tint::Dim,
        _ => Tint::Plain,
    }
}
