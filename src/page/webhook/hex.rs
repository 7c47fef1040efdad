//! Bytes, as programmers read them.

use std::fmt::Write as _;

use maud::{Markup, html};

/// How many bytes are in a line.
const LINE_BYTES: usize = 16;

/// Bytes as a block of code. Its lines are never broken.
pub(super) fn code(bytes: &[u8]) -> Markup {
    html! { pre.code.bytes tabindex="0" { code { (dump(bytes)) } } }
}

/// Bytes in lines: the place of the first one, each in hexadecimal, and as ASCII where it is visible.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 5);
    for (number, line) in bytes.chunks(LINE_BYTES).enumerate() {
        // Writing to a string does not fail.
        let _ = write!(text, "{:08x} ", number * LINE_BYTES);
        for at in 0..LINE_BYTES {
            let gap = if at == LINE_BYTES / 2 { " " } else { "" };
            let _ = match line.get(at) {
                Some(byte) => write!(text, "{gap} {byte:02x}"),
                None => write!(text, "{gap}   "),
            };
        }
        let visible =
            line.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' });
        text.push_str("  ");
        text.extend(visible);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_with_their_places() {
        let bytes = [b"<order>\0\xff\n".as_slice(), b"0123456789"].concat();
        let expected = "\
            00000000  3c 6f 72 64 65 72 3e 00  ff 0a 30 31 32 33 34 35  <order>...012345\n\
            00000010  36 37 38 39                                       6789\n";
        assert_eq!(dump(&bytes), expected);
        assert_eq!(dump(b""), "");
    }
}
