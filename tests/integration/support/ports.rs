//! Ports for the programs that tests start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::wait::wait_until;

/// Where ports are looked for. Systems choose higher ones for outgoing connections, one of which
/// could else take the port of a program that is not up yet, or down for a while.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// For how long a child may hold a listener until it becomes its program.
const HELD_TIME: Duration = Duration::from_secs(2);

/// A port that nothing listens on. No two tests of this process are given the same one.
pub(crate) fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Test processes that run at the same time begin at different places.
    let first = (std::process::id() % u32::from(COUNT)) as u16;
    let mut ports = (0..COUNT).map(|_| {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed);
        FIRST + first.wrapping_mul(61).wrapping_add(tried) % COUNT
    });
    let free = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.expect("a port is free")
}

/// Listens on a port that [`free_port`] has returned. A child that another test is just starting may hold the listener
/// with which `free_port` has tried it, until the child becomes its program.
pub(crate) fn listen_on(port: u16) -> TcpListener {
    let mut listener = None;
    wait_until(HELD_TIME, || {
        listener = TcpListener::bind(("127.0.0.1", port)).ok();
        listener.is_some()
    });
    listener.expect("nobody else listens on the port")
}
