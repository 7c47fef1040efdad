//! What is kept of the output of a program: the first bytes of standard output, and the last of standard error. All
//! else is counted and dropped while it is read.

use serde_json::Value;

use crate::domain::attempt::MAX_RESULT_BYTES;
use crate::domain::json;

/// The bytes of standard error that are kept: as many as 2,000 characters can have.
const TAIL_BYTES: usize = 8_000;

/// The first bytes of standard output, and how many there were in all.
#[derive(Debug, Default)]
pub(super) struct Head {
    kept: Vec<u8>,
    bytes: u64,
}

impl Head {
    /// Takes the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = MAX_RESULT_BYTES.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }

    /// The result as JSON: null if there was no output, the output as it is written if all of it is JSON that clients can
    /// read, else a string, in which invalid UTF-8 is replaced. Output that is too large for a result is a string too: its
    /// beginning, and how large it was.
    pub(super) fn into_result(self) -> String {
        let Self { kept, bytes } = self;
        if kept.is_empty() {
            return Value::Null.to_string();
        }
        let is_whole = u64::try_from(kept.len()) == Ok(bytes);
        if is_whole
            && let Some(json) = json::read(&kept)
            && json::check_readable(json.get()).is_ok()
        {
            return json.get().to_owned();
        }
        let text = String::from_utf8_lossy(&kept);
        if is_whole && fitting(&text, MAX_RESULT_BYTES).len() == text.len() {
            return Value::from(text).to_string();
        }
        let mark = format!("… (cut: the program wrote {bytes} bytes)");
        let beginning = fitting(&text, MAX_RESULT_BYTES - mark.len());
        // The last character may have been cut in two.
        let beginning = beginning.trim_end_matches(char::REPLACEMENT_CHARACTER);
        Value::from(format!("{beginning}{mark}")).to_string()
    }
}

/// The longest beginning of a text whose JSON has at most so many bytes.
fn fitting(text: &str, bytes: usize) -> &str {
    // Without the quotes.
    let mut room = bytes.saturating_sub(2);
    let end = text.char_indices().find_map(|(at, char)| match room.checked_sub(json_bytes(char)) {
        Some(left) => {
            room = left;
            None
        }
        None => Some(at),
    });
    end.map_or(text, |end| &text[..end])
}

/// The bytes of a character in a JSON string, as `serde_json` writes it.
fn json_bytes(char: char) -> usize {
    match char {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => 6,
        _ => char.len_utf8(),
    }
}

/// The last bytes of standard error.
#[derive(Debug, Default)]
pub(super) struct Tail {
    kept: Vec<u8>,
    is_cut: bool,
}

impl Tail {
    /// Takes the next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        // Drops only as much as is kept, so that each byte is moved once at the most.
        if self.kept.len() > 2 * TAIL_BYTES {
            self.kept.drain(..self.kept.len() - TAIL_BYTES);
            self.is_cut = true;
        }
    }

    /// The last characters, at most `chars`, without space around them. Invalid UTF-8 and control characters but tabs
    /// and line breaks are replaced.
    pub(super) fn text(&self, chars: usize) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let text = text.trim();
        let count = text.chars().count();
        let is_whole = !self.is_cut && count <= chars;
        let (mark, room) = if is_whole { ("", chars) } else { ("…", chars.saturating_sub(1)) };
        let clean = |char: char| {
            if char.is_control() && !matches!(char, '\n' | '\t') { char::REPLACEMENT_CHARACTER } else { char }
        };
        mark.chars().chain(text.chars().skip(count.saturating_sub(room)).map(clean)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    fn result(parts: &[&[u8]]) -> String {
        let mut head = Head::default();
        parts.iter().for_each(|part| head.add(part));
        head.into_result()
    }

    fn json_of(text: &str) -> String {
        json!(text).to_string()
    }

    fn tail(parts: &[&[u8]]) -> Tail {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.add(part));
        tail
    }

    #[test]
    fn json_is_a_result_as_it_is_written_and_other_output_is_a_string() {
        let cases: [(&[u8], &str); 11] = [
            (b"", "null"),
            (b"null\n", "null"),
            (
                b" {\"b\" : 1.50, \"a\":12345678901234567890123}\n",
                r#"{"b" : 1.50, "a":12345678901234567890123}"#,
            ),
            (b"12\n", "12"),
            (b"\"t\\u00e9xt\"", r#""t\u00e9xt""#),
            (b"\"\xff\"", "\"\\\"\u{fffd}\\\"\""),
            (b"\"cut \\ud83d\"", r#""\"cut \\ud83d\"""#),
            (b"done\n", r#""done\n""#),
            (b"{} {}", r#""{} {}""#),
            (b"\n", r#""\n""#),
            (b"a\xff\0", "\"a\u{fffd}\\u0000\""),
        ];
        for (output, expected) in cases {
            assert_eq!(result(&[output]), expected, "{output:?}");
        }
        assert_eq!(result(&[b"[1", b",2]"]), "[1,2]", "however it arrives");
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(result(&[nested(128).as_bytes()]), nested(128));
        assert_eq!(result(&[nested(129).as_bytes()]), json_of(&nested(129)), "too deep for clients");
    }

    #[test]
    fn output_that_is_too_large_is_cut_and_says_so() {
        let cut = |output: &str| {
            let result = result(&[output.as_bytes()]);
            assert!(result.len() <= MAX_RESULT_BYTES);
            let text = serde_json::from_str::<String>(&result).expect("is a string");
            let mark = format!("… (cut: the program wrote {} bytes)", output.len());
            let beginning = text.strip_suffix(mark.as_str()).expect("has the mark");
            assert!(output.starts_with(beginning), "is the beginning");
            beginning.len()
        };
        let most = MAX_RESULT_BYTES - 2;
        let largest = "x".repeat(most);
        assert_eq!(result(&[largest.as_bytes()]), json_of(&largest), "the largest that fits");
        assert!(cut(&"x".repeat(most + 1)) > most - 100);
        assert!(cut(&"x".repeat(1_000_000)) > most - 100);
        assert!(cut(&"\"".repeat(40_000)) > most / 2 - 100, "with what JSON adds");
        assert!(cut(&format!("x{}", "é".repeat(40_000))) > most - 100, "a character that is cut in two");
        let largest = format!("[{}1]", "1,".repeat(MAX_RESULT_BYTES / 2 - 2));
        assert_eq!(result(&[largest.as_bytes()]), largest, "as large as a result can be");
        assert!(cut(&format!("{largest}  ")) > most - 100, "JSON that is too large");
    }

    #[test]
    fn memory_is_bounded() {
        let (mut head, mut tail) = (Head::default(), Tail::default());
        let part = [b'x'; 16 * 1024];
        for _ in 0..1_000 {
            head.add(&part);
            tail.add(&part);
            assert!(head.kept.len() <= MAX_RESULT_BYTES && tail.kept.len() <= 2 * TAIL_BYTES + part.len());
        }
        assert_eq!(head.bytes, 16_384_000);
    }

    #[test]
    fn the_end_of_standard_error_is_kept() {
        assert_eq!(tail(&[b"  no such ", b"customer\n\n"]).text(2_000), "no such customer");
        assert_eq!(tail(&[b"one\ntwo"]).text(4), "…two");
        assert_eq!(tail(&[b"two"]).text(3), "two");
        assert_eq!(
            tail(&["é".repeat(3_000).as_bytes(), b"!"]).text(2_000),
            format!("…{}!", "é".repeat(1_998))
        );
        assert_eq!(tail(&[&[b'x'; 100_000], b"end"]).text(5), "…xend");
        assert_eq!(tail(&[b"\x1b[31mred\0\xff\tx"]).text(2_000), "\u{fffd}[31mred\u{fffd}\u{fffd}\tx");
        assert_eq!(tail(&[]).text(2_000), "");
    }

    proptest! {
        #[test]
        fn every_result_is_small_enough(output in proptest::collection::vec(any::<u8>(), 0..200), times in 1..2_000_usize) {
            let output = output.repeat(times);
            let result = result(&[&output]);
            prop_assert!(result.len() <= MAX_RESULT_BYTES);
            prop_assert!(serde_json::from_str::<&RawValue>(&result).is_ok());
        }
    }
}
