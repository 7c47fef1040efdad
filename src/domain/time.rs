//! Times as people and programs write them.

use jiff::Timestamp;
use jiff::fmt::temporal::{DateTimePrinter, Pieces};

/// The first time that requests may give. Protobuf has no earlier ones.
const FIRST: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// The time, unless one of the APIs could not write it.
pub fn in_range(time: Timestamp) -> Option<Timestamp> {
    Some(time).filter(|time| *time >= FIRST)
}

/// The first whole millisecond at or after a time, counted since 1970. Webhooks are accepted in whole milliseconds, so for
/// those that were accepted before a time, or at or after it, this one means the same.
pub fn next_millisecond(time: Timestamp) -> i64 {
    let is_after = time.subsec_nanosecond() % 1_000_000 > 0;
    time.as_millisecond() + i64::from(is_after)
}

/// Whether the text is that of a time as in RFC 3339, also of one that is not [`in_range`].
pub fn is_time(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| pieces.time().is_some() && pieces.offset().is_some())
}

/// What is wrong with a time that is not [`in_range`], to continue a sentence that begins with it.
pub fn out_of_range() -> String {
    let text = |time: &Timestamp| DateTimePrinter::new().precision(Some(0)).timestamp_to_string(time);
    let (first, last) = (text(&FIRST), text(&Timestamp::MAX));
    format!(
        "is out of range: the last time is {last}, and the first one {first}; give one of them, or leave it out"
    )
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
        let told = "is out of range: the last time is 9999-12-30T22:00:00Z, and the first one 0001-01-01T00:00:00Z; give \
                    one of them, or leave it out";
        assert_eq!(out_of_range(), told);
    }

    #[test]
    fn times_are_in_range_from_the_year_1_on() {
        let is_in_range = |text: &str| in_range(text.parse().expect(text)).is_some();
        assert!(is_in_range("0001-01-01T00:00:00Z") && is_in_range("9999-12-30T22:00:00.999999999Z"));
        for early in ["0000-12-31T23:59:59.999999999Z", "-009999-01-02T01:59:59Z"] {
            assert!(!is_in_range(early) && is_time(early), "{early}");
        }
    }

    #[test]
    fn the_next_millisecond_is_never_before_the_time() {
        for (text, millisecond) in [
            ("1970-01-01T00:00:01Z", 1_000),
            ("1970-01-01T00:00:00.610Z", 610),
            ("1970-01-01T00:00:00.6101Z", 611),
            ("1970-01-01T00:00:00.610999999Z", 611),
            ("1969-12-31T23:59:59.9999Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("1969-12-31T23:59:59.9985Z", -1),
        ] {
            assert_eq!(next_millisecond(text.parse().expect(text)), millisecond, "{text}");
        }
    }
}
