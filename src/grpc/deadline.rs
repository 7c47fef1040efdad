//! How long a client waits for the head of its answer, from the header `grpc-timeout`
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

use tonic::codegen::http::HeaderMap;

/// How much earlier than tonic a call is ended: by the resolution of timers. tonic's timer lies outside of all layers,
/// and ends the call as cancelled, without our error details.
const AHEAD_OF_TONIC: Duration = Duration::from_millis(1);

/// The most digits of the header; tonic ignores a longer number.
const MAX_DIGITS: usize = 8;

/// The time after which a call is ended; none if its client waits without limit, or if the header is not valid.
pub(super) fn time_of(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let number = digits.parse::<u64>().ok()?;
    let time = match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(time.saturating_sub(AHEAD_OF_TONIC))
}

#[cfg(test)]
mod tests {
    use tonic::codegen::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_call_ends_one_millisecond_before_the_time_of_its_client() {
        let time_of = |value: &'static str| {
            let name = HeaderName::from_static("grpc-timeout");
            time_of(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
        };
        let before = |millis: u64| Some(Duration::from_millis(millis - 1));
        assert_eq!(time_of("2H"), before(7_200_000));
        assert_eq!(time_of("2M"), before(120_000));
        assert_eq!(time_of("2S"), before(2_000));
        assert_eq!(time_of("200m"), before(200));
        assert_eq!(time_of("99999u"), Some(Duration::from_micros(98_999)));
        assert_eq!(time_of("99999999n"), Some(Duration::from_nanos(98_999_999)));
        assert_eq!(time_of("0S"), Some(Duration::ZERO));
        for wrong in ["", "1", "S", "-1S", "1s", "1 S", "123456789S"] {
            assert_eq!(time_of(wrong), None, "{wrong}");
        }
        assert_eq!(super::time_of(&HeaderMap::new()), None);
    }
}
