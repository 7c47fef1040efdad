//! Protected mode: where hookbox needs neither a token nor a certificate, it listens on loopback only.

use std::net::SocketAddr;

use super::Config;
use super::layers::Layers;
use super::mistake::{Mistake, Mistakes};

impl Config {
    /// Whether each client has to show a certificate.
    pub fn needs_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.files.client_ca.is_some())
    }

    /// Checks that others than this machine cannot reach hookbox unless they need a token or a certificate, or
    /// `allow_anonymous` says that they need none. `needs_certificates` says whether each
    /// client has to show one. `listening` has the addresses on which it listens. Errors: a mistake for each address that
    /// others can reach.
    pub fn check_protection(&self, listening: &Layers, needs_certificates: bool) -> Result<(), Mistakes> {
        if self.tokens.are_needed() || needs_certificates || self.allow_anonymous {
            return Ok(());
        }
        let reached = ["http_addr", "grpc_addr"].into_iter().filter_map(|name| {
            let (value, origin) = listening.get(name);
            let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
            let allowed = "a loopback address, such as 127.0.0.1, because every client that reaches \
                another one could use hookbox: no token is configured. Set HOOKBOX_ADMIN_TOKEN, or add a token to the \
                settings (`hookbox token` makes one), or a `client_ca` to [tls]. allow_anonymous = true lets every client in";
            let reached = value.parse::<SocketAddr>().is_ok_and(|address| !is_loopback(address));
            reached.then(|| Mistake::value(origin, name, value, allowed))
        });
        let reached = reached.collect::<Vec<_>>();
        if reached.is_empty() { Ok(()) } else { Err(Mistakes::new(reached)) }
    }
}
