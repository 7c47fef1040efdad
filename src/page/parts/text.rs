//! Shows text that came from outside: without anything that is invisible, changes the order of the text, or is endless.

use std::borrow::Cow;

use maud::{Escaper, Markup, PreEscaped, html};

use crate::domain::hidden::is_hidden;

/// The most characters of a text that a page shows at once.
const MAX_SHOWN_CHARS: usize = 20_000;

/// The most characters of a line, unless all of the text is shown.
const MAX_LINE_CHARS: usize = 2_000;

/// The most characters of a line if all of the text is shown. A browser is slow with lines of a million.
const MAX_FULL_LINE_CHARS: usize = 20_000;

/// How many runs of hidden characters of a text are marked. The codes of others stand there without a mark: each mark is
/// longer than what a hostile text pays for it.
const MAX_MARKS: usize = 1_000;

/// How much of a text to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// At most [`MAX_SHOWN_CHARS`]. The link, if there is one, leads to more of it.
    Beginning(Option<String>),
    /// All of it.
    All,
}

/// A text in one line. Control characters, line breaks too, and characters that change the order of the text are shown by
/// their code.
pub(crate) fn text(text: &str) -> Markup {
    escaped(text, false)
}

/// As [`text`], with its line breaks and tabs.
pub(crate) fn lines(text: &str) -> Markup {
    escaped(text, true)
}

/// The beginning of a text in one line, with an ellipsis if it is longer than `chars` characters.
pub(crate) fn cut(whole: &str, chars: usize) -> Markup {
    match whole.char_indices().nth(chars) {
        Some((end, _)) => html! { (text(whole.get(..end).unwrap_or_default())) span.more { "…" } },
        None => text(whole),
    }
}

/// A text as a block of code, with its line breaks. Of what is too long, the beginning.
pub(crate) fn code(whole: &str, shown: &Shown) -> Markup {
    let (text, is_cut, line_chars) = match shown {
        Shown::All => (whole, false, MAX_FULL_LINE_CHARS),
        Shown::Beginning(_) => match whole.char_indices().nth(MAX_SHOWN_CHARS) {
            Some((end, _)) => (whole.get(..end).unwrap_or_default(), true, MAX_LINE_CHARS),
            None => (whole, false, MAX_LINE_CHARS),
        },
    };
    let (text, is_line_cut) = with_short_lines(text, line_chars);
    html! {
        pre.code tabindex="0" { code { (lines(&text)) } }
        @if is_cut || is_line_cut {
            p.muted.small {
                @if *shown == Shown::All {
                    "Of each line, at most " (super::number(line_chars as u64)) " characters are shown, of "
                    (super::bytes(whole.len() as u64)) " in all."
                } @else {
                    "Only the beginning is shown, of " (super::bytes(whole.len() as u64)) " in all. "
                }
                @if let Shown::Beginning(Some(more)) = shown { a href=(more) { "Show more" } }
            }
        }
    }
}

/// The text with its long lines cut, and whether there are any.
fn with_short_lines(text: &str, chars: usize) -> (Cow<'_, str>, bool) {
    if text.split('\n').all(|line| line.len() <= chars) {
        return (Cow::Borrowed(text), false);
    }
    let mut is_cut = false;
    let lines = text.split('\n').map(|line| match line.char_indices().nth(chars) {
        Some((end, _)) => {
            is_cut = true;
            format!("{}…", line.get(..end).unwrap_or_default())
        }
        None => line.to_owned(),
    });
    (Cow::Owned(lines.collect::<Vec<_>>().join("\n")), is_cut)
}

fn escaped(text: &str, has_lines: bool) -> Markup {
    use std::fmt::Write as _;

    let is_shown = |c: char| !is_hidden(c) || (has_lines && matches!(c, '\n' | '\t'));
    let mut markup = String::with_capacity(text.len() + text.len() / 8);
    let (mut rest, mut marks) = (text, 0);
    while let Some(at) = rest.find(|c| !is_shown(c)) {
        let (shown, after) = rest.split_at(at);
        let (run, after) = after.split_at(after.find(is_shown).unwrap_or(after.len()));
        marks += 1;
        let is_marked = marks <= MAX_MARKS;
        // Writing to a string does not fail.
        let _ = Escaper::new(&mut markup).write_str(shown);
        markup.push_str(if is_marked { "<span class=\"hidden-char\">" } else { "" });
        run.chars().for_each(|hidden| markup.push_str(&code_of(hidden)));
        markup.push_str(if is_marked { "</span>" } else { "" });
        rest = after;
    }
    let _ = Escaper::new(&mut markup).write_str(rest);
    PreEscaped(markup)
}

/// How a hidden character is shown.
fn code_of(hidden: char) -> String {
    match hidden {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        hidden => format!("\\u{{{:x}}}", hidden as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_text_and_hidden_characters_are_shown_by_their_code() {
        let hostile = "<b onclick=\"x()\">&\u{202e}exe\u{0}\r\n\t\u{feff}é</b>";
        let code = |code: &str| format!("<span class=\"hidden-char\">{code}</span>");
        let begins = format!("&lt;b onclick=&quot;x()&quot;&gt;&amp;{}exe", code("\\u{202e}"));
        let in_one_line = code("\\u{0}\\r\\n\\t\\u{feff}");
        assert_eq!(text(hostile).0, format!("{begins}{in_one_line}é&lt;/b&gt;"));
        let in_lines = format!("{}\n\t{}", code("\\u{0}\\r"), code("\\u{feff}"));
        assert_eq!(lines(hostile).0, format!("{begins}{in_lines}é&lt;/b&gt;"));
    }

    #[test]
    fn hidden_characters_do_not_make_a_page_much_longer_than_the_text() {
        for hostile in ["\u{1}".repeat(100_000), "\u{1}a".repeat(50_000)] {
            let shown = text(&hostile).0;
            assert!(shown.len() < 6 * hostile.len(), "{}", shown.len());
            assert!(!shown.contains('\u{1}'));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("ééé", 3).0, "ééé");
        assert_eq!(cut("éééé", 3).0, "ééé<span class=\"more\">…</span>");
    }

    #[test]
    fn of_a_long_body_the_beginning_is_shown_with_a_link_to_the_rest() {
        let line = "x".repeat(1_000_000);
        let beginning = code(&line, &Shown::Beginning(Some("/all".to_owned()))).0;
        assert!(beginning.len() < 3_000, "{}", beginning.len());
        assert!(
            beginning.contains("976.6 KiB in all") && beginning.contains("<a href=\"/all\">Show more</a>")
        );
        let all = code(&line, &Shown::All).0;
        assert!(all.len() < 21_000, "one line of a million characters is never shown");
        assert!(
            all.contains("Of each line, at most 20,000 characters are shown, of 976.6 KiB in all."),
            "{all}"
        );
        let many = "line\n".repeat(100_000);
        assert!(code(&many, &Shown::Beginning(None)).0.len() < 21_000);
        assert!(code(&many, &Shown::All).0.len() > 500_000);
        assert!(!code("short\nlines", &Shown::Beginning(None)).0.contains("Only the beginning"));
    }
}
