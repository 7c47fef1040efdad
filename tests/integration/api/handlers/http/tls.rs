//! Targets with TLS.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
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

/// What a certificate for `localhost` is made of.
fn for_localhost() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned()]).unwrap()
}

/// A server for one connection, with this certificate. Answers every request with 200.
fn serve_one(certificate: &Certificate, key: &KeyPair) -> SocketAddr {
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
#[case::of_the_same_authority_with_another_key("localhost", "old", Some("name its certificate in `ca`"))]
#[case::of_an_authority_that_the_system_does_not_know(
    "localhost",
    "",
    Some("no authority that is trusted here")
)]
#[case::for_another_name("127.0.0.1", "ours", Some("it is not for `127.0.0.1`; it is for `localhost`"))]
#[tokio::test]
async fn the_certificate_of_the_target_is_checked(
    #[case] host: &str,
    #[case] ca: &str,
    #[case] problem: Option<&str>,
) {
    let folder = tempfile::tempdir().unwrap();
    authority(&folder, "others");
    authority(&folder, "ours");
    std::fs::rename(folder.path().join("ours"), folder.path().join("old")).unwrap();
    let ours = authority(&folder, "ours");
    let key = KeyPair::generate().unwrap();
    let target = serve_one(&for_localhost().signed_by(&key, &ours).unwrap(), &key);
    let ca = Some(ca).filter(|ca| !ca.is_empty()).map(|name| folder.path().join(name));
    check(host, target, ca.as_deref(), problem).await;
}

#[rstest]
#[case::expired(2019, 2020, "it has expired; it was valid until 2020-01-01T00:00:00Z")]
#[case::of_the_future(
    2100,
    2101,
    "it is not valid before 2100-01-01T00:00:00Z; if it should be, check the clock"
)]
#[tokio::test]
async fn of_a_certificate_that_is_not_valid_now_the_time_is_told(
    #[case] from: i32,
    #[case] until: i32,
    #[case] problem: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let ours = authority(&folder, "ours");
    let mut params = for_localhost();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    let key = KeyPair::generate().unwrap();
    let target = serve_one(&params.signed_by(&key, &ours).unwrap(), &key);
    check("localhost", target, Some(&folder.path().join("ours")), Some(problem)).await;
}

#[rstest]
#[case::of_a_server(IsCa::ExplicitNoCa, None)]
#[case::of_an_authority(
    IsCa::Ca(BasicConstraints::Unconstrained),
    Some("it is the certificate of an authority (`CA:TRUE`), which a server cannot use")
)]
#[tokio::test]
async fn a_self_signed_certificate_in_ca_is_accepted_unless_it_is_that_of_an_authority(
    #[case] is_ca: IsCa,
    #[case] problem: Option<&str>,
) {
    let folder = tempfile::tempdir().unwrap();
    let mut params = for_localhost();
    params.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let ca = folder.path().join("own");
    std::fs::write(&ca, certificate.pem()).unwrap();
    check("localhost", serve_one(&certificate, &key), Some(&ca), problem).await;
}

/// Checks that a webhook gets to the target under this name, or that the certificate is refused because of a problem.
async fn check(host: &str, target: SocketAddr, ca: Option<&Path>, problem: Option<&str>) {
    let url = format!("https://{host}:{}/", target.port());
    let ca = ca.map(|file| format!("ca = \"{}\"", file.display())).unwrap_or_default();
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
