//! TLS of both ports: reads certificates and keys, and keeps those in force. Reads the authorities that the system
//! trusts, for connections to others. Knows no sockets.

mod certificates;
mod files;
mod own;
mod roots;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificates::{Certificates, LOOK_EVERY, PortTls};
pub use self::files::{Files, LoadError, Loaded, Member};
pub use self::own::{ServerCheck, client_config};
pub use self::roots::{SystemRoots, system_roots};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
