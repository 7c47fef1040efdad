//! Protected mode: where hookbox needs neither a token nor a certificate, it listens on loopback only.

use std::net::SocketAddr;

use super::Config;
use super::layers::Layers;
use super::mistake::Mistake;

/// Where a hookbox listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening<'a> {
    /// The settings with its addresses.
    pub at: &'a Layers,
    /// Whether every connection has a certificate of its client if the settings name a `client_ca`.
    pub needs_certificates: bool,
}

impl<'a> Listening<'a> {
    /// Where a hookbox listens that starts with these settings.
    pub fn from_start(layers: &'a Layers) -> Self {
        Self { at: layers, needs_certificates: true }
    }
}

impl Config {
    /// Whether each client has to show a certificate.
    pub fn needs_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.files.client_ca.is_some())
    }
}

/// A mistake for each address at which others than this machine could use hookbox without a token and a certificate,
/// unless `allow_anonymous` says that they may. A token, a `client_ca` or an `allow_anonymous` that has a mistake of its
/// own counts as good: what is meant is known.
pub(super) fn mistakes(settings: &Layers, listening: &Listening<'_>) -> Vec<Mistake> {
    let needs_certificates = listening.needs_certificates && names_client_ca(settings);
    let is_anonymous_allowed = settings.get("allow_anonymous").0 != "false";
    if has_tokens(settings) || needs_certificates || is_anonymous_allowed {
        return Vec::new();
    }
    let reached = ["http_addr", "grpc_addr"].into_iter().filter_map(|name| {
        let (value, origin) = listening.at.get(name);
        let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
        let allowed = "a loopback address, such as 127.0.0.1, because every client that reaches \
            another one could use hookbox: no token is configured. Set HOOKBOX_ADMIN_TOKEN, or add a token to the \
            settings (`hookbox token` makes one), or a `client_ca` to [tls]. allow_anonymous = true lets every client in";
        let reached = value.parse::<SocketAddr>().is_ok_and(|address| !is_loopback(address));
        reached.then(|| Mistake::value(origin, name, value, allowed))
    });
    reached.collect()
}

fn has_tokens(settings: &Layers) -> bool {
    let has_own = settings.read_tokens(|tokens| {
        tokens.is_some_and(|tokens| tokens.table().is_none_or(|table| !table.entries().is_empty()))
    });
    has_own || !settings.get("admin_token").0.is_empty()
}

fn names_client_ca(settings: &Layers) -> bool {
    settings.read_tls(|tls| {
        tls.and_then(|tls| tls.table()).is_some_and(|mut table| table.get("client_ca").is_some())
    })
}
