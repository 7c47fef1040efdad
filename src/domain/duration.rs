//! How durations are written.

use std::time::Duration;

/// A duration as the settings have it, in the largest unit that needs no fraction, such as `90s` or `36h`.
pub fn duration_text(duration: Duration) -> String {
    const NANOSECONDS_OF: [(u128, &str); 6] = [
        (24 * 60 * 60 * 1_000_000_000, "d"),
        (60 * 60 * 1_000_000_000, "h"),
        (60 * 1_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let unit = NANOSECONDS_OF.iter().find(|(unit, _)| nanoseconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{nanoseconds}ns"), |(unit, name)| format!("{}{name}", nanoseconds / unit))
}

/// A delay in whole seconds, as the header `Retry-After` has it: rounded up, at least 1.
pub fn whole_seconds(delay: Duration) -> u64 {
    delay.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_one_unit_and_is_read_back_as_the_same_value() {
        for (microseconds, text) in [
            (0, "0s"),
            (1, "1us"),
            (1_500, "1500us"),
            (1_000, "1ms"),
            (1_500_000, "1500ms"),
            (2_000_000, "2s"),
            (90_000_000, "90s"),
            (300_000_000, "5m"),
            (3_600_000_000, "1h"),
            (36 * 3_600_000_000, "36h"),
            (24 * 3_600_000_000, "1d"),
            (30 * 24 * 3_600_000_000, "30d"),
        ] {
            let written = Duration::from_micros(microseconds);
            assert_eq!(duration_text(written), text);
            assert_eq!(humantime::parse_duration(text).ok(), Some(written), "{text}");
        }
        assert_eq!(duration_text(Duration::from_nanos(1_001)), "1001ns");
    }

    #[test]
    fn a_delay_in_whole_seconds_is_never_too_short() {
        let seconds =
            [0, 1, 1_000, 1_001].map(|milliseconds| whole_seconds(Duration::from_millis(milliseconds)));
        assert_eq!(seconds, [1, 1, 1, 2]);
    }
}
