//! Shows texts of senders so that they cannot act on a terminal. Pure.

use std::fmt::Write as _;

use crate::domain::hidden::is_hidden;

/// A text in one line, in which each character that a terminal does not simply show is escaped: control characters, and
/// those that change the direction of the text or are invisible.
pub(super) fn safe(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_hidden(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// The same for a text of several lines, which stay lines.
pub(super) fn safe_lines(text: &str) -> String {
    text.split('\n').map(|line| safe(line.strip_suffix('\r').unwrap_or(line))).collect::<Vec<_>>().join("\n")
}

/// Whether a terminal simply shows a text: it has no character that [`safe`] escapes but tabs and line breaks.
pub(super) fn is_safe(text: &str) -> bool {
    let is_shown = |c: char| matches!(c, '\n' | '\t') || !is_hidden(c);
    text.replace("\r\n", "\n").chars().all(is_shown)
}

/// A JSON text in one line: without white space between its tokens, and with escapes for the characters that [`safe`]
/// escapes. Numbers and the order of members stay.
pub(super) fn json_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    let (mut is_in_string, mut is_escaped) = (false, false);
    for character in json.chars() {
        if !is_in_string {
            is_in_string = character == '"';
            if !character.is_ascii_whitespace() {
                line.push(character);
            }
            continue;
        }
        if is_hidden(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(line, "\\u{unit:04x}");
            }
            is_escaped = false;
            continue;
        }
        line.push(character);
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_in_string = false,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_act_on_a_terminal() {
        for (text, shown) in [
            ("zamówienie ✓", "zamówienie ✓"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\u{9b}31mb", "a\\u{9b}31mb"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("a\r\nb\tc\0\u{7f}", "a\\r\\nb\\tc\\u{0}\\u{7f}"),
        ] {
            assert_eq!(safe(text), shown);
            assert_eq!(safe(shown), shown, "it is safe");
        }
        assert_eq!(safe_lines("a\r\nb\u{1b}\n"), "a\nb\\u{1b}\n");
    }

    #[test]
    fn a_text_that_acts_on_a_terminal_is_known() {
        for text in ["", "{\n\t\"a\": \"ż\"\n}\n", "a\r\nb"] {
            assert!(is_safe(text), "{text:?}");
        }
        for text in ["a\rb", "\u{1b}[2J", "\u{9b}2J", "a\u{202e}b", "\0"] {
            assert!(!is_safe(text), "{text:?}");
        }
    }

    #[test]
    fn json_is_one_line_that_means_the_same() {
        for (json, line) in [
            ("{ \"a\" :\n [1.10 , true]\t}", r#"{"a":[1.10,true]}"#),
            (r#"{"a b": "x \" y \\"}"#, r#"{"a b":"x \" y \\"}"#),
            ("\"\u{9b}\u{202e}\u{e0041}\"", r#""\u009b\u202e\udb40\udc41""#),
        ] {
            assert_eq!(json_line(json), line);
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert_eq!(value(json), value(line));
        }
    }
}
