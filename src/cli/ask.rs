//! Sends a request to a running hookbox, for `hookbox health` and `hookbox reload`. Uses neither curl, which
//! a container may lack, nor an async runtime.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Failure;
use super::settings::client_token;
use crate::config::{Config, TOKEN_VARIABLE};
use crate::domain::secret::Secret;

/// How long to wait for the connection and for each read and write.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// How many bytes of a response are read at most.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// A response.
pub(super) struct Answer {
    /// The HTTP status; 0 if the response is not valid HTTP.
    pub(super) status: u16,
    /// The body, without white space at its ends.
    pub(super) body: String,
}

/// Sends a request without a body to the `http_addr` in the settings, with the token in the environment, else with the
/// `admin_token` of the settings.
pub(super) fn ask(config: &Config, method: &str, path: &str) -> Result<Answer, Failure> {
    let address = reachable(config.http_addr);
    let token = client_token().or_else(|| config.admin_token.clone());
    if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
        let problem = format!("{TOKEN_VARIABLE} is not a token: it may only have visible ASCII characters");
        return Err(Failure::Other(problem.into()));
    }
    let answer = exchange(address, method, path, token.as_ref())
        .map_err(|error| Failure::Other(format!("no answer from http://{address}{path}: {error}").into()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.trim().to_owned() })
}

fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&Secret>,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
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
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
