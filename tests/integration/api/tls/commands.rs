//! The commands that talk to a hookbox over REST, and TLS.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Secured;
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Sqlite};
use crate::support::tls::{Authority, Issued, SETTINGS};

/// The exit code of a command, and what it said.
fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = place.run(arguments);
    (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_gets_no_answer_because_of_tls_says_what_to_do() {
    let secured = Secured::start();
    let plain = Hookbox::start(Sqlite);
    // The system trusts another authority.
    let place = Place::new(&[("SSL_CERT_FILE", "other.pem")]);
    std::fs::write(place.path("other.pem"), Authority::new().pem()).expect("is written");
    let (https, port) = (secured.url(""), plain.rest.address().port());
    for (url, advice) in [
        (https.clone(), "signed it; name the file of its authority with --ca"),
        (https.replace("https://", "http://"), "if it serves TLS, write https:// in its URL"),
        (format!("https://127.0.0.1:{port}"), "if it serves without TLS, write http:// in its URL"),
    ] {
        let (code, told) = run(&place, &["list", "--url", &url]);
        assert_eq!(code, Some(69), "{url}: {told}");
        assert!(told.contains(advice) && !told.contains("is hookbox running there"), "{url}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_client_ca_a_command_shows_the_certificate_that_its_flags_or_variables_name() {
    let secured = Secured::with("client_ca = \"FOLDER/clients.pem\"\n");
    let path = |name: &str| secured.folder.path().join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    std::fs::write(&ca, secured.authority.pem()).expect("is written");
    let url = secured.url("");
    let mut place = Place::new(&[("HOOKBOX_URL", url.as_str()), ("HOOKBOX_CA", ca.as_str())]);
    let (code, told) = run(&place, &["list"]);
    assert_eq!(code, Some(69), "{told}");
    let (code, told) = run(&place, &["list", "--client-cert", &cert, "--client-key", &key]);
    assert_eq!(code, Some(0), "{told}");
    place.set("HOOKBOX_CLIENT_CERT", &cert);
    place.set("HOOKBOX_CLIENT_KEY", &key);
    let (code, told) = run(&place, &["list"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = run(&place, &["config", "check"]);
    assert_eq!((code, told.as_str()), (Some(0), ""), "they are no settings");
}

#[test]
fn a_certificate_of_a_client_that_cannot_be_shown_is_a_mistake_of_the_command_line() {
    let place = Place::new(&[]);
    let (client, other) = (Authority::new().issue(), Authority::new().issue());
    for (name, pem) in [("client.pem", &client.cert), ("client.key", &client.key), ("other.key", &other.key)]
    {
        std::fs::write(place.path(name), pem).expect("is written");
    }
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().expect("runs").success());
    for (flags, problem) in [
        (&["--client-cert", "client.pem"][..], "a certificate needs its key"),
        (&["--client-key", "client.key"], "a certificate needs its key"),
        (&["--client-cert", "client.pem", "--client-key", "missing.key"], "cannot read missing.key"),
        (&["--ca", "/dev/zero"], "cannot read /dev/zero: it has more than 4194304 bytes"),
        (&["--client-cert", "client.pem", "--client-key", "pipe"], "cannot read pipe: it is a pipe"),
        (&["--client-cert", "client.key", "--client-key", "client.key"], "has no certificate in PEM"),
        (&["--client-cert", "client.pem", "--client-key", "client.pem"], "has no private key in PEM"),
        (
            &["--client-cert", "client.pem", "--client-key", "other.key"],
            "cannot be used with its certificate",
        ),
    ] {
        let (code, told) = run(&place, &[&["list"][..], flags].concat());
        assert_eq!(code, Some(64), "{flags:?}: {told}");
        assert!(told.contains(problem), "{flags:?}: {told}");
    }
}

#[test]
fn a_certificate_that_is_not_of_version_3_is_told_from_a_key_that_does_not_fit() {
    let place = Place::new(&[]);
    let Issued { cert, key } = Authority::new().issue();
    for (name, text) in [("server.pem", of_version_2(&cert)), ("server.key", key)] {
        std::fs::write(place.path(name), text).expect("is written");
    }
    std::fs::write(place.path("hookbox.toml"), SETTINGS).expect("is written");
    let shown = ["list", "--client-cert", "server.pem", "--client-key", "server.key"];
    for (command, what) in
        [(&shown[..], "the client's certificate"), (&["config", "check"], "its first certificate")]
    {
        let (code, told) = run(&place, command);
        assert_eq!(code, Some(64), "{told}");
        let problem = format!("{what} cannot be used: it is not of version 3 of X.509; make it anew");
        assert!(told.contains(&problem), "{told}");
    }
}

/// The certificate, if it said that it is of version 2. Its signature does not fit then.
fn of_version_2(pem: &str) -> String {
    let mut der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate").to_vec();
    let version = der.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).expect("is of version 3");
    der[version + 4] = 1;
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}
