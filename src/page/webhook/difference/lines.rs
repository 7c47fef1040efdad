//! The lines by which bodies are compared: of JSON, one for each value; of a text, its own.

use json_event_parser::{JsonEvent, LowLevelJsonParser, LowLevelJsonParserResult};
use serde_json::Value;

/// How many levels are indented, so that deep JSON does not become much longer. Deeper ones look like the last of these.
const MAX_INDENTED_LEVELS: usize = 16;

/// The lines of a JSON text: names and values in their order, numbers as they are written. There are no commas, so that
/// a line differs only if its value does. If `is_cut`, the lines before the cut. None if the text is not valid.
pub(super) fn of_json(text: &[u8], is_cut: bool) -> Option<Vec<String>> {
    let (mut parser, mut rest) = (LowLevelJsonParser::new(), text);
    let mut printer = Printer::default();
    loop {
        let LowLevelJsonParserResult { consumed_bytes, event } = parser.parse_next(rest, !is_cut);
        rest = rest.get(consumed_bytes..).unwrap_or_default();
        // Without an event, the rest is the beginning of a value that is cut.
        let Some(event) = event else { return Some(printer.lines) };
        match event.ok()? {
            JsonEvent::Null => printer.line("null"),
            JsonEvent::Boolean(true) => printer.line("true"),
            JsonEvent::Boolean(false) => printer.line("false"),
            JsonEvent::Number(number) => printer.line(&number),
            JsonEvent::String(text) => printer.line(&quoted(text.into_owned())),
            JsonEvent::ObjectKey(name) => printer.name = Some(quoted(name.into_owned())),
            JsonEvent::StartArray => printer.begin("["),
            JsonEvent::StartObject => printer.begin("{"),
            JsonEvent::EndArray => printer.end("]"),
            JsonEvent::EndObject => printer.end("}"),
            JsonEvent::Eof => return Some(printer.lines),
        }
    }
}

/// The lines of a text; none if it is not UTF-8. If `is_cut`, its last character may be incomplete, and is left out.
pub(super) fn of_text(text: &[u8], is_cut: bool) -> Option<Vec<&str>> {
    let whole = match std::str::from_utf8(text) {
        Err(error) if is_cut && error.error_len().is_none() => text.get(..error.valid_up_to())?,
        _ => text,
    };
    Some(std::str::from_utf8(whole).ok()?.split('\n').collect())
}

/// A string as JSON has it.
fn quoted(text: String) -> String {
    Value::String(text).to_string()
}

/// Writes JSON in lines.
#[derive(Default)]
struct Printer {
    lines: Vec<String>,
    /// How many arrays and objects are open.
    level: usize,
    /// The name of the next value.
    name: Option<String>,
    /// Whether the last line begins an array or object, which has nothing in it yet.
    is_empty: bool,
}

impl Printer {
    fn line(&mut self, value: &str) {
        let indent = "  ".repeat(self.level.min(MAX_INDENTED_LEVELS));
        let line = match self.name.take() {
            Some(name) => format!("{indent}{name}: {value}"),
            None => format!("{indent}{value}"),
        };
        self.lines.push(line);
        self.is_empty = false;
    }

    fn begin(&mut self, bracket: &str) {
        self.line(bracket);
        self.level += 1;
        self.is_empty = true;
    }

    fn end(&mut self, bracket: &str) {
        self.level = self.level.saturating_sub(1);
        match self.lines.last_mut() {
            Some(last) if self.is_empty => last.push_str(bracket),
            _ => self.line(bracket),
        }
        self.is_empty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_line_for_each_value_in_its_order_with_numbers_as_they_are_written() {
        let json = "{\"b\":12345678901234567890.10e+2,\"a\":[1.0,\"\\u0041\\n\\\"<\",{},[]],\"\\n\":null}";
        let expected = [
            "{",
            "  \"b\": 12345678901234567890.10e+2",
            "  \"a\": [",
            "    1.0",
            "    \"A\\n\\\"<\"",
            "    {}",
            "    []",
            "  ]",
            "  \"\\n\": null",
            "}",
        ];
        assert_eq!(of_json(json.as_bytes(), false).expect("valid"), expected);
        assert_eq!(of_json(b" true ", false).expect("valid"), ["true"]);
    }

    #[test]
    fn of_json_that_is_cut_the_lines_before_the_cut_are_there() {
        let json = "{\"a\":[1,true],\"b\":\"text\"}";
        let lines = |length: usize| of_json(&json.as_bytes()[..length], true).expect("valid so far");
        let all = of_json(json.as_bytes(), false).expect("valid");
        for length in 0..=json.len() {
            let lines = lines(length);
            assert_eq!(lines, all[..lines.len()], "{length}");
        }
        assert_eq!(lines(7), ["{", "  \"a\": ["], "a number that may go on is left out");
        assert_eq!(lines(json.len()), all);
    }

    #[test]
    fn what_is_not_json_has_no_lines_of_json() {
        for (text, is_cut) in
            [("", false), ("{\"a\":1", false), ("[1,]", false), ("[1,]", true), ("1 2 ", true)]
        {
            assert_eq!(of_json(text.as_bytes(), is_cut), None, "{text}");
        }
        assert_eq!(of_json(b"\"\xff\"", false), None);
    }

    #[test]
    fn deep_json_does_not_become_much_longer() {
        let nested = ["[".repeat(30_000), "]".repeat(30_000)].concat();
        let lines = of_json(nested.as_bytes(), false).expect("valid");
        assert_eq!(lines.len(), 59_999);
        assert!(lines.iter().all(|line| line.len() <= 2 * MAX_INDENTED_LEVELS + 2));
    }

    #[test]
    fn a_text_has_its_lines_also_if_it_is_cut_within_a_character() {
        assert_eq!(of_text("a\r\n\nż".as_bytes(), false).expect("a text"), ["a\r", "", "ż"]);
        assert_eq!(of_text(b"a\n\xc5", true).expect("a text"), ["a", ""]);
        for (bytes, is_cut) in [(&b"a\xc5"[..], false), (b"a\xffb", true)] {
            assert_eq!(of_text(bytes, is_cut), None);
        }
    }
}
