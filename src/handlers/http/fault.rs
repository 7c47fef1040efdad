//! Why a request failed, in words for people.

use std::error::Error;
use std::io;

use h2::Reason;

use super::client::CONNECT_TIME;
use super::guard::TargetError;
use super::lookups::LOOKUPS_AT_ONCE;
use super::measure::WaitsFor;
use crate::domain::breaker::Health;
use crate::domain::error::{causes, chain};
use crate::tls::CertificateProblem;

/// The kind of fault that is a bug of hookbox.
pub(super) const PANIC: &str = "panic";

/// The kind of fault of an address that the route does not allow.
const ADDRESS_REFUSED: &str = "address_refused";

/// The kind of fault of a name that was not looked up.
const LOOKUPS_BUSY: &str = "lookups_busy";

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

    /// Why no answer began. `waits_for` is what the request waited for.
    pub(super) fn of_request(error: &reqwest::Error, waits_for: WaitsFor) -> Self {
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
            return Self::of_connecting(error, waits_for);
        }
        Self::of_connection(error, "before its answer began")
    }

    /// Why an answer did not end.
    pub(super) fn of_answer(error: &reqwest::Error) -> Self {
        Self::of_connection(error, "before the end of its answer")
    }

    /// Why there was no connection in time. `limit` continues "within ...".
    pub(super) fn not_connected(waits_for: WaitsFor, limit: &str) -> Self {
        match waits_for {
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
                Self::new("connect_timeout", format!("no connection to the target within {limit}"))
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

    fn of_connecting(error: &reqwest::Error, waits_for: WaitsFor) -> Self {
        if error.is_timeout() {
            return Self::not_connected(waits_for, &format!("{CONNECT_TIME:?}"));
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
        if protocol.is_some_and(hyper::Error::is_parse) {
            let error = format!("the target's answer is not valid HTTP: {}", root(error));
            return Self::new("malformed_answer", error);
        }
        // The only time-out of a connection that is set is that of pings.
        if protocol.is_some_and(hyper::Error::is_timeout) {
            return Self::new("ping_timeout", format!("the target left an HTTP/2 ping unanswered {when}"));
        }
        if let Some(fault) = find::<h2::Error>(error).and_then(Self::of_http2) {
            return fault;
        }
        let kind = find::<io::Error>(error).map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) {
            return Self::new("connection_reset", format!("the target reset the connection {when}"));
        }
        let is_closed = protocol
            .is_some_and(|error| error.is_incomplete_message() || error.is_canceled() || error.is_closed());
        if is_closed || kind == Some(io::ErrorKind::UnexpectedEof) {
            return Self::new("connection_closed", format!("the target closed the connection {when}"));
        }
        Self::new("connection", format!("the connection to the target failed {when}: {}", root(error)))
    }

    /// What is wrong with an answer over HTTP/2; none if the target itself has ended it.
    fn of_http2(error: &h2::Error) -> Option<Self> {
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

/// The text of the first cause.
fn root(error: &reqwest::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use reqwest::{Client, ClientBuilder};
    use rustls::{ClientConfig, RootCertStore};

    use super::*;

    /// A client that speaks HTTP/2 without TLS.
    fn over_http2() -> ClientBuilder {
        // The builder needs settings of TLS all the same.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions are known")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Client::builder().tls_backend_preconfigured(tls).no_proxy().http2_prior_knowledge()
    }

    #[test]
    fn a_fault_says_that_the_target_is_down_unless_hookbox_did_not_send() {
        for kind in ["dns", "tls", "connect_timeout", "connection_refused", "connection_closed", "timeout"] {
            assert_eq!(Fault::new(kind, "").health(), Some(Health::Down), "{kind}");
        }
        let refused = TargetError::Refused {
            target: "10.0.0.1 is a private address".to_owned(),
            range: "10.0.0.0/8".parse().expect("a range"),
        };
        assert_eq!(Fault::from(&refused).health(), None);
        assert_eq!(Fault::new(PANIC, "").health(), None);
        assert_eq!(Fault::not_connected(WaitsFor::Turn, "10s").health(), None);
        let unknown = TargetError::NoAddress { name: "hooks.example".to_owned() };
        assert_eq!(Fault::from(&unknown).health(), Some(Health::Down));
    }

    #[tokio::test]
    async fn a_ping_that_the_target_leaves_unanswered_is_told() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let soon = Duration::from_millis(20);
        let client = over_http2().http2_keep_alive_interval(soon).http2_keep_alive_timeout(soon);
        let sending = client.build().expect("is made").post(url).send();
        let sent = tokio::time::timeout(Duration::from_secs(30), sending).await.expect("ends");
        let fault = Fault::of_request(&sent.expect_err("is not answered"), WaitsFor::Answer);
        assert_eq!(fault.error, "the target left an HTTP/2 ping unanswered before its answer began");
        assert_eq!(fault.kind, "ping_timeout");
    }
}
