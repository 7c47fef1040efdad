//! The commands that talk to a hookbox over REST, and TLS.

use super::Secured;
use crate::api::harness::process::Place;
use crate::api::harness::{Hookbox, Sqlite};
use crate::support::tls::Authority;

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
        (https.clone(), "name the file of its authority with --ca"),
        (https.replace("https://", "http://"), "if it serves TLS, write https:// in its URL"),
        (format!("https://127.0.0.1:{port}"), "if it serves without TLS, write http:// in its URL"),
    ] {
        let (code, told) = run(&place, &["list", "--url", &url]);
        assert_eq!(code, Some(69), "{url}: {told}");
        assert!(told.contains(advice) && !told.contains("is hookbox running there"), "{url}: {told}");
    }
}
