//! Arguments as a person can paste them into a shell. Pure.

use std::fmt::Write as _;

use crate::domain::hidden::is_hidden;

/// A flag and its value, which may begin with `-`.
pub(super) fn flag(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quoted(value))
}

/// An argument that a POSIX shell reads as this text. It can be shown as it is: no character of it acts on a terminal.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    if text.chars().any(is_hidden) {
        return escaped(text);
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// An argument with escapes for hidden characters, in `$'…'`: bash, zsh and ksh read it, and POSIX has it since 2024.
fn escaped(text: &str) -> String {
    let mut argument = "$'".to_owned();
    for character in text.chars() {
        if is_hidden(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string does not fail.
                let _ = write!(argument, "\\{byte:03o}");
            }
            continue;
        }
        if matches!(character, '\'' | '\\') {
            argument.push('\\');
        }
        argument.push(character);
    }
    argument + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_only_where_a_shell_needs_quotes() {
        for plain in ["order.created", "https://hooks.example.com:8443/inbox/", "01a2-7f"] {
            assert_eq!(quoted(plain), plain);
        }
        for (text, expected) in [
            ("", "''"),
            ("an order", "'an order'"),
            ("$(ls) *", "'$(ls) *'"),
            ("it's", r"'it'\''s'"),
            ("注文", "'注文'"),
            ("a\u{202e}1", r"$'a\342\200\2561'"),
            ("it's\n\\ 注文", r"$'it\'s\012\\ 注文'"),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn a_value_that_begins_like_a_flag_is_joined_to_its_flag() {
        for (value, expected) in [("x-", "--type x-"), ("-x", "--type=-x"), ("-a b", "--type='-a b'")] {
            assert_eq!(flag("--type", value), expected);
        }
    }
}
