//! Lines that were removed and added, with those around them. What is shown of them has limits, and so has the time for
//! finding them.

use std::ops::Range;
use std::time::Duration;

use maud::{Markup, html};
use similar::{DiffTag, TextDiff};

use crate::page::parts::{count, cut, number};

/// After this time, lines that are not compared yet count as changed.
const DIFF_TIME: Duration = Duration::from_millis(100);

/// How many lines are shown before and after a change.
const CONTEXT_LINES: usize = 3;

/// No change is begun after so many lines that were removed or added, or so many characters.
const ENOUGH_LINES: usize = 200;
const ENOUGH_CHARS: usize = 10_000;

/// The most lines that are shown of those which one change removes, and of those which it adds; and how many characters
/// of them are enough. So at most 400 lines are shown besides those around them.
const SIDE_LINES: usize = 100;
const SIDE_CHARS: usize = 5_000;

/// How many characters of a line are shown.
const LINE_CHARS: usize = 300;

/// How many characters of a long line are shown before its first difference.
const LEAD_CHARS: usize = 60;

/// The changes that make the `other` lines of those that are `stored`; none if all are the same.
pub(super) fn changes(stored: &[&str], other: &[&str]) -> Option<Markup> {
    changes_within(DIFF_TIME, stored, other)
}

fn changes_within(time: Duration, stored: &[&str], other: &[&str]) -> Option<Markup> {
    let diff = TextDiff::configure().timeout(time).diff_slices(stored, other);
    let groups = diff.grouped_ops(CONTEXT_LINES);
    if groups.is_empty() {
        return None;
    }
    let mut shown = Shown::default();
    for group in groups {
        shown.place(group.first().map_or(0, |first| first.old_range().start));
        for change in group {
            let (removed, added) = (lines(stored, change.old_range()), lines(other, change.new_range()));
            if change.tag() == DiffTag::Equal {
                shown.same(removed);
            } else {
                shown.changed(removed, added);
            }
        }
    }
    Some(shown.render())
}

fn lines<'a, 'b>(all: &'a [&'b str], range: Range<usize>) -> &'a [&'b str] {
    all.get(range).unwrap_or_default()
}

/// The change of a line.
#[derive(Clone, Copy)]
enum Change {
    Removed,
    Added,
}

/// What is shown.
#[derive(Default)]
struct Shown {
    lines: Vec<Markup>,
    changed_lines: usize,
    chars: usize,
    /// How many changed lines are left out.
    left_out: usize,
}

impl Shown {
    fn is_full(&self) -> bool {
        self.changed_lines >= ENOUGH_LINES || self.chars >= ENOUGH_CHARS
    }

    /// Says where the next lines are, unless they are the first ones. `before` is how many stored lines are before them.
    fn place(&mut self, before: usize) {
        if before > 0 && !self.is_full() {
            self.lines.push(html! { span.gap { "… line " (number(before as u64 + 1)) } });
        }
    }

    fn same(&mut self, lines: &[&str]) {
        for line in lines {
            if !self.is_full() {
                self.chars += shown_chars(line);
                self.lines.push(html! { span.same { "  " (piece(line, None)) } });
            }
        }
    }

    fn changed(&mut self, removed: &[&str], added: &[&str]) {
        if self.is_full() {
            self.left_out += removed.len() + added.len();
        } else {
            self.side(Change::Removed, removed, added);
            self.side(Change::Added, added, removed);
        }
    }

    /// The lines of one side of a change, each beside the line in the same place of the other side.
    fn side(&mut self, change: Change, lines: &[&str], others: &[&str]) {
        let mut side_chars = 0;
        for (at, line) in lines.iter().enumerate() {
            if at >= SIDE_LINES || side_chars >= SIDE_CHARS {
                self.left_out += lines.len() - at;
                break;
            }
            side_chars += shown_chars(line);
            let piece = piece(line, others.get(at).copied());
            self.lines.push(match change {
                Change::Removed => html! { del { span.mark { "- " } (piece) } },
                Change::Added => html! { ins { span.mark { "+ " } (piece) } },
            });
            self.changed_lines += 1;
        }
        self.chars += side_chars;
    }

    fn render(self) -> Markup {
        html! {
            p.muted.small { "Lines with - are those of this webhook, lines with + those of the other one." }
            pre.code.diff tabindex="0" role="region" aria-label="The difference between the bodies" {
                code { @for line in self.lines { (line) } }
            }
            @if self.left_out > 0 {
                p.muted.small {
                    (count(self.left_out as u64, "more changed line is", "more changed lines are")) " not shown."
                }
            }
        }
    }
}

/// At most how many characters are shown of a line: there are no more of them than bytes.
fn shown_chars(line: &str) -> usize {
    line.len().min(LINE_CHARS)
}

/// What is shown of a line. A long one begins shortly before its first difference to the `other` one.
fn piece(line: &str, other: Option<&str>) -> Markup {
    let begin = other.map_or(0, |other| begin(line, other));
    html! {
        @if begin > 0 { span.more { "…" } }
        (cut(line.get(begin..).unwrap_or_default(), LINE_CHARS))
    }
}

/// The byte with which to begin.
fn begin(line: &str, other: &str) -> usize {
    if line.chars().nth(LINE_CHARS).is_none() {
        return 0;
    }
    let same = line.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    line.char_indices().nth(same.saturating_sub(LEAD_CHARS)).map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Stopwatch;

    /// The changes of lines, however long it takes to find them.
    fn markup(stored: &[String], other: &[String]) -> Option<String> {
        let texts = [stored, other].map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>());
        changes_within(Duration::from_secs(60), &texts[0], &texts[1]).map(Markup::into_string)
    }

    /// So many lines that all differ, also from those that begin with another text.
    fn lines_of(begin: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{begin}{number}")).collect()
    }

    #[test]
    fn changed_lines_are_shown_with_their_marks_and_the_lines_around_them() {
        let stored = lines_of("", 20);
        let mut other = stored.clone();
        other[10] = "<ten>\u{202e}".to_owned();
        other.push("more".to_owned());
        let markup = markup(&stored, &other).expect("they differ");
        let changed = "<span class=\"gap\">… line 8</span><span class=\"same\">  7</span>\
            <span class=\"same\">  8</span><span class=\"same\">  9</span>\
            <del><span class=\"mark\">- </span>10</del>\
            <ins><span class=\"mark\">+ </span>&lt;ten&gt;<span class=\"hidden-char\">\\u{202e}</span></ins>\
            <span class=\"same\">  11</span>";
        let added = "<span class=\"gap\">… line 18</span>";
        for expected in [changed, added, "<ins><span class=\"mark\">+ </span>more</ins></code>"] {
            assert!(markup.contains(expected), "{expected}: {markup}");
        }
        assert!(!markup.contains(">  6<") && !markup.contains(">  14<"), "{markup}");
        assert!(!markup.contains("not shown"), "{markup}");
    }

    #[test]
    fn the_same_lines_have_no_changes() {
        let same = lines_of("line ", 1_000);
        assert_eq!(markup(&same, &same), None);
        assert_eq!(markup(&[], &[]), None);
    }

    #[test]
    fn of_many_changes_the_first_are_shown_and_the_others_counted() {
        let stored = lines_of("", 600);
        let odd = |(at, line): (usize, &String)| if at % 2 == 1 { format!("<{line}") } else { line.clone() };
        let other = stored.iter().enumerate().map(odd).collect::<Vec<_>>();
        let markup = markup(&stored, &other).expect("they differ");
        let lines = ["<del>", "<ins>"].map(|begin| markup.matches(begin).count());
        assert_eq!(lines, [100, 100]);
        assert!(markup.contains("400 more changed lines are not shown."), "{markup}");
    }

    #[test]
    fn of_one_large_change_the_beginning_of_both_sides_is_shown() {
        let (stored, other) = (lines_of("a", 1_000), lines_of("b", 700));
        let markup = markup(&stored, &other).expect("they differ");
        let lines = ["<del>", "<ins>"].map(|begin| markup.matches(begin).count());
        assert_eq!(lines, [SIDE_LINES, SIDE_LINES]);
        assert!(markup.contains("1,500 more changed lines are not shown."), "{markup}");
    }

    #[test]
    fn of_a_long_line_the_part_with_the_difference_is_shown() {
        let line = |value: &str| [format!("{}{value}{}", "é".repeat(30_000), "y".repeat(30_000))];
        let markup = markup(&line("1"), &line("2")).expect("they differ");
        for value in ["1", "2"] {
            let shown = format!("<span class=\"more\">…</span>{}{value}y", "é".repeat(LEAD_CHARS));
            assert!(markup.contains(&shown), "{markup}");
        }
        assert!(markup.len() < 3_000, "{}", markup.len());
    }

    #[test]
    fn what_is_shown_does_not_grow_with_the_lines_whatever_characters_they_have() {
        for text in ["x", "<", "\u{202e}", "\u{202e}<"] {
            let line = |begin: &str| format!("{begin}{}", text.repeat(1_000));
            let lines = |begin: &str| (0..1_000).map(|_| line(begin)).collect::<Vec<_>>();
            let markup = markup(&lines("1"), &lines("2")).expect("they differ");
            assert!(markup.len() < 500_000, "{text:?}: {}", markup.len());
        }
    }

    #[test]
    fn lines_that_would_take_long_to_compare_are_given_up() {
        let took = Stopwatch::start();
        let lines = [lines_of("a", 30_000), lines_of("b", 30_000)];
        let texts = lines.each_ref().map(|lines| lines.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(changes(&texts[0], &texts[1]).is_some());
        assert!(took.elapsed() < Duration::from_secs(10), "{:?}", took.elapsed());
    }
}
