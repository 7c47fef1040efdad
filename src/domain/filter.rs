//! Texts that a list of webhooks can be narrowed to.

use super::error::{Error, Result};

/// The most bytes of a text in a filter.
pub const MAX_FILTER_BYTES: usize = 4_096;

/// A trace: 32 hexadecimal digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(Box<str>);

impl TraceId {
    /// Takes 32 hexadecimal digits in any case. Errors: `InvalidField`.
    pub fn new(text: &str) -> Result<Self> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Error::invalid("trace_id", "must be 32 hexadecimal digits"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that a list looks for in other texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterText(Box<str>);

impl FilterText {
    /// Takes 1 to [`MAX_FILTER_BYTES`] bytes; `field` is where they come from. Errors: `InvalidField`.
    pub fn new(field: &'static str, text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::invalid(field, "is empty; leave it out, or give a text to look for"));
        }
        check_length(field, &text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Refuses a text of a filter that is too long. Errors: `InvalidField`.
pub(super) fn check_length(field: &'static str, text: &str) -> Result<()> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(Error::invalid(
            field,
            format_args!("has more than {MAX_FILTER_BYTES} bytes; shorten it"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_kept_as_traceparent_writes_it() {
        let id = TraceId::new("4BF92F3577B34DA6A3CE929D0E0E4736").expect("valid");
        assert_eq!(id.as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let digits = "4bf92f3577b34da6a3ce929d0e0e473";
        for text in ["", digits, &format!("{digits}g"), &format!("{digits}61"), &"ż".repeat(16)] {
            assert_eq!(TraceId::new(text).expect_err(text).field(), Some("trace_id"));
        }
    }

    #[test]
    fn a_text_to_look_for_has_a_limited_length() {
        let of = |text: String| FilterText::new("error_contains", text);
        assert!(of("x".repeat(MAX_FILTER_BYTES)).is_ok());
        for text in [String::new(), "x".repeat(MAX_FILTER_BYTES + 1)] {
            assert_eq!(of(text).expect_err("refused").field(), Some("error_contains"));
        }
    }
}
