//! Protected mode: where hookbox needs neither a token nor a certificate, it listens on loopback only.

use std::net::SocketAddr;

use super::Config;
use super::layers::Layers;
use super::mistake::Mistake;

/// Where a hookbox listens.
#[derive(Clone, Copy, Debug)]
pub struct Listening<'a> {
    /// The settings with its addresses and its `allow_anonymous`.
    pub at: &'a Layers,
    /// Whether every connection has a certificate of its client if the settings name a `client_ca`.
    pub needs_certificates: bool,
    /// Whether it has started.
    pub has_started: bool,
}

/// What to do about a missing token before the start.
const AT_START: &str = "Set HOOKBOX_ADMIN_TOKEN, or add a token to the settings (`hookbox token` makes one), or a \
    `client_ca` to [tls]. allow_anonymous = true lets every client in";

/// What to do about it after the start, when connections may be open that have shown no certificate.
const AFTER_START: &str = "Keep a token in the settings, or add one (`hookbox token` makes one). A `client_ca` in [tls] \
    takes the place of a token only if hookbox has had one since its start, and allow_anonymous = true only if it was \
    started with it: for either, restart it";

impl<'a> Listening<'a> {
    /// Where a hookbox listens that starts with these settings.
    pub fn from_start(layers: &'a Layers) -> Self {
        Self { at: layers, needs_certificates: true, has_started: false }
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
    let is_anonymous_allowed = listening.at.get("allow_anonymous").0 != "false";
    if has_tokens(settings) || needs_certificates || is_anonymous_allowed {
        return Vec::new();
    }
    let reached = ["http_addr", "grpc_addr"].into_iter().filter_map(|name| {
        let (value, origin) = listening.at.get(name);
        let advice = if listening.has_started { AFTER_START } else { AT_START };
        let allowed = format!(
            "a loopback address, such as 127.0.0.1, because every client that reaches another one could use hookbox: no \
             token is configured. {advice}"
        );
        let reached = value.parse::<SocketAddr>().is_ok_and(|address| !is_loopback(address));
        reached.then(|| Mistake::value(origin, name, value, allowed))
    });
    reached.collect()
}

/// Whether only this machine reaches an address.
pub(super) fn is_loopback(address: SocketAddr) -> bool {
    // The system also takes loopback addresses of IPv4 that are written as IPv6.
    address.ip().to_canonical().is_loopback()
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
