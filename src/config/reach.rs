//! Reads what a command needs to ask the hookbox that serves with the same settings. Mistakes in other values do not
//! matter: that hookbox serves with the settings that it had before.

use std::net::SocketAddr;

use super::layers::Layers;
use super::mistake::Mistakes;
use super::parse::Reader;
use super::{tls, tokens};
use crate::domain::secret::Secret;
use crate::tls::{Loaded, ServerCheck};

/// How to reach the hookbox that serves with the same settings.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The address on which REST is served.
    pub http_addr: SocketAddr,
    /// Whether there is TLS.
    pub has_tls: bool,
    /// The certificate in the files of TLS; none if there is no TLS, or they cannot be used.
    pub certificate: Option<Loaded>,
    /// The token with every role; none if it is not set, or cannot be read.
    pub admin_token: Option<Secret>,
}

impl Reach {
    /// Reads the settings, so far as they can be read. Errors: `http_addr` is wrong. With [`ServerCheck::Own`] also if
    /// `[tls]` is wrong or a file of it cannot be used; or if the settings file is not TOML, or has an unknown name. That
    /// may be `[tls]` or `http_addr`: a token must not be sent without TLS, or to another program.
    pub fn new(layers: &Layers, check: ServerCheck) -> Result<Self, Mistakes> {
        let read = Reader::new(layers);
        let (has_tls, tls) = layers.read_tls(|tls| (tls.is_some(), tls::tls(&read, tls)));
        let is_enough = check == ServerCheck::Nothing || (tls.is_some() && layers.are_whole());
        let Some(http_addr) = read.parsed("http_addr").filter(|_| is_enough) else {
            return Err(Mistakes::new(read.mistakes()));
        };
        let certificate = tls.flatten().map(|tls| tls.loaded);
        Ok(Self { http_addr, has_tls, certificate, admin_token: tokens::admin_token(&read).flatten() })
    }
}
