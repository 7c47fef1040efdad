//! The trace of a webhook, as the header `traceparent` of W3C Trace Context writes it, and where it is shown.

use std::fmt;
use std::sync::Arc;

use super::host::WebOrigin;

/// A valid `traceparent`: `00-<32 hex trace id>-<16 hex span id>-<2 hex flags>`
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
#[derive(Clone, PartialEq, Eq)]
pub struct Traceparent(Box<str>);

/// Length of a version 00 `traceparent`, in bytes.
const LENGTH: usize = 55;

impl Traceparent {
    /// Builds a `traceparent` from its numbers. The standard forbids ids of 0; they become 1.
    pub fn new(trace_id: u128, span_id: u64, sampled: bool) -> Self {
        Self(format!("00-{:032x}-{:016x}-{:02x}", trace_id.max(1), span_id.max(1), u8::from(sampled)).into())
    }

    /// Reads a header; none if it is not valid by the standard. Of a later version, reads the part that
    /// version 00 defines.
    pub fn parse(header: &str) -> Option<Self> {
        let known = header.get(..LENGTH)?;
        let rest = &header[LENGTH..];
        let mut parts = known.split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let valid = hex(version, 2)
            && version != "ff"
            && hex(trace_id, 32)
            && trace_id.bytes().any(|b| b != b'0')
            && hex(span_id, 16)
            && span_id.bytes().any(|b| b != b'0')
            && hex(flags, 2)
            && parts.next().is_none()
            && (rest.is_empty() || (version != "00" && rest.starts_with('-')));
        valid.then(|| Self(format!("00-{trace_id}-{span_id}-{flags}").into()))
    }

    /// The trace id: 32 hex digits.
    pub fn trace_id(&self) -> &str {
        &self.0[3..35]
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The URL of a trace in a tool that shows traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceUrl(Arc<str>);

impl TraceUrl {
    /// What stands for the trace id in the text of the URL.
    const TRACE_ID: &'static str = "{trace_id}";

    /// Reads an `http` or `https` URL without a user, with `{trace_id}` in its path, query or fragment. None for any
    /// other text.
    pub fn parse(text: &str) -> Option<Self> {
        let start = text.find("://")? + "://".len();
        let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |length| start + length);
        let (origin, rest) = text.split_at(end);
        let is_url = WebOrigin::parse(origin).is_some() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        (is_url && rest.contains(Self::TRACE_ID)).then(|| Self(text.into()))
    }

    /// The URL of this trace.
    pub fn of(&self, trace_id: &str) -> String {
        self.0.replace(Self::TRACE_ID, trace_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_valid_header_keeps_its_trace_id() {
        let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parsed = Traceparent::parse(header).map(|t| (t.trace_id().to_owned(), t.as_str().to_owned()));
        assert_eq!(parsed, Some(("4bf92f3577b34da6a3ce929d0e0e4736".into(), header.into())));
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert!(Traceparent::parse(later).is_some());
    }

    #[test]
    fn what_the_standard_forbids_is_not_taken() {
        for header in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Traceparent::parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_url_of_a_trace_has_its_id_wherever_the_setting_names_it() {
        for (setting, url) in [
            ("https://jaeger.example/trace/{trace_id}", "https://jaeger.example/trace/4bf9"),
            ("http://[::1]:16686/trace/{trace_id}", "http://[::1]:16686/trace/4bf9"),
            ("https://traces.example?id={trace_id}&at={trace_id}", "https://traces.example?id=4bf9&at=4bf9"),
            ("https://traces.example/#/{trace_id}", "https://traces.example/#/4bf9"),
        ] {
            assert_eq!(TraceUrl::parse(setting).map(|read| read.of("4bf9")).as_deref(), Some(url));
        }
    }

    #[test]
    fn an_invalid_trace_url_is_refused() {
        for setting in [
            "",
            "{trace_id}",
            "/trace/{trace_id}",
            "https://jaeger.example",
            "https://jaeger.example/trace/{traceid}",
            "https://{trace_id}.example/",
            "https:///trace/{trace_id}",
            "https://me:s3cret@jaeger.example/trace/{trace_id}",
            "https://jaeger.example/a trace/{trace_id}",
            "ftp://jaeger.example/trace/{trace_id}",
            "javascript://jaeger.example/%0aalert(\"{trace_id}\")",
        ] {
            assert_eq!(TraceUrl::parse(setting), None, "{setting}");
        }
    }
}
