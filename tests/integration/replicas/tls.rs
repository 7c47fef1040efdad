//! TLS connections to the server with `sslmode` and `sslrootcert`.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::replicas::blocking;
use crate::support::postgres::{Cluster, Session};
use crate::support::server::Place;

/// The host name in the server's certificate, and another name of the same host.
const NAME: &str = "localhost";
const OTHER_NAME: &str = "127.0.0.1";

/// A server with a certificate, and two certificate authorities, one of which signed it.
struct Encrypted {
    cluster: Cluster,
    folder: TempDir,
}

impl Encrypted {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let encrypted = Self { cluster: Cluster::start(), folder };
        let authority = encrypted.authority("ours");
        encrypted.authority("others");
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let certificate = names.signed_by(&key, &authority).expect("is signed");
        encrypted.cluster.use_certificate(&certificate.pem(), &key.serialize_pem());
        encrypted
    }

    /// Creates a certificate authority and writes its certificate to a file.
    fn authority(&self, name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let authority = authority.expect("is made");
        std::fs::write(self.certificate_of(name), authority.pem()).expect("is written");
        authority
    }

    fn certificate_of(&self, authority: &str) -> PathBuf {
        self.folder.path().join(authority)
    }

    /// The URL of the server with this host name and these parameters.
    fn url(&self, name: &str, parameters: &str) -> String {
        let url = self.cluster.url("postgres").replacen(OTHER_NAME, name, 1);
        format!("{url}?{parameters}")
    }

    /// The parameters for an `sslmode` and the certificate of a trusted authority.
    fn trusting(&self, mode: &str, authority: &str) -> String {
        format!("sslmode={mode}&sslrootcert={}", self.certificate_of(authority).display())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_certificate_is_verified_according_to_sslmode() {
    let server = blocking(Encrypted::start);
    let ours = |mode| server.trusting(mode, "ours");
    let others = |mode| server.trusting(mode, "others");
    let other_host = Some("certificate of the server is not accepted: it is not for `127.0.0.1`");
    let other_authority =
        Some("certificate of the server is not accepted: no authority that is trusted here");
    for (name, parameters, problem) in [
        (NAME, ours("verify-full"), None),
        (OTHER_NAME, ours("verify-full"), other_host),
        (NAME, others("verify-full"), other_authority),
        (OTHER_NAME, ours("verify-ca"), None),
        (NAME, others("verify-ca"), other_authority),
        // Without `sslrootcert`, the authorities of the system are used. There may be none.
        (NAME, "sslmode=verify-full".to_owned(), Some("certificate")),
        (OTHER_NAME, "sslmode=require".to_owned(), None),
        (NAME, others("require"), other_authority),
        (OTHER_NAME, "sslmode=disable".to_owned(), None),
    ] {
        let place = Place::new(&[&format!("--database-url={}", server.url(name, &parameters))]);
        let output = place.run("migrate").await;
        let complaint = String::from_utf8_lossy(&output.stderr);
        let code = if problem.is_none() { 0 } else { 1 };
        assert_eq!(output.status.code(), Some(code), "{name} {parameters}: {complaint}");
        assert!(problem.is_none_or(|text| complaint.contains(text)), "{name} {parameters}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_encrypted_unless_sslmode_disables_it() {
    let server = blocking(Encrypted::start);
    let session = blocking(|| Session::open(&server.cluster.url("postgres"))).expect("connects");
    for (parameters, encrypted) in [
        ("sslmode=require".to_owned(), "t"),
        (server.trusting("verify-full", "ours"), "t"),
        ("sslmode=prefer".to_owned(), "t"),
        (String::new(), "t"),
        ("sslmode=disable".to_owned(), "f"),
    ] {
        let url = format!("--database-url={}", server.url(NAME, &parameters));
        let place = Place::new(&[&url, "--workers=1"]);
        let replica = blocking(|| place.start());
        let of_replica = format!(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name LIKE 'hookbox % {}-%'",
            replica.process_id(),
        );
        let connections = blocking(|| session.ask(&of_replica)).expect("are listed");
        assert!(connections.len() > 1, "the replica has several connections");
        assert!(connections.iter().all(|ssl| ssl == encrypted), "{parameters}: {connections:?}");
        replica.kill();
    }
}
