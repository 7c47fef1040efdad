//! Sends a request to a running hookbox, for `hookbox health` and `hookbox reload`. Uses neither curl, which
//! a container may lack, nor an async runtime.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Failure;
use crate::config::Config;

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

/// Sends a request without a body to the `http_addr` in the settings.
pub(super) fn ask(config: &Config, method: &str, path: &str) -> Result<Answer, Failure> {
    let address = reachable(config.http_addr);
    let answer = exchange(address, method, path)
        .map_err(|error| Failure::Other(format!("no answer from http://{address}{path}: {error}").into()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split_ascii_whitespace().nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.trim().to_owned() })
}

fn exchange(address: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
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
