//! Removes the escapes of URLs, JSON and HTML from a text, and knows where each byte of the rest was in it: to find a
//! value however it is escaped.

use std::ops::Range;

/// The most layers of escapes that are removed. A URL in the query of a URL in JSON has three.
const MAX_LAYERS: usize = 4;

/// The longest name of an entity of HTML, such as `#x0000002f`.
const MAX_NAME: usize = 10;

/// A text without some layers of escapes.
pub(super) struct Layer {
    pub(super) bytes: Vec<u8>,
    /// Where in the text each byte begins; then the end of the text.
    starts: Vec<usize>,
}

/// A text as it is, then with one layer of escapes after the other removed, as long as it has some.
pub(super) fn layers(text: &[u8]) -> impl Iterator<Item = Layer> {
    let whole = Layer { bytes: text.to_vec(), starts: (0..=text.len()).collect() };
    std::iter::successors(Some(whole), Layer::unescaped).take(1 + MAX_LAYERS)
}

impl Layer {
    /// Where these bytes are in the text, with their escapes.
    pub(super) fn place(&self, bytes: Range<usize>) -> Range<usize> {
        self.starts[bytes.start]..self.starts[bytes.end]
    }

    /// The next layer; none if nothing is escaped.
    fn unescaped(&self) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            let start = self.starts[at];
            match escape(&self.bytes[at..]) {
                Some((length, meant)) => {
                    bytes.extend(meant);
                    at += length;
                }
                None => {
                    bytes.push(byte);
                    at += 1;
                }
            }
            starts.resize(bytes.len(), start);
        }
        starts.extend(self.starts.last());
        // Each escape is longer than what it means.
        (bytes.len() < self.bytes.len()).then_some(Self { bytes, starts })
    }
}

/// The length of the escape with which a text begins, and what it means.
fn escape(text: &[u8]) -> Option<(usize, Vec<u8>)> {
    match text {
        [b'%', digits @ ..] => Some((3, vec![u8::try_from(number(digits.get(..2)?, 16)?).ok()?])),
        [b'\\', b'u', digits @ ..] => Some((6, character(number(digits.get(..4)?, 16)?)?)),
        [b'\\', b'x', digits @ ..] => Some((4, character(number(digits.get(..2)?, 16)?)?)),
        [b'\\', escaped, ..] if escaped.is_ascii_punctuation() => Some((2, vec![*escaped])),
        [b'&', rest @ ..] => {
            let length = rest.iter().take(MAX_NAME + 1).position(|byte| *byte == b';')?;
            Some((length + 2, entity(&rest[..length])?))
        }
        _ => None,
    }
}

/// What an entity of HTML means, by its name.
fn entity(name: &[u8]) -> Option<Vec<u8>> {
    match name {
        b"amp" => Some(b"&".to_vec()),
        b"lt" => Some(b"<".to_vec()),
        b"gt" => Some(b">".to_vec()),
        b"quot" => Some(b"\"".to_vec()),
        b"apos" => Some(b"'".to_vec()),
        [b'#', b'x' | b'X', digits @ ..] => character(number(digits, 16)?),
        [b'#', digits @ ..] => character(number(digits, 10)?),
        _ => None,
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(is_digit))?;
    u32::from_str_radix(text, radix).ok()
}

/// A character as UTF-8.
fn character(code: u32) -> Option<Vec<u8>> {
    Some(char::from_u32(code)?.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        layers(text.as_bytes()).map(|layer| String::from_utf8_lossy(&layer.bytes).into_owned()).collect()
    }

    #[test]
    fn each_layer_has_fewer_escapes() {
        for (text, expected) in [
            ("/a b", &["/a b"][..]),
            ("", &[""]),
            (r"\/a\u002Fb\x2fc\u00e9\\", &[r"\/a\u002Fb\x2fc\u00e9\\", r"/a/b/cé\"]),
            ("a%2Fb%252fc%25252F", &["a%2Fb%252fc%25252F", "a/b%2fc%252F", "a/b/c%2F", "a/b/c/"]),
            (
                "&amp;amp;&lt;&#47;&#x2F;&#x0000002f;",
                &["&amp;amp;&lt;&#47;&#x2F;&#x0000002f;", "&amp;<///", "&<///"],
            ),
            // Not escapes, or of no character.
            (
                r"%2 %zz %+1 \n \u12 \ud83d &nbsp; &; &#; &#x110000; & %",
                &[r"%2 %zz %+1 \n \u12 \ud83d &nbsp; &; &#; &#x110000; & %"],
            ),
        ] {
            assert_eq!(texts(text), expected);
        }
        let deep = format!("%{}2F", "25".repeat(20));
        assert_eq!(texts(&deep).len(), 1 + MAX_LAYERS);
    }

    #[test]
    fn the_place_of_a_byte_has_its_escapes() {
        let text = r"a\/%252Fb";
        let last = layers(text.as_bytes()).last().expect("a layer");
        assert_eq!(last.bytes, b"a//b");
        let places = (0..4).map(|at| &text[last.place(at..at + 1)]).collect::<Vec<_>>();
        assert_eq!(places, ["a", r"\/", "%252F", "b"]);
        assert_eq!(last.place(0..4), 0..text.len());
    }
}
