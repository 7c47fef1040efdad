//! The text of JSON pointers (RFC 6901).

/// The names of members and indexes that a pointer consists of, without escapes; empty for the empty pointer, which
/// names the whole value. None if the text is no pointer.
pub fn members(pointer: &str) -> Option<Box<[Box<str>]>> {
    if pointer.is_empty() {
        return Some(Box::default());
    }
    pointer.strip_prefix('/')?.split('/').map(unescaped).collect()
}

fn unescaped(member: &str) -> Option<Box<str>> {
    let mut text = String::with_capacity(member.len());
    let mut chars = member.chars();
    while let Some(char) = chars.next() {
        text.push(match char {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text.into())
}

/// The place in an array that a member of a pointer names; none if it is no index.
pub fn index(member: &str) -> Option<usize> {
    let is_canonical =
        member == "0" || member.bytes().next().is_some_and(|digit| (b'1'..=b'9').contains(&digit));
    if is_canonical && member.bytes().all(|digit| digit.is_ascii_digit()) {
        member.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_and_other_texts_are_refused() {
        let read = |text: &str| members(text).map(|members| members.join("|"));
        assert_eq!(read("").as_deref(), Some(""));
        assert_eq!(read("/a~1b/m~0n/").as_deref(), Some("a/b|m~n|"));
        for text in ["a", "/a~", "/a~2", "#/a"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn an_index_has_no_sign_and_no_leading_zero() {
        assert_eq!(["0", "7", "10"].map(index), [Some(0), Some(7), Some(10)]);
        assert_eq!(["", "-", "00", "01", "+1", "1a"].map(index), [None; 6]);
    }
}
