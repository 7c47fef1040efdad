//! Asks a hookbox on this machine, without a runtime and without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::Failure;
use crate::config::Config;

/// How long the answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The most that is read of an answer.
const ANSWER_BYTES: u64 = 1024 * 1024;

/// What was answered.
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body, without white space around it.
    pub(super) body: String,
}

/// Sends a request without a body to the REST address in force.
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

/// A server that listens everywhere is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
