//! Targets with TLS.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use super::error_of;
use super::target::route;
use crate::api::harness::{Hookbox, Sqlite};

/// A certificate authority, in a file of the folder.
fn authority(folder: &TempDir, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.path().join(name), authority.pem()).unwrap();
    authority
}

/// A server for one connection, with a certificate for `localhost` that this authority signed. Answers every request
/// with 200.
fn serve_one(authority: &CertifiedIssuer<'static, KeyPair>) -> SocketAddr {
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        // Fails if the client does not accept the certificate.
        let Some(length) = read_head(&mut stream) else { return };
        stream.read_exact(&mut vec![0; length]).unwrap();
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        stream.get_mut().flush().unwrap();
        // Until the client closes the connection.
        let _ = stream.read(&mut [0]);
    });
    address
}

/// Reads the head of a request; answers the length of its body.
fn read_head(stream: &mut impl std::io::BufRead) -> Option<usize> {
    let mut length = None;
    for line in std::io::BufRead::lines(&mut *stream) {
        let line = line.ok()?;
        if line.is_empty() {
            return length;
        }
        length = length.or_else(|| line.strip_prefix("content-length: ")?.parse().ok());
    }
    None
}

#[rstest]
#[case::of_the_authority_in_ca("localhost", "ours", None)]
#[case::of_another_authority("localhost", "others", Some("no authority that is trusted here"))]
#[case::of_an_authority_that_the_system_does_not_know(
    "localhost",
    "",
    Some("no authority that is trusted here")
)]
#[case::for_another_name("127.0.0.1", "ours", Some("not valid for name"))]
#[tokio::test]
async fn the_certificate_of_the_target_is_checked(
    #[case] host: &str,
    #[case] ca: &str,
    #[case] problem: Option<&str>,
) {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(&folder, "ours");
    authority(&folder, "others");
    let url = format!("https://{host}:{}/", serve_one(&ours).port());
    let ca = match ca {
        "" => String::new(),
        name => format!("ca = \"{}\"", folder.path().join(name).display()),
    };
    let hookbox = Hookbox::with_routes(Sqlite, &route(&url, &ca));
    let id = hookbox.rest.accept("evt-001").await;
    let Some(problem) = problem else {
        hookbox.wait_for(&id, "completed").await;
        return;
    };
    let webhook = hookbox.wait_for(&id, "retrying").await;
    let error = error_of(&webhook);
    assert!(error.starts_with("the certificate of the target is not accepted: "), "{error}");
    assert!(error.contains(problem), "{error}");
}
