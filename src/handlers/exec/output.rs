//! What is kept of the output of a program: the first bytes of standard output, and the last of standard error. All
//! else is counted and dropped while it is read.

use serde_json::Value;

/// The largest result, in bytes of JSON: the limit for the results of all handlers.
const MAX_RESULT_BYTES: usize = 64 * 1024;

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

    /// The result: null if there was no output, the JSON if all of the output is JSON, else a string, in which invalid
    /// UTF-8 is replaced. Output that is too large for a result is a string too: its beginning, and how large it was.
    pub(super) fn into_result(self) -> Value {
        let Self { kept, bytes } = self;
        if kept.is_empty() {
            return Value::Null;
        }
        let is_whole = u64::try_from(kept.len()) == Ok(bytes);
        if is_whole
            && let Ok(value) = serde_json::from_slice::<Value>(&kept)
            && value.to_string().len() <= MAX_RESULT_BYTES
        {
            return value;
        }
        let text = String::from_utf8_lossy(&kept);
        if is_whole && fitting(&text, MAX_RESULT_BYTES).len() == text.len() {
            return Value::String(text.into_owned());
        }
        let mark = format!("… (cut: the program wrote {bytes} bytes)");
        let beginning = fitting(&text, MAX_RESULT_BYTES - mark.len());
        // The last character may have been cut in two.
        Value::String(format!("{}{mark}", beginning.trim_end_matches(char::REPLACEMENT_CHARACTER)))
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

    use super::*;

    fn result(parts: &[&[u8]]) -> Value {
        let mut head = Head::default();
        parts.iter().for_each(|part| head.add(part));
        head.into_result()
    }

    fn tail(parts: &[&[u8]]) -> Tail {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.add(part));
        tail
    }

    #[test]
    fn json_is_a_result_as_it_is_and_other_output_is_a_string() {
        let cases: [(&[u8], Value); 9] = [
            (b"", Value::Null),
            (b"null\n", Value::Null),
            (b" {\"a\": [1, 2.5]}\n", json!({ "a": [1, 2.5] })),
            (b"12\n", json!(12)),
            (b"\"text\"", json!("text")),
            (b"done\n", json!("done\n")),
            (b"{} {}", json!("{} {}")),
            (b"\n", json!("\n")),
            (b"a\xff\0", json!("a\u{fffd}\0")),
        ];
        for (output, expected) in cases {
            assert_eq!(result(&[output]), expected, "{output:?}");
        }
        assert_eq!(result(&[b"[1", b",2]"]), json!([1, 2]), "however it arrives");
    }

    #[test]
    fn output_that_is_too_large_is_cut_and_says_so() {
        let cut = |output: &str| {
            let result = result(&[output.as_bytes()]);
            assert!(result.to_string().len() <= MAX_RESULT_BYTES);
            let text = result.as_str().expect("is a string").to_owned();
            let mark = format!("… (cut: the program wrote {} bytes)", output.len());
            let beginning = text.strip_suffix(mark.as_str()).expect("has the mark");
            assert!(output.starts_with(beginning), "is the beginning");
            beginning.len()
        };
        let most = MAX_RESULT_BYTES - 2;
        assert_eq!(result(&["x".repeat(most).as_bytes()]), json!("x".repeat(most)), "the largest that fits");
        assert!(cut(&"x".repeat(most + 1)) > most - 100);
        assert!(cut(&"x".repeat(1_000_000)) > most - 100);
        assert!(cut(&"\"".repeat(40_000)) > most / 2 - 100, "with what JSON adds");
        assert!(cut(&format!("x{}", "é".repeat(40_000))) > most - 100, "a character that is cut in two");
        let grows = format!("[{}]", vec!["1e9"; 16_000].join(","));
        assert_eq!(
            result(&[grows.as_bytes()]),
            json!(grows),
            "JSON that would be larger when it is written again"
        );
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
            prop_assert!(result(&[&output]).to_string().len() <= MAX_RESULT_BYTES);
        }
    }
}
