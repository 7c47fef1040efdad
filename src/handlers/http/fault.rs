//! Why a request failed, in words for people.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;

use h2::Reason;

use super::clients::CONNECT_TIME;
use super::guard::TargetError;
use super::lookups::LOOKUPS_AT_ONCE;
use super::measure::{Known, WaitsFor};
use crate::domain::breaker::Health;
use crate::domain::error::{causes, chain};
use crate::tls::CertificateProblem;

/// The kind of fault that is a bug of hookbox.
pub(super) const PANIC: &str = "panic";

/// The kind of fault of an address that the route does not allow.
const ADDRESS_REFUSED: &str = "address_refused";

/// The kind of fault of a name that was not looked up.
const LOOKUPS_BUSY: &str = "lookups_busy";

/// The kinds of faults of a connection that has ended.
const CLOSED: &str = "connection_closed";
const RESET: &str = "connection_reset";

/// What h2 adds to the reason when it closes the connection because a head is too large. Only the text has it.
const H2_HEAD_TOO_LARGE: [&str; 2] = ["header_list_way_too_large", "too_many_continuations"];

/// Why a request got no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The kind of fault, as `error.type` of the span.
    pub(super) kind: &'static str,
    /// What happened.
    pub(super) error: String,
}

impl Fault {
    pub(super) fn new(kind: &'static str, error: impl Into<String>) -> Self {
        Self { kind, error: error.into() }
    }

    /// What the fault says about the target; none if the request did not get to the target because of hookbox itself.
    pub(super) fn health(&self) -> Option<Health> {
        (![PANIC, ADDRESS_REFUSED, LOOKUPS_BUSY].contains(&self.kind)).then_some(Health::Down)
    }

    /// Whether the target has ended the connection.
    pub(super) fn is_end_of_connection(&self) -> bool {
        [CLOSED, RESET].contains(&self.kind)
    }

    /// Why no answer began.
    pub(super) fn of_request(error: &reqwest::Error, known: &Known) -> Self {
        if let Some(target) = find::<TargetError>(error) {
            return target.into();
        }
        if let Some(problem) = CertificateProblem::of(error) {
            return Self::of_certificate(problem);
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::new("tls", format!("TLS with the target failed: {tls}"));
        }
        if error.is_connect() {
            return Self::of_connecting(error, known);
        }
        Self::of_connection(error, "before its answer began")
    }

    /// Why an answer did not end.
    pub(super) fn of_answer(error: &reqwest::Error) -> Self {
        Self::of_connection(error, "before the end of its answer")
    }

    /// Why there was no connection in time. `limit` continues "within ...".
    pub(super) fn not_connected(known: &Known, limit: &str) -> Self {
        match known.waits_for {
            WaitsFor::Turn => {
                let error = format!(
                    "the name of the target was not looked up within {limit}, because the look-ups of \
                     {LOOKUPS_AT_ONCE} other names did not end"
                );
                Self::new(LOOKUPS_BUSY, error)
            }
            WaitsFor::Name => {
                Self::new("dns", format!("the name of the target was not resolved within {limit}"))
            }
            WaitsFor::Connection | WaitsFor::Answer => {
                let what = if known.over_tls { "connection with TLS" } else { "connection" };
                Self::new("connect_timeout", format!("no {what} to the target within {limit}"))
            }
        }
    }

    fn of_certificate(problem: CertificateProblem<'_>) -> Self {
        let advice = if problem.is_unknown_authority() {
            "; if it is an authority of your own, name its certificate in `ca` of the route"
        } else {
            ""
        };
        Self::new("tls", format!("the certificate of the target is not accepted: {problem}{advice}"))
    }

    fn of_connecting(error: &reqwest::Error, known: &Known) -> Self {
        if error.is_timeout() {
            return Self::not_connected(known, &format!("{CONNECT_TIME:?}"));
        }
        match find::<io::Error>(error).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => Self::new(
                "connection_refused",
                "the target refused the connection; nothing listens at its port",
            ),
            _ => Self::new("connect", format!("the target cannot be connected to: {}", root(error))),
        }
    }

    /// `when` continues "the target reset the connection ...".
    fn of_connection(error: &reqwest::Error, when: &str) -> Self {
        let protocol = find::<hyper::Error>(error);
        if protocol.is_some_and(hyper::Error::is_parse_too_large) {
            return Self::head_too_large();
        }
        if protocol.is_some_and(hyper::Error::is_parse) || is_invalid_body(error) {
            let error = format!("the target's answer is not valid HTTP: {}", root(error));
            return Self::new("malformed_answer", error);
        }
        // The only time-out of a connection that is set is that of pings.
        if protocol.is_some_and(hyper::Error::is_timeout) {
            return Self::new("ping_timeout", format!("the target left an HTTP/2 ping unanswered {when}"));
        }
        let over_http2 = find::<h2::Error>(error);
        if let Some(fault) = over_http2.and_then(|error| Self::of_http2(error, when)) {
            return fault;
        }
        // h2 does not name the error of the connection as its cause.
        let io_error = find::<io::Error>(error).or_else(|| over_http2?.get_io());
        let kind = io_error.map(io::Error::kind);
        // h2 makes this error where the connection has ended.
        let is_ended = over_http2.is_some() && kind == Some(io::ErrorKind::BrokenPipe);
        if !is_ended && matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) {
            return Self::new(RESET, format!("the target reset the connection {when}"));
        }
        let is_closed = protocol
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
        if is_closed || is_ended || kind == Some(io::ErrorKind::UnexpectedEof) {
            return Self::new(CLOSED, format!("the target closed the connection {when}"));
        }
        Self::new("connection", format!("the connection to the target failed {when}: {}", root(error)))
    }

    /// What is wrong with an answer over HTTP/2; none if its connection has failed. `when` continues "the target reset
    /// the request ...".
    fn of_http2(error: &h2::Error, when: &str) -> Option<Self> {
        if error.is_remote() && error.is_reset() {
            let code = error.reason().map(|code| format!(", with the code {code:?}")).unwrap_or_default();
            return Some(Self::new("stream_reset", format!("the target reset the request {when}{code}")));
        }
        if !error.is_library() {
            return None;
        }
        let (text, reason) = (error.to_string(), error.reason());
        let is_too_large = H2_HEAD_TOO_LARGE.iter().any(|data| text.contains(data));
        if is_too_large || reason == Some(Reason::COMPRESSION_ERROR) {
            return Some(Self::head_too_large());
        }
        // A head that is only a little too large is refused like one that is malformed.
        (error.is_reset() && reason == Some(Reason::PROTOCOL_ERROR)).then(|| {
            let error = "the target's answer is not valid HTTP/2, or its head is too large";
            Self::new("malformed_answer", error)
        })
    }

    fn head_too_large() -> Self {
        Self::new("head_too_large", "the head of the target's answer is too large")
    }
}

impl From<&TargetError> for Fault {
    fn from(error: &TargetError) -> Self {
        let kind = match error {
            TargetError::Unresolved { .. } | TargetError::NoAddress { .. } => "dns",
            TargetError::Refused { .. } | TargetError::RefusedLocalhost { .. } => ADDRESS_REFUSED,
        };
        Self::new(kind, causes(error))
    }
}

/// The error of this type among an error and its causes.
fn find<T: Error + 'static>(error: &reqwest::Error) -> Option<&T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// Whether the body of an answer is not valid, such as one with wrong chunks. hyper has no kind for it; TLS makes errors
/// of the same kind.
fn is_invalid_body(error: &reqwest::Error) -> bool {
    let kind = find::<io::Error>(error).map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
        && find::<hyper::Error>(error).is_some()
        && find::<rustls::Error>(error).is_none()
}

/// The text of the first cause.
fn root(error: &reqwest::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
