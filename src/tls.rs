//! TLS of both ports: reads certificates and keys, and keeps those in force. For connections to others, reads the
//! authorities that the system trusts, and says why a certificate is not accepted. Knows no sockets.

mod certificate_problem;
mod certificates;
mod files;
mod own;
mod roots;
mod unusable;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::certificate_problem::CertificateProblem;
pub use self::certificates::{Certificates, LOOK_EVERY, PortTls};
pub use self::files::{Files, LoadError, Loaded, Member};
pub use self::own::{ServerCheck, client_config};
pub use self::roots::{SystemRoots, system_roots};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
