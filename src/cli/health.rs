//! `hookbox health`: what a container's health check runs, without curl.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::Failure;
use crate::config::{Config, Layers};

/// How long the answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The most that is read of an answer.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Asks `/readyz` at the address in force, and prints what it says.
pub(super) fn health(layers: &Layers) -> Result<ExitCode, Failure> {
    let address = reachable(Config::new(layers)?.http_addr);
    let answer = ask(address)
        .map_err(|error| Failure::Other(format!("no answer from http://{address}/readyz: {error}").into()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    writeln!(std::io::stdout().lock(), "{}", body.trim())?;
    let ready = head.split_ascii_whitespace().nth(1) == Some("200");
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIME)?;
    stream.set_read_timeout(Some(ANSWER_TIME))?;
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
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
