//! Times and durations for people. The script keeps those that are relative up to date.

use jiff::Timestamp;
use maud::{Markup, html};

/// A time, relative to now. The absolute time is its title, which touch and keys do not reach.
pub(crate) fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(maud::display(at)) title=(exact(at)) data-ago { (ago(at, now)) } }
}

/// A time, absolute and relative.
pub(crate) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { span.nowrap { (exact(at)) } " " span.muted { "(" (time(at, now)) ")" } }
}

/// A time in a cell of a table: relative, and below that absolute, to the second.
pub(crate) fn dated(at: Timestamp, now: Timestamp) -> Markup {
    html! { span.nowrap { (time(at, now)) } br; span.small.muted { (to_second(at)) } }
}

/// A time in a sentence: absolute, to the second.
pub(crate) fn to_second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration of seconds, in one or two units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    match whole {
        0..60 => self::seconds(seconds),
        60..3_600 => two(whole / 60, "min", whole % 60, "s"),
        3_600..86_400 => two(whole / 3_600, "h", whole % 3_600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3_600, "h"),
    }
}

/// A short duration with two digits that count, such as `0.45 ms`, `12 ms`, `1.3 s`. From a minute on, as
/// [`duration`].
pub(crate) fn seconds(seconds: f64) -> String {
    let milliseconds = seconds.max(0.0) * 1_000.0;
    match milliseconds {
        0.0 => "0 s".to_owned(),
        ..0.995 => format!("{milliseconds:.2} ms"),
        ..9.95 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        ..9_950.0 => format!("{:.1} s", milliseconds / 1_000.0),
        ..59_500.0 => format!("{:.0} s", milliseconds / 1_000.0),
        _ => duration(seconds.max(60.0)),
    }
}

/// A time, absolute, to the millisecond.
pub(crate) fn exact(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S.%3f UTC").to_string()
}

/// Also in `assets/page.js`, in the same words.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let distance = match seconds.unsigned_abs() {
        0 => return "now".to_owned(),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    };
    if seconds > 0 { format!("{distance} ago") } else { format!("in {distance}") }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_time_is_relative_and_its_title_is_absolute() {
        let now = "2026-03-01T12:00:00Z".parse::<Timestamp>().expect("a time");
        let expected = "<time datetime=\"2026-03-01T11:59:57.5Z\" title=\"2026-03-01 11:59:57.500 UTC\" data-ago>\
            2 s ago</time>";
        let at = now - SignedDuration::from_millis(2_500);
        assert_eq!(time(at, now).0, expected);
        let below = "<br><span class=\"small muted\">2026-03-01 11:59:57 UTC</span>";
        assert_eq!(dated(at, now).0, format!("<span class=\"nowrap\">{expected}</span>{below}"));
        let at = |seconds: i64| ago(now - SignedDuration::from_secs(seconds), now);
        assert_eq!(
            [0, 59, 60, 3_599, 7_200, 172_800, -30, -3_600].map(at),
            ["now", "59 s ago", "1 min ago", "59 min ago", "2 h ago", "2 d ago", "in 30 s", "in 1 h"]
        );
    }

    #[test]
    fn durations_have_one_or_two_units() {
        let seconds =
            [0.0, 0.000_45, 0.0012, 0.0456, 1.26, 12.3, 59.7, 60.0, 83.0, 3_600.0, 7_260.0, 93_600.0];
        let texts = seconds.map(duration);
        let expected = [
            "0 s",
            "0.45 ms",
            "1.2 ms",
            "46 ms",
            "1.3 s",
            "12 s",
            "1 min",
            "1 min",
            "1 min 23 s",
            "1 h",
            "2 h 1 min",
            "1 d 2 h",
        ];
        assert_eq!(texts, expected);
        assert_eq!(self::seconds(150.0), "2 min 30 s");
    }
}
