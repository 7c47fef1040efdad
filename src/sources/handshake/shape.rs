//! The characters that a value of a handshake may have, so that it is no text of a client's choice.

use std::fmt;

use serde::Deserialize;

/// The longest value that is echoed or signed, in characters.
pub(super) const MAX_VALUE_CHARS: usize = 1024;

/// The longest number that is echoed, in characters.
const MAX_DIGITS: usize = 64;

/// The characters that a value may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Shape {
    /// `A-Z`, `a-z`, `0-9` and `._~+/=-`.
    #[default]
    Token,
    /// Printable ASCII and spaces, without what HTML and JSON give a meaning.
    Text,
    /// `0-9`.
    Digits,
}

impl Shape {
    /// Whether a value has this shape.
    pub(super) fn admits(self, value: &str) -> bool {
        let is_allowed: fn(u8) -> bool = match self {
            Self::Token => |byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte),
            Self::Text => |byte| (b' '..=b'~').contains(&byte) && !b"\"\\<>&'".contains(&byte),
            Self::Digits => |byte| byte.is_ascii_digit(),
        };
        !value.is_empty() && value.len() <= self.most() && value.bytes().all(is_allowed)
    }

    /// The most characters of a value.
    fn most(self) -> usize {
        if self == Self::Digits { MAX_DIGITS } else { MAX_VALUE_CHARS }
    }
}

impl fmt::Display for Shape {
    /// Says which values have the shape, for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, characters) = match self {
            Self::Token => ("token", "A-Z, a-z, 0-9 and ._~+/=-"),
            Self::Text => ("text", "printable ASCII and spaces but \" \\ < > & and '"),
            Self::Digits => ("digits", "0-9"),
        };
        write!(f, "the shape `{name}`, which is 1 to {} of {characters}", self.most())
    }
}
