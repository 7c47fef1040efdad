//! The names of webhooks. Constructors validate, so a name that exists is valid.

use std::fmt;

use crate::domain::error::{Error, Result};

/// The most characters an idempotency key or an event type may have.
pub const MAX_NAME_CHARS: usize = 255;

/// The most characters a source's name may have.
pub const MAX_SOURCE_CHARS: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub struct $type(Box<str>);

        impl $type {
            /// Takes 1 to 255 characters without control characters; names compare byte for byte.
            /// Errors: `InvalidField`.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self> {
                let text = text.into();
                check_name($field, &text)?;
                Ok(Self(text))
            }

            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The sender's unique name of a webhook, within its source.
    IdempotencyKey,
    "idempotency_key"
);
name!(
    /// What happened, in the sender's words.
    EventType,
    "event_type"
);

fn check_name(field: &'static str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(Error::invalid(field, "is empty; it needs 1 to 255 characters"));
    }
    // A short text needs no count, and `nth` stops after 256 characters of a long one.
    if text.len() > MAX_NAME_CHARS && text.chars().nth(MAX_NAME_CHARS).is_some() {
        return Err(Error::invalid(field, format_args!("is longer than {MAX_NAME_CHARS} characters")));
    }
    if let Some(at) = text.chars().position(char::is_control) {
        return Err(Error::invalid(
            field,
            format_args!("has a control character (character {}); remove it", at + 1),
        ));
    }
    Ok(())
}

/// The name of a sender of webhooks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Box<str>);

impl Source {
    /// The source of hookbox's own webhooks. A route matches them only if its `match` has this name without a
    /// wildcard.
    pub const OWN: &'static str = "hookbox";

    /// The source of hookbox's own webhooks.
    pub fn own() -> Self {
        Self(Self::OWN.into())
    }

    /// Whether it is the source of hookbox's own webhooks.
    pub fn is_own(&self) -> bool {
        *self.0 == *Self::OWN
    }

    /// Takes 1 to 63 of `a-z`, `0-9`, `-` and `_`, beginning with a letter or a digit. Errors:
    /// `InvalidField`.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = text.len() <= MAX_SOURCE_CHARS
            && text.bytes().next().is_some_and(allowed)
            && text.bytes().all(|b| allowed(b) || b == b'-' || b == b'_');
        if !good {
            return Err(Error::invalid(
                "source",
                "must be 1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit",
            ));
        }
        Ok(Self(text))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Source {
    /// The source `default`, whose requests have hookbox's own JSON body.
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_characters_without_control_characters() {
        for good in ["a", "Zażółć gęślą jaźń", &"ż".repeat(255), " ", "a\u{200b}b"] {
            assert!(IdempotencyKey::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", &"ż".repeat(256), "a\0b", "line\n", "\u{7f}", "\u{85}"] {
            let error = IdempotencyKey::new(bad).expect_err(bad);
            assert_eq!(error.field(), Some("idempotency_key"), "{bad:?}");
        }
    }

    #[test]
    fn a_source_is_a_lower_case_word() {
        for good in ["default", "a", "0", "git-hub_2", &"a".repeat(63)] {
            assert!(Source::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "-a", "_a", "A", "ą", "a b", "a/b", &"a".repeat(64)] {
            assert!(Source::new(bad).is_err(), "{bad:?}");
        }
    }
}
