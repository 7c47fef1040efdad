//! Lone surrogates in JSON: escapes such as `\ud83d` that are half of a character. JavaScript writes one for a text that
//! was cut within an emoji. The grammar of RFC 8259 allows them (section 8.2), but many libraries refuse the whole text.

use std::borrow::Cow;

use memchr::memchr;

/// The length of an escape such as `\ud83d`, in bytes.
pub const ESCAPE_BYTES: usize = 6;

/// The place of the first lone surrogate of a JSON text from this place on, in bytes. No escape may begin before `from`
/// and end after it.
pub fn find(json: &[u8], mut from: usize) -> Option<usize> {
    while let Some(found) = memchr(b'\\', json.get(from..)?) {
        let at = from + found;
        from = match code_unit(json, at) {
            Some(0xd800..=0xdbff) if matches!(code_unit(json, at + ESCAPE_BYTES), Some(0xdc00..=0xdfff)) => {
                at + 2 * ESCAPE_BYTES
            }
            Some(0xd800..=0xdfff) => return Some(at),
            Some(_) => at + ESCAPE_BYTES,
            // Another escape, such as `\\`.
            None => at + 2,
        };
    }
    None
}

/// The JSON text with U+FFFD, the replacement character, in the place of each lone surrogate. Its length stays.
pub fn replaced(json: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(json);
    let mut from = 0;
    while let Some(at) = find(json, from) {
        from = at + ESCAPE_BYTES;
        text.to_mut()[at..from].copy_from_slice(b"\\ufffd");
    }
    text
}

/// The number of the escape `\uXXXX` at this place; none if there is none.
fn code_unit(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + ESCAPE_BYTES)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u32, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(json: &str) -> String {
        String::from_utf8(replaced(json.as_bytes()).into_owned()).expect("UTF-8")
    }

    #[test]
    fn each_half_of_a_character_is_replaced() {
        for (json, expected) in [
            (r#""cut \ud83d""#, r#""cut \ufffd""#),
            (r#""\uDE00 cut""#, r#""\ufffd cut""#),
            (r#"["\ud83d","\ude00"]"#, r#"["\ufffd","\ufffd"]"#),
            (r#""\ud83d\ud83d\ude00\ude00""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#"{"\ud83d":"\\\ud83d\\"}"#, r#"{"\ufffd":"\\\ufffd\\"}"#),
            (r#""\ud83dude00""#, r#""\ufffdude00""#),
        ] {
            assert_eq!(repaired(json), expected, "{json}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for json in
            ["", r"\", r"\u", r"\ud83", r#""\ud83d\ude00""#, r#""\\ud83d""#, r#""\u00e9\n\ufffd""#, "\"😀\""]
        {
            assert!(matches!(replaced(json.as_bytes()), Cow::Borrowed(_)), "{json}");
        }
    }
}
