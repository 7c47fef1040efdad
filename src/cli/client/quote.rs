//! Arguments as a person can paste them into a shell. Pure.

/// An argument that a POSIX shell reads as this text.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_reads_otherwise_is_quoted() {
        for plain in ["order.created", "https://hooks.example.com:8443/inbox/", "01a2-7f"] {
            assert_eq!(quoted(plain), plain);
        }
        for (text, expected) in [
            ("", "''"),
            ("an order", "'an order'"),
            ("$(ls) *", "'$(ls) *'"),
            ("it's", r"'it'\''s'"),
            ("注文", "'注文'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
