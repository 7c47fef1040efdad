//! The certificates in force, and how new ones replace them. Connections that are open keep theirs.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;

use super::Loaded;
use crate::domain::clock::Clock;

/// How often to look for changes of the files.
pub const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificate, the key and the authorities of clients that are in force.
#[derive(Debug)]
pub struct Certificates {
    in_force: RwLock<Loaded>,
    /// What was wrong with the files at the last look, so that it is logged once.
    problem: Mutex<Option<String>>,
    clock: Arc<dyn Clock>,
}

/// TLS of one port.
#[derive(Clone, Debug)]
pub struct PortTls {
    certificates: Arc<Certificates>,
    of_port: fn(&Loaded) -> &Arc<ServerConfig>,
}

impl Certificates {
    /// Puts a certificate in force.
    pub fn new(loaded: Loaded, clock: Arc<dyn Clock>) -> Self {
        log_in_force(&loaded, "TLS is on", &*clock);
        Self { in_force: RwLock::new(loaded), problem: Mutex::default(), clock }
    }

    /// TLS of the port of REST: HTTP/2 and HTTP/1.1.
    pub fn rest(self: &Arc<Self>) -> PortTls {
        PortTls { certificates: Arc::clone(self), of_port: |loaded| &loaded.rest }
    }

    /// TLS of the port of gRPC: HTTP/2.
    pub fn grpc(self: &Arc<Self>) -> PortTls {
        PortTls { certificates: Arc::clone(self), of_port: |loaded| &loaded.grpc }
    }

    /// Puts what a reload has read in force, if it has changed.
    pub fn take_in(&self, loaded: Loaded) {
        self.put(loaded, None);
    }

    /// Puts `loaded` in force if it has changed; with `instead_of`, only if that is still in force.
    fn put(&self, loaded: Loaded, instead_of: Option<&Loaded>) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        if instead_of.is_some_and(|before| !in_force.is_same(before)) {
            return;
        }
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if !in_force.is_same(&loaded) {
            let message = "the certificate of TLS has changed; new connections use it";
            log_in_force(&loaded, message, &*self.clock);
            *in_force = loaded;
        }
    }

    /// Reads the files again, and puts them in force if they have changed. If they cannot be used, logs why, and what is
    /// in force stays. Blocks.
    pub fn look(&self) {
        let before = self.get();
        match Loaded::read(&before.files) {
            // Unless a reload has put others in force meanwhile.
            Ok(loaded) => self.put(loaded, Some(&before)),
            Err(error) => {
                let text = error.to_string();
                let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
                if problem.as_ref() != Some(&text) {
                    tracing::warn!(
                        error = text,
                        "a file of TLS cannot be used; the certificate in force stays"
                    );
                    *problem = Some(text);
                }
            }
        }
    }

    fn get(&self) -> Loaded {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PortTls {
    /// The settings for a new connection.
    pub fn config(&self) -> Arc<ServerConfig> {
        let in_force = self.certificates.in_force.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone((self.of_port)(&in_force))
    }
}

fn log_in_force(loaded: &Loaded, message: &str, clock: &dyn Clock) {
    tracing::info!(
        cert = %loaded.files.cert.display(),
        not_after = loaded.not_after.map(tracing::field::display),
        client_ca = loaded.files.client_ca.as_ref().map(|path| tracing::field::display(path.display())),
        "{message}"
    );
    if let Some(problem) = loaded.not_valid(clock.now()) {
        tracing::warn!(error = problem, "the certificate of TLS in force is not valid now");
    }
}
