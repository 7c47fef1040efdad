//! The certificates of the authorities that the system trusts.

use std::sync::{Arc, Once, OnceLock};

use rustls::RootCertStore;
use rustls_native_certs::{CertificateResult, load_native_certs};

/// The certificates, as they were when they were first needed.
#[derive(Debug)]
pub struct SystemRoots {
    roots: Arc<RootCertStore>,
    problem: Option<String>,
    told: Once,
}

/// The certificates of the system. Blocks the first time: then it reads them.
pub fn system_roots() -> &'static SystemRoots {
    static ROOTS: OnceLock<SystemRoots> = OnceLock::new();
    ROOTS.get_or_init(|| load_native_certs().into())
}

impl SystemRoots {
    /// The certificates, for servers: logs once if there are none, or if some cannot be read.
    pub fn or_warn(&self) -> Arc<RootCertStore> {
        if let Some(problem) = &self.problem {
            self.told.call_once(|| {
                tracing::warn!(
                    error = problem.as_str(),
                    "certificates of authorities cannot be read; TLS connections to servers that need them fail. Install them, or correct SSL_CERT_FILE and SSL_CERT_DIR"
                );
            });
        }
        self.roots()
    }

    /// The certificates, for commands, which show the [`problem`](Self::problem) with their own errors.
    pub fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// That there are no certificates, or why some cannot be read.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

impl From<CertificateResult> for SystemRoots {
    fn from(found: CertificateResult) -> Self {
        let mut roots = RootCertStore::empty();
        // Old certificates that rustls does not take are no problem: most systems have some.
        roots.add_parsable_certificates(found.certs);
        let problem = match found.errors.first() {
            Some(first) => {
                Some(format!("the system's certificates of authorities cannot all be read: {first}"))
            }
            None if roots.is_empty() => Some("the system has no certificates of authorities".to_owned()),
            None => None,
        };
        Self { roots: Arc::new(roots), problem, told: Once::new() }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    use rustls_native_certs::load_certs_from_paths;

    use super::*;

    fn read(folder: &std::path::Path, name: &str) -> SystemRoots {
        load_certs_from_paths(Some(&folder.join(name)), None).into()
    }

    #[test]
    fn what_is_wrong_with_the_certificates_of_the_system_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&KeyPair::generate().expect("a key")).expect("is made");
        std::fs::write(folder.path().join("good.pem"), authority.pem()).expect("is written");
        std::fs::write(folder.path().join("empty.pem"), "").expect("is written");
        let good = read(folder.path(), "good.pem");
        assert_eq!((good.roots().len(), good.problem()), (1, None));
        let empty = read(folder.path(), "empty.pem");
        assert_eq!(empty.problem(), Some("the system has no certificates of authorities"));
        let missing = read(folder.path(), "missing.pem");
        let problem = missing.problem().expect("a problem");
        assert!(problem.contains("cannot all be read") && problem.contains("missing.pem"), "{problem}");
    }
}
