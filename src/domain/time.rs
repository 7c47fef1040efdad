//! Times as people and programs write them.

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimePrinter, Pieces};

/// Whether the text is that of a time as in RFC 3339, also of one that a [`Timestamp`] cannot have.
pub fn is_time(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| pieces.time().is_some() && pieces.offset().is_some())
}

/// What is wrong with a time that a [`Timestamp`] cannot have, to continue a sentence that begins with it.
pub fn out_of_range() -> String {
    let last = DateTimePrinter::new().precision(Some(0)).timestamp_to_string(&Timestamp::MAX);
    format!("is out of range: the last time is {last}; give that one, or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_out_of_range_is_told_from_what_is_no_time() {
        for text in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999+00:00"] {
            assert!(text.parse::<Timestamp>().is_err() && is_time(text), "{text}");
        }
        for text in ["", "soon", "9999-12-31", "9999-12-31T23:59:59", "9999-13-31T23:59:59Z"] {
            assert!(!is_time(text), "{text}");
        }
        let told = "is out of range: the last time is 9999-12-30T22:00:00Z; give that one, or leave it out";
        assert_eq!(out_of_range(), told);
    }
}
