//! Certificates of clients in place of tokens: what `client_ca` opens, and what a change of it does.

use rstest::rstest;

use super::Secured;
use crate::api::access::{EVERY_ROLE, secret, token};
use crate::api::harness::process::Place;
use crate::support::tls::{Authority, Issued, SETTINGS, sender};

const CLIENT_CA: &str = "client_ca = \"clients.pem\"\n";

/// A place whose REST can be reached by other machines, and the authority of its certificate and its clients.
fn public(settings: &str) -> (Place, Authority) {
    let (mut place, authority) = (Place::new(&[]), Authority::new());
    let address = format!("0.0.0.0:{}", place.http_port());
    place.set("HOOKBOX_HTTP_ADDR", &address);
    authority.issue().write(&place.path(""));
    for (name, text) in [("clients.pem", authority.pem().as_str()), ("hookbox.toml", settings)] {
        std::fs::write(place.path(name), text).expect("is written");
    }
    (place, authority)
}

#[rstest]
#[case::without_client_ca("", 64)]
#[case::with_client_ca(CLIENT_CA, 0)]
fn without_tokens_tls_allows_other_addresses_only_with_client_ca(#[case] members: &str, #[case] code: i32) {
    let (place, _) = public(&format!("{SETTINGS}{members}"));
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{told}");
    assert_eq!(told.contains("or a `client_ca` to [tls]"), code == 64, "{told}");
}

#[rstest]
#[case::without_client_ca(CLIENT_CA.to_owned(), "")]
// Connections that were opened before it have shown no certificate.
#[case::with_client_ca_instead_of_the_last_token(token("one", EVERY_ROLE), CLIENT_CA)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_cannot_let_others_in_without_a_certificate_and_a_token(
    #[case] at_start: String,
    #[case] later: &str,
) {
    let (place, authority) = public(&format!("{SETTINGS}{at_start}"));
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    let url = |path: &str| format!("https://localhost:{}{path}", place.http_port());
    let known = sender(authority.client(Some(&authority.issue()), &["http/1.1"]));
    std::fs::write(place.path("hookbox.toml"), format!("{SETTINGS}{later}")).expect("is written");
    let reload = known.post(url("/v1/settings/reload")).bearer_auth(secret("one"));
    let refused = reload.send().await.expect("answers");
    assert_eq!(refused.status().as_u16(), 422);
    let problem = refused.text().await.expect("a problem");
    assert!(problem.contains("http_addr = "), "{problem}");
    assert!(problem.contains("only if hookbox has had one since its start"), "{problem}");

    let stats = known.get(url("/v1/stats")).bearer_auth(secret("one")).send().await.expect("answers");
    assert_eq!(stats.status().as_u16(), 200);
    let stranger = authority.sender(&["http/1.1"]);
    let stats = stranger.get(url("/v1/stats")).send().await;
    assert!(!stats.is_ok_and(|stats| stats.status().as_u16() == 200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_ca_that_was_gone_for_a_while_does_not_take_the_place_of_the_last_token() {
    let (place, authority) = public(&format!("{SETTINGS}{CLIENT_CA}"));
    let process = place.start();
    process.wait_for_log("hookbox is ready").await;
    let url = |path: &str| format!("https://localhost:{}{path}", place.http_port());
    let known = sender(authority.client(Some(&authority.issue()), &["h2"]));
    let reload = async |settings: &str| {
        std::fs::write(place.path("hookbox.toml"), format!("{SETTINGS}{settings}")).expect("is written");
        let reload = known.post(url("/v1/settings/reload")).bearer_auth(secret("one"));
        reload.send().await.expect("answers").status().as_u16()
    };
    assert_eq!(reload(&token("one", EVERY_ROLE)).await, 200);
    // Over HTTP/2, all its requests take the same connection.
    let stranger = authority.sender(&["h2"]);
    let asked = async || stranger.get(url("/v1/stats")).send().await.expect("answers").status().as_u16();
    assert_eq!(asked().await, 401);
    assert_eq!(reload(CLIENT_CA).await, 422);
    assert_eq!(asked().await, 401);
    let both = format!("{CLIENT_CA}{}", token("one", EVERY_ROLE));
    assert_eq!(reload(&both).await, 200, "there is a token");
    assert_eq!(asked().await, 401, "its connection was open before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_ca_that_changes_counts_for_new_connections_and_open_ones_go_on() {
    let secured = Secured::with("client_ca = \"FOLDER/clients.pem\"\n");
    let next = Authority::new();
    let (earlier, later) = (secured.client(), next.issue());
    // Over HTTP/2, all requests of one take the same connection.
    let connecting = |shown: &Issued| sender(secured.authority.client(Some(shown), &["h2"]));
    let is_served = async |client: &reqwest::Client| {
        let answer = client.get(secured.url("/healthz")).send().await;
        answer.is_ok_and(|answer| answer.status().as_u16() == 200)
    };
    let open = connecting(&earlier);
    assert!(is_served(&open).await);
    std::fs::write(secured.folder.path().join("clients.pem"), next.pem()).expect("is written");
    assert!(!is_served(&connecting(&later)).await, "no time has passed");
    let look = || async { is_served(&connecting(&later)).await.then_some(()) };
    secured.hookbox.as_time_passes("the new authority", look).await;
    assert!(!is_served(&connecting(&earlier)).await, "its authority is gone");
    assert!(is_served(&open).await, "its connection was open before");
}
