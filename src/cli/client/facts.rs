//! Names, each with its text behind it. A text that is too long for the terminal goes on below itself: nothing is cut.

use console::{measure_text_width, truncate_str};

use super::table::{Cell, GAP};
use super::terminal::{Terminal, Tint};

/// Names with their texts, one below the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(Vec<(&'static str, Cell)>);

impl Facts {
    pub(super) fn add(&mut self, name: &'static str, text: Cell) {
        self.0.push((name, text));
    }

    /// The lines, each with a line feed, and with this many spaces before the names.
    pub(super) fn text(&self, indent: usize, terminal: Terminal) -> String {
        let names = self.0.iter().map(|(name, _)| measure_text_width(name)).max().unwrap_or_default();
        let before = indent + names + GAP.len();
        let width = terminal.width.map_or(usize::MAX, |width| width.saturating_sub(before).max(1));
        let mut text = String::new();
        for (name, cell) in &self.0 {
            let padding = before.saturating_sub(indent + measure_text_width(name));
            text.push_str(&" ".repeat(indent));
            text.push_str(&terminal.tinted(name, Tint::Heading));
            for (at, line) in wrapped(cell.text(), width).into_iter().enumerate() {
                if at > 0 {
                    text.push('\n');
                }
                if !line.is_empty() {
                    text.push_str(&" ".repeat(if at == 0 { padding } else { before }));
                    text.push_str(&terminal.tinted(line, cell.tint()));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// A text in lines of at most this width. They end at spaces; a word that is longer than a line is broken.
fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while measure_text_width(rest) > width {
        let (line, more) = rest.split_at(end_of_line(rest, width));
        lines.push(line.trim_end());
        rest = more.trim_start();
    }
    if lines.is_empty() || !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Where the first line of a text ends that is longer than a line: after at least one character.
fn end_of_line(text: &str, width: usize) -> usize {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let (line, more) = text.split_at(truncate_str(text, width, "").len().max(first));
    match line.rfind(' ') {
        Some(space @ 1..) if !more.starts_with(' ') => space,
        _ => line.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &str =
        "the target answered 503: upstream connect error or disconnect/reset before headers 漢字";

    fn text(width: usize) -> String {
        let mut facts = Facts::default();
        facts.add("NO", Cell::new("1"));
        facts.add("ERROR", Cell::new(ERROR));
        facts.text(2, Terminal::of_width(width))
    }

    #[test]
    fn a_long_text_goes_on_below_itself() {
        let expected = "  NO     1\n  ERROR  the target answered 503:\n         upstream connect error or\n         \
                        disconnect/reset before\n         headers 漢字\n";
        assert_eq!(text(35), expected);
    }

    #[test]
    fn every_line_fits_and_nothing_is_lost() {
        let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
        for width in 11..120 {
            let text = text(width);
            assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}: {text}");
            assert!(without_spaces(&text).ends_with(&without_spaces(ERROR)), "{width}: {text}");
        }
        assert_eq!(text(120).lines().count(), 2, "a text that fits is one line");
        assert!(text(1).ends_with("漢\n         字\n"), "a line has at least one character: {}", text(1));
    }

    #[test]
    fn on_a_pipe_each_text_is_one_line() {
        let mut facts = Facts::default();
        facts.add("type", Cell::new("漢字 ".repeat(200)));
        facts.add("key", Cell::new(""));
        let text = facts.text(0, Terminal::none());
        let lines = text.lines().collect::<Vec<_>>();
        assert_eq!((lines.len(), lines[1]), (2, "key"), "{text}");
    }
}
