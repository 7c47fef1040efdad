//! Sends a request to a running hookbox, for `hookbox health` and `hookbox reload`. Uses neither curl, which
//! a container may lack, nor an async runtime.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::Failure;
use super::settings::client_token;
use crate::config::{Reach, TOKEN_VARIABLE};
use crate::domain::secret::Secret;
use crate::tls::{CertificateProblem, ServerCheck, client_config};

/// How long to wait for the connection and for each read and write.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How many bytes of a response are read at most.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// A response.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, without white space at its ends.
    pub(super) body: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    /// The connection has failed.
    #[error("no answer from {url}: {error}; {advice}")]
    Failed {
        url: String,
        error: io::Error,
        /// What to do next.
        advice: &'static str,
    },
    /// The connection, or a part of the response, took longer than [`ANSWER_TIME`].
    #[error("no answer from {url} within {ANSWER_TIME:?}")]
    Late { url: String },
    /// What came is not HTTP, such as the alert of a server with TLS.
    #[error(
        "no HTTP answer from {url}; if hookbox serves TLS there, name its settings with --config, or restart it if \
         [tls] was removed from them"
    )]
    NotHttp { url: String },
    /// What came is not TLS, such as the answer of a server without it.
    #[error(
        "no TLS at {url}; if hookbox serves without TLS there, name its settings with --config, or restart it if \
         [tls] was added to them"
    )]
    NotTls { url: String },
}

/// Sends a request without a body to the `http_addr` in the settings, with TLS if they have it. `check` says how the
/// certificate of the server is checked. A server that is not checked gets no token. Otherwise sends the token of the
/// environment; if there is none, the `admin_token` of the settings.
pub(super) fn ask(reach: &Reach, check: ServerCheck, method: &str, path: &str) -> Result<Answer, Failure> {
    let address = reachable(reach.http_addr);
    let token = match check {
        ServerCheck::Own => client_token().or_else(|| reach.admin_token.clone()),
        ServerCheck::Nothing => None,
    };
    if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        let problem = format!("{TOKEN_VARIABLE} is not a token: it may only have visible ASCII characters");
        return Err(Failure::Other(problem.into()));
    }
    let token = token.as_ref();
    let connected = connect(address).and_then(|stream| {
        if reach.has_tls {
            exchange(secured(stream, address, reach, check)?, address, method, path, token)
        } else {
            exchange(stream, address, method, path, token)
        }
    });
    let scheme = if reach.has_tls { "https" } else { "http" };
    let url = format!("{scheme}://{address}{path}");
    let problem = match connected {
        Ok(text) => match answer_of(&text) {
            Some(answer) => return Ok(answer),
            None => NoAnswer::NotHttp { url },
        },
        Err(error) => NoAnswer::because_of(error, url, reach.has_tls && reach.certificate.is_none()),
    };
    Err(Box::new(problem).into())
}

impl NoAnswer {
    /// `shows_nothing` is whether a server with TLS was shown no certificate.
    fn because_of(error: io::Error, url: String, shows_nothing: bool) -> Self {
        match error.kind() {
            // A read that takes too long has the first kind on Unix.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Late { url },
            _ if matches!(rustls_error(&error), Some(rustls::Error::InvalidMessage(_))) => {
                Self::NotTls { url }
            }
            _ => Self::Failed { advice: advice_for(&error, shows_nothing), url, error },
        }
    }
}

/// What to do next after a connection that has failed.
fn advice_for(error: &io::Error, shows_nothing: bool) -> &'static str {
    if CertificateProblem::of(error).is_some() {
        "the server has another certificate than the one in [tls]; name its settings with --config"
    } else if shows_nothing && error.kind() != ErrorKind::ConnectionRefused {
        "the files in [tls] could not be read, so this command showed no certificate, which hookbox asks for if it has \
         client_ca. Relative paths begin in the working directory: start this command where hookbox was started"
    } else {
        "is hookbox running there? The settings say where this command asks: name their file with --config, or give \
         --http-addr"
    }
}

/// Whether there is no answer because the server has another certificate than the settings.
pub(super) fn is_of_another_certificate(failure: &Failure) -> bool {
    let Failure::Other(error) = failure else { return false };
    let Some(NoAnswer::Failed { error, .. }) = error.downcast_ref::<NoAnswer>() else { return false };
    CertificateProblem::of(error).is_some()
}

/// Why TLS has failed; none if something else has.
fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Reads a response; none if it is not HTTP.
fn answer_of(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let status = head.strip_prefix("HTTP/")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.trim().to_owned() })
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    Ok(stream)
}

/// TLS over a connection. Shows the certificate of the server as that of the client, in case clients need one.
fn secured(
    stream: TcpStream,
    address: SocketAddr,
    reach: &Reach,
    check: ServerCheck,
) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let config = client_config(reach.certificate.as_ref(), check).map_err(io::Error::other)?;
    let client = ClientConnection::new(Arc::new(config), ServerName::from(address.ip()));
    Ok(StreamOwned::new(client.map_err(io::Error::other)?, stream))
}

fn exchange(
    mut stream: impl Read + Write,
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&Secret>,
) -> io::Result<String> {
    let authorization = token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose()));
    let authorization = authorization.unwrap_or_default();
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}Content-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer)?;
    Ok(answer)
}

/// The address to connect to: loopback if the server listens on all addresses.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: ErrorKind, shows_nothing: bool) -> String {
        NoAnswer::because_of(error.into(), "https://[::1]:8080/readyz".to_owned(), shows_nothing).to_string()
    }

    #[test]
    fn a_server_that_is_silent_is_told_apart_from_one_that_refuses() {
        for late in [ErrorKind::WouldBlock, ErrorKind::TimedOut] {
            assert_eq!(told(late, false), "no answer from https://[::1]:8080/readyz within 5s", "{late}");
        }
        for shows_nothing in [false, true] {
            let refused = told(ErrorKind::ConnectionRefused, shows_nothing);
            let (answer, advice) = refused.split_once("; ").expect("an advice");
            assert_eq!(answer, "no answer from https://[::1]:8080/readyz: connection refused");
            assert!(advice.contains("is hookbox running there") && advice.contains("--config"), "{advice}");
        }
    }

    #[test]
    fn a_command_that_showed_no_certificate_says_so() {
        assert!(told(ErrorKind::ConnectionReset, true).contains("showed no certificate"));
        assert!(told(ErrorKind::ConnectionReset, false).contains("is hookbox running there"));
    }
}
