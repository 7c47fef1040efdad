//! Webhooks that `hookbox send` has sent without an answer: they can be sent again, and are stored once.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::TcpListener;

use super::dying::Dying;
use super::{failed, lines, place, printed};
use crate::support::received::read;

/// How long a command may take to send its request.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_webhook_whose_answer_is_lost_can_be_sent_again_under_its_random_key() {
    let place = place(&[]);
    let shop = "[sources.shop]\npreset = \"stripe\"\nsecrets = [\"s3cret-of-the-shop\"]\n";
    std::fs::write(place.path("hookbox.toml"), shop).unwrap();
    let process = place.serve().await;
    let to_shop = ["send", "--source", "shop", "--preset", "stripe", "--secret", "s3cret-of-the-shop"];
    for (before, command) in [&["send", "{\"n\":1}"][..], &to_shop].into_iter().enumerate() {
        let hookbox = Dying::before(process.rest.address(), 0, "").await;
        let mut send = place.start_command(&[command, &["--url", &hookbox.url()]].concat());
        assert_eq!(send.ended().await.code(), Some(69), "{}", send.log());
        let said = send.log();
        let (_, how) = said.split_once("the webhook may be stored; ").expect(&said);
        let (_, key) = how.split_once("add --key ").expect(&said);
        let key = key.lines().next().unwrap();
        printed(&place, &[command, &["--key", key]].concat());
        let stored = lines(&place, &["list", "--json"]);
        assert_eq!((stored.len(), &stored[0]["idempotency_key"]), (before + 1, &key.into()), "{stored:?}");
    }
}

#[test]
fn no_key_is_named_if_nothing_was_sent() {
    let place = place(&[]);
    let (code, told) = failed(&place, &["send", "{}"]);
    assert_eq!(code, Some(69), "{told}");
    assert!(!told.contains("may be stored"), "{told}");
}

#[tokio::test]
async fn ctrl_c_before_the_answer_names_the_random_key() {
    let place = place(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut send = place.start_command(&["send", "{}", "--url", &url]);
    let asked = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read(&mut stream).await.unwrap();
        (stream, request)
    };
    let (_stream, request) = tokio::time::timeout(SOON, asked).await.expect("it asks");
    send.signal(Signal::SIGINT);
    assert_eq!(send.ended().await.code(), Some(130), "{}", send.log());
    let body = serde_json::from_slice::<Value>(&request.body).unwrap();
    let key = body["idempotency_key"].as_str().unwrap();
    assert!(send.log().contains(&format!("add --key {key}\n")), "{}", send.log());
}
