//! Times as people say them. Pure.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::safe::safe;
use crate::domain::time::{is_time, out_of_range};

/// How long ago a time was, or how long it takes until then, such as `5m ago` or `in 30s`. `time` is written as in
/// RFC 3339; any other text is shown as it is.
pub(super) fn relative(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else { return safe(time) };
    let seconds = now.as_second().saturating_sub(then.as_second());
    let span = span(seconds.unsigned_abs());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("{span} ago"),
        _ => format!("in {span}"),
    }
}

/// How long ago a time was, such as `5m`.
pub(super) fn age(time: &str, now: Timestamp) -> String {
    let relative = relative(time, now);
    relative.strip_suffix(" ago").unwrap_or(&relative).to_owned()
}

/// A time as logs have it: in UTC, with milliseconds.
pub(super) fn clock_time(time: Timestamp) -> String {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    PRINTER.timestamp_to_string(&time)
}

/// A number of seconds in the largest unit of which there is one.
pub(super) fn span(seconds: u64) -> String {
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= length {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// A time for a filter: as in RFC 3339, or how long ago, such as `2h`. Errors: the text is neither.
pub(super) fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text).ok();
    ago.and_then(|ago| now.checked_sub(ago).ok()).ok_or_else(|| {
        if is_time(text) {
            return format!("{text:?} {}", out_of_range());
        }
        format!("{text:?} is not a time; write one such as 2026-03-01T12:00:00Z, or how long ago, such as 2h")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn a_time_is_told_by_its_distance() {
        for (time, told) in [
            ("2026-03-01T12:00:00.300Z", "now"),
            ("2026-03-01T11:59:59Z", "1s ago"),
            ("2026-03-01T11:58:30Z", "1m ago"),
            ("2026-03-01T10:00:00Z", "2h ago"),
            ("2026-01-01T12:00:00Z", "59d ago"),
            ("2026-03-01T12:00:45Z", "in 45s"),
            ("soon\u{1b}", "soon\\u{1b}"),
        ] {
            assert_eq!(relative(time, now()), told);
            assert_eq!(age(time, now()), told.trim_end_matches(" ago"));
        }
    }

    #[test]
    fn a_filter_takes_a_time_or_how_long_ago_it_was() {
        let time = |text: &str| moment(text, now()).map(|time| time.to_string());
        assert_eq!(time("2h").as_deref(), Ok("2026-03-01T10:00:00Z"));
        assert_eq!(time("2026-02-01T00:00:00+01:00").as_deref(), Ok("2026-01-31T23:00:00Z"));
        for wrong in ["", "yesterday", "99999999y"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        let late = time("9999-12-31T23:59:59Z").expect_err("is out of range");
        assert!(
            late.starts_with("\"9999-12-31T23:59:59Z\" is out of range: the last time is 9999-12-30T"),
            "{late}"
        );
    }
}
