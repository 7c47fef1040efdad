//! Why a hookbox could not be asked, and what to do next.

use std::error::Error;

use rustls::{AlertDescription, InvalidMessage};
use url::Url;

use crate::domain::error::Reason;
use crate::tls::CertificateProblem;

/// What to do next if the cause does not say it.
pub(super) const IS_IT_RUNNING: &str =
    "is hookbox running there? Set HOOKBOX_URL or --url if it is elsewhere";

/// As [`IS_IT_RUNNING`], if a connection of TLS was closed. With TLS 1.3, a server looks at the certificate of the client
/// after the handshake of the client, which may then see the end of the connection before the alert.
const IS_IT_RUNNING_OR_STRICT: &str = "is hookbox running there, and does it accept this client? If it serves only \
                                       clients with a certificate, name the files of yours with --client-cert and --client-key";

/// What to do next if the answer is not HTTP/1.1. That of a port with TLS, and that of the port for gRPC, look the same.
const NO_HTTP: &str = "if it serves TLS, write https:// in its URL; if this is its port for gRPC (grpc_addr), give that \
                       for REST (http_addr)";

/// What the texts of errors of a closed connection have in common: those of hyper and of h2, and of the system.
const OF_CLOSED_CONNECTIONS: [&str; 3] = ["closed", "Broken pipe", "Connection reset"];

/// What a server says of a certificate of the client that it does not accept.
const OF_CLIENT_CERTIFICATES: [AlertDescription; 6] = [
    AlertDescription::BadCertificate,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::DecryptError,
    AlertDescription::UnknownCA,
    AlertDescription::UnsupportedCertificate,
];

/// How much of an unknown answer is shown, in characters.
pub(super) const SHOWN_CHARS: usize = 200;

/// Why a hookbox could not be asked, or did not do what it was asked for. The texts can have parts that senders or
/// servers chose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// There is no answer.
    #[error("no answer from {url}: {cause}; {advice}")]
    Unreachable {
        /// The URL of hookbox.
        url: String,
        /// What has failed.
        cause: String,
        /// What to do next.
        advice: &'static str,
        /// Whether the request may have come to hookbox.
        may_have_come: bool,
    },
    /// The answer is not a success.
    #[error("{detail}")]
    Refused {
        /// The status.
        status: u16,
        /// The reason of the problem document; empty if the answer has none.
        reason: String,
        /// What happened, why, and what to do next.
        detail: String,
    },
    /// The answer is not one of hookbox.
    #[error(
        "{url} answers otherwise than hookbox does: {cause}; check the URL, and that both have the same version"
    )]
    Unexpected {
        /// The URL of hookbox.
        url: String,
        /// What is unexpected.
        cause: String,
    },
    /// Nothing was asked: the path of the call has a part that names nothing, such as an empty one.
    #[error(
        "{name:?} is neither the id of a webhook nor the name of a source; if it comes from a variable, check what the \
         variable is set to"
    )]
    NoName {
        /// The part.
        name: String,
    },
}

impl ClientError {
    /// Whether the same call can succeed later: nothing answers, or the server is overloaded or stops. A 404 without a
    /// reason is that of a proxy which does not reach hookbox at the moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status: 404, reason, .. } => reason.is_empty(),
            Self::Refused { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Unexpected { .. } | Self::NoName { .. } => false,
        }
    }

    /// Whether hookbox may have done what it was asked for although it did not say so: the answer is lost, or is that of a
    /// store or a proxy that does not know.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { may_have_come, .. } => *may_have_come,
            Self::Refused { status, reason, .. } if reason.is_empty() => *status >= 500,
            Self::Refused { reason, .. } => {
                let unsure = [Reason::StoreUnavailable, Reason::ShuttingDown, Reason::Internal];
                unsure.iter().any(|unsure| reason == unsure.as_str())
            }
            Self::Unexpected { .. } => true,
            Self::NoName { .. } => false,
        }
    }

    /// What has failed, for a call that is tried again: without the question whether hookbox is running.
    pub fn why(&self) -> String {
        match self {
            Self::Unreachable { cause, advice: IS_IT_RUNNING | IS_IT_RUNNING_OR_STRICT, .. } => cause.clone(),
            Self::Unreachable { cause, advice, .. } => format!("{cause}; {advice}"),
            other => other.to_string(),
        }
    }
}

/// Why a request got no answer. `problem_of_authorities` can be why there is no connection.
pub(super) fn cause_of(error: &reqwest::Error, problem_of_authorities: Option<&str>) -> String {
    let cause = CertificateProblem::of(error).map_or_else(
        || root_of(error).to_string(),
        |problem| format!("the certificate of the server is not accepted: {problem}"),
    );
    match problem_of_authorities.filter(|_| error.is_connect()) {
        Some(problem) => format!("{cause} ({problem})"),
        None => cause,
    }
}

/// What to do next after a request to a URL of hookbox that got no answer.
pub(super) fn advice_for(error: &(dyn Error + 'static), url: &Url) -> &'static str {
    let root = root_of(error);
    if url.scheme() == "http" {
        let is_no_http = root.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        return if is_no_http { NO_HTTP } else { IS_IT_RUNNING };
    }
    if let Some(problem) = CertificateProblem::of(error) {
        return if problem.is_unknown_authority() {
            "name the file of its authority with --ca"
        } else {
            "check its certificate, and the host in its URL"
        };
    }
    // Any other error of TLS is a part of the error of a connection, in HTTP/2 as a text.
    let cause = root.to_string();
    let is = |error: rustls::Error| cause == error.to_string();
    let is_alert = |alert: AlertDescription| is(rustls::Error::AlertReceived(alert));
    if is(InvalidMessage::InvalidContentType.into()) {
        "if it serves without TLS, write http:// in its URL"
    } else if is_alert(AlertDescription::CertificateRequired) {
        "it serves only clients with a certificate; name the files of yours with --client-cert and --client-key"
    } else if OF_CLIENT_CERTIFICATES.into_iter().any(is_alert) {
        "it does not accept the certificate in --client-cert; name one that an authority in its client_ca has signed"
    } else if OF_CLOSED_CONNECTIONS.into_iter().any(|text| cause.contains(text)) {
        IS_IT_RUNNING_OR_STRICT
    } else {
        IS_IT_RUNNING
    }
}

/// The innermost cause of an error: the others only say that a request has failed.
fn root_of<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::CertificateError;

    use super::*;

    #[test]
    fn the_advice_for_a_certificate_is_about_its_problem() {
        let url = "https://hooks.example.com".parse::<Url>().expect("a URL");
        for (problem, expected) in [
            (CertificateError::UnknownIssuer, "with --ca"),
            (CertificateError::BadSignature, "with --ca"),
            (CertificateError::NotValidForName, "the host in its URL"),
            (CertificateError::Expired, "check its certificate"),
        ] {
            let error = io::Error::other(io::Error::other(rustls::Error::InvalidCertificate(problem)));
            let advice = advice_for(&error, &url);
            assert!(advice.contains(expected), "{error}: {advice}");
        }
    }

    #[test]
    fn the_advice_is_about_the_cause() {
        let url = "https://hooks.example.com".parse::<Url>().expect("a URL");
        for (error, expected) in [
            (InvalidMessage::InvalidContentType.into(), "write http://"),
            (rustls::Error::AlertReceived(AlertDescription::CertificateRequired), "with --client-cert"),
            (rustls::Error::AlertReceived(AlertDescription::UnknownCA), "in its client_ca"),
            (rustls::Error::AlertReceived(AlertDescription::InternalError), "HOOKBOX_URL"),
        ] {
            let as_text = io::Error::other(error.to_string());
            let as_error = io::Error::other(io::Error::other(error));
            for error in [as_text, as_error] {
                let advice = advice_for(&error, &url);
                assert!(advice.contains(expected), "{error}: {advice}");
            }
        }
    }

    #[test]
    fn the_advice_names_client_cert_if_a_tls_connection_was_closed() {
        let https = "https://hooks.example.com".parse::<Url>().expect("a URL");
        for text in ["connection closed", "channel closed", "stream closed because of a broken pipe"] {
            let error = io::Error::other(io::Error::other(text));
            let advice = advice_for(&error, &https);
            assert!(advice.contains("--client-cert"), "{text}: {advice}");
            let (url, cause) = (https.to_string(), text.to_owned());
            let error = ClientError::Unreachable { url, cause, advice, may_have_come: true };
            assert_eq!(error.why(), text);
        }
        let http = "http://hooks.example.com".parse::<Url>().expect("a URL");
        assert_eq!(advice_for(&io::Error::other("connection closed"), &http), IS_IT_RUNNING);
        assert_eq!(advice_for(&io::Error::other("Connection refused (os error 111)"), &https), IS_IT_RUNNING);
    }

    #[test]
    fn what_passes_is_told_from_what_hookbox_has_decided() {
        let is_passing = |status: u16, reason: &str| {
            let (reason, detail) = (reason.to_owned(), String::new());
            ClientError::Refused { status, reason, detail }.is_passing()
        };
        for (status, reason) in [(503, "SHUTTING_DOWN"), (502, ""), (429, "RATE_LIMITED"), (404, "")] {
            assert!(is_passing(status, reason), "{status} {reason}");
        }
        for (status, reason) in [(404, "WEBHOOK_NOT_FOUND"), (401, ""), (400, "INVALID_FIELD"), (409, "")] {
            assert!(!is_passing(status, reason), "{status} {reason}");
        }
    }
    #[test]
    fn what_may_be_done_is_told_from_what_hookbox_has_refused() {
        for (status, reason, expected) in [
            (503, "STORE_UNAVAILABLE", true),
            (429, "STORE_UNAVAILABLE", true),
            (503, "SHUTTING_DOWN", true),
            (500, "INTERNAL", true),
            (502, "", true),
            (404, "", false),
            (503, "RATE_LIMITED", false),
            (503, "BACKLOG_FULL", false),
            (400, "INVALID_FIELD", false),
        ] {
            let error = ClientError::Refused { status, reason: reason.to_owned(), detail: String::new() };
            assert_eq!(error.may_be_done(), expected, "{status} {reason}");
        }
    }
}
