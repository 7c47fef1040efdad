//! Certificates that change while hookbox serves.

use hookbox::internals::tls::LOOK_EVERY;
use jiff::SignedDuration;
use rustls::pki_types::CertificateDer;

use super::Secured;
use crate::support::tls::{Issued, connect};

/// The certificates that both ports show to a new client.
async fn shown(secured: &Secured) -> [CertificateDer<'static>; 2] {
    let mut shown = Vec::new();
    for address in [secured.hookbox.rest.address(), secured.hookbox.grpc_address()] {
        let stream = connect(address, secured.authority.client(None, &["h2"])).await.expect("connects");
        let chain = stream.get_ref().1.peer_certificates().expect("a certificate");
        shown.push(chain[0].clone().into_owned());
    }
    shown.try_into().expect("two")
}

fn both(issued: &Issued) -> [CertificateDer<'static>; 2] {
    [issued.der(), issued.der()]
}

/// Lets time pass until new clients see a certificate.
async fn seen_in_time(secured: &Secured, issued: &Issued) {
    let what = "the new certificate";
    secured
        .hookbox
        .as_time_passes(what, || async { (shown(secured).await == both(issued)).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_change_are_read_again_within_a_minute() {
    assert!(LOOK_EVERY < std::time::Duration::from_secs(60));
    let secured = Secured::start();
    assert_eq!(shown(&secured).await, both(&secured.issued));
    let next = secured.authority.issue();
    next.write(secured.folder.path());
    assert_eq!(shown(&secured).await, both(&secured.issued), "no time has passed");
    seen_in_time(&secured, &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_reads_the_files_at_once_and_open_connections_go_on() {
    let secured = Secured::start();
    let sender = secured.authority.sender(&["h2"]);
    let next = secured.authority.issue();
    next.write(secured.folder.path());
    let reloaded = sender.post(secured.url("/v1/settings/reload")).send().await.expect("answers");
    assert_eq!(reloaded.status().as_u16(), 200);
    assert_eq!(shown(&secured).await, both(&next));
    let answer = sender.get(secured.url("/healthz")).send().await.expect("answers");
    assert_eq!(answer.status().as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_changes_nothing_until_it_is_repaired() {
    let secured = Secured::start();
    let file = secured.folder.path().join("server.pem");
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnonsense").expect("is written");
    let sender = secured.authority.sender(&["http/1.1"]);
    let refused = sender.post(secured.url("/v1/settings/reload")).send().await.expect("answers");
    assert_eq!(refused.status().as_u16(), 422);
    let problem = refused.text().await.expect("a problem");
    assert!(problem.contains("server.pem") && problem.contains("hookbox.toml:"), "{problem}");
    for _ in 0..3 {
        secured.hookbox.advance(SignedDuration::from_mins(1));
        assert_eq!(shown(&secured).await, both(&secured.issued));
    }
    let next = secured.authority.issue();
    next.write(secured.folder.path());
    seen_in_time(&secured, &next).await;
}
