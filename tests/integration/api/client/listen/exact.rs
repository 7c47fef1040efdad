//! What the server on this machine gets is what the sender sent, and signed anew if that is asked for.

use hookbox::internals::domain::verdict::Verdict;
use reqwest::Method;
use serde_json::json;

use super::{lines, start, wait_for_lines};
use crate::api::client::local::Local;
use crate::api::client::send::{SECRET, verdict};
use crate::api::client::{failed, place, printed};
use crate::api::harness::client::{Answer, Rest};
use crate::api::harness::process::Place;

const SHOP: &str = r#"
    [sources.shop]
    verify = { token = "plain", header = "X-Token" }
    secrets = ["the-token-of-the-shop"]
    key = { header = "X-Id" }
    event_type = { text = "order.paid" }
"#;

/// A body that is not the same when it is written anew.
const SPACED: &[u8] = b"\r\n { \"id\" : \"evt_1\", \"type\":\"paid\", \"n\" : 1.10 }\t\n\n";

/// A place with these settings.
fn place_with(settings: &str) -> Place {
    let place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), settings).unwrap();
    place
}

/// Sends a body to the source `shop`; answers the id of the webhook.
async fn send(rest: &Rest, key: &str, content_type: &str, body: &[u8]) -> String {
    let request = rest.request(Method::POST, "/v1/sources/shop/webhooks").header("x-id", key);
    let request = request.header("x-token", "the-token-of-the-shop").header("content-type", content_type);
    let answer = Answer::of(request.body(body.to_vec())).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.text_of("id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_delivered_byte_for_byte_and_each_header_that_is_left_out_is_told_once() {
    let (place, local) = (place_with(SHOP), Local::start().await);
    let process = place.serve().await;
    let listen = start(&place, &local, &[]);
    listen.wait_for_log("waiting for webhooks").await;
    let sent = [
        ("application/json", SPACED),
        ("application/vnd.shop+json", b" null "),
        ("text/plain", b" text \n"),
        ("image/png", b"\xff\0\r\n"),
        ("application/json", b""),
    ];
    for (number, (content_type, body)) in sent.into_iter().enumerate() {
        send(&process.rest, &number.to_string(), content_type, body).await;
    }
    wait_for_lines(&listen, sent.len()).await;
    for (received, (content_type, body)) in local.received().iter().zip(sent) {
        assert_eq!((&*received.body, received.header("content-type")), (body, content_type));
        assert_eq!(received.header("x-token"), "", "hookbox does not keep it");
    }
    for line in lines(&listen) {
        assert_eq!((&line["status"], &line["left_out"]), (&json!(200), &json!(["x-token"])), "{line}");
    }
    assert_eq!(listen.log().matches("the header x-token is left out").count(), 1, "{}", listen.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_signed_anew_with_another_secret_and_keeps_its_body() {
    let shop = "[sources.shop]\npreset = \"stripe\"\nsecrets = [\"s3cret-of-the-shop\"]\n";
    let (mut place, local) = (place_with(shop), Local::start().await);
    place.set("LOCAL_SECRET", SECRET);
    std::fs::write(place.path("body"), SPACED).unwrap();
    let _process = place.serve().await;
    let listen = start(&place, &local, &["--preset", "stripe", "--secret", "env:LOCAL_SECRET"]);
    listen.wait_for_log("waiting for webhooks").await;
    let sign = ["--preset", "stripe", "--secret", "s3cret-of-the-shop", "@body"];
    let send = [&["send", "--source", "shop"][..], &sign].concat();
    tokio::task::block_in_place(|| printed(&place, &send));
    wait_for_lines(&listen, 1).await;
    let received = &local.received()[0];
    assert_eq!(received.body, SPACED);
    assert_eq!(verdict("stripe", received, ""), Verdict::Verified, "{received:?}");
    assert_eq!(lines(&listen)[0]["left_out"], json!([]));
    assert!(!listen.log().contains("is left out"), "{}", listen.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_of_the_server_is_signed_and_its_query_has_the_token_of_the_sender() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    for (number, preset) in ["square", "monday"].into_iter().enumerate() {
        let signing = ["--name", preset, "--preset", preset, "--secret", SECRET];
        let listen = start(&place, &local, &signing);
        listen.wait_for_log("waiting for webhooks").await;
        process.rest.submit(preset, "order.created", "{\"n\" : 1.10}").await;
        local.wait_for(number + 1).await;
        let received = local.received().pop().unwrap();
        assert!(received.line.starts_with("POST /hooks?a=b"), "{}", received.line);
        assert_eq!(received.body, b"{\"n\" : 1.10}");
        assert_eq!(verdict(preset, &received, &local.url("/hooks")), Verdict::Verified, "{received:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_cannot_be_signed_is_left_out_and_the_others_follow() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    // Its passcode is in the body.
    let listen = start(&place, &local, &["--preset", "figma", "--secret", "pass"]);
    listen.wait_for_log("waiting for webhooks").await;
    process.rest.submit("list", "order.created", "[1]").await;
    process.rest.submit("object", "order.created", "{\"passcode\" : \"pass\"}").await;
    wait_for_lines(&listen, 2).await;
    let told = lines(&listen);
    assert!(told[0]["not_delivered"].as_str().unwrap().contains("cannot be signed"), "{}", told[0]);
    assert_eq!((&told[0]["status"], &told[1]["status"]), (&json!(null), &json!(200)));
    let received = local.received();
    assert_eq!((received.len(), &*received[0].body), (1, &b"{\"passcode\" : \"pass\"}"[..]));
}

#[test]
fn what_cannot_be_signed_anew_is_refused_at_the_start() {
    let place = place(&[]);
    for (arguments, text) in [
        (&["--preset", "strip"][..], "there is no preset"),
        (&["--preset", "discord"], "private key"),
        (&["--preset", "adyen", "--secret", "no-digits"], "the scheme of this sender"),
        (&["--preset", "microsoft-graph", "--secret", "s3cret"], "batch"),
        (&["--preset", "cloudevents"], "signs nothing"),
        (&["--preset", "stripe"], "--secret"),
        (&["--preset", "stripe", "--secret", "env:MISSING"], "MISSING is not set"),
        (&["--secret", "s3cret"], "--preset"),
    ] {
        let listen = ["listen", "--forward", "http://127.0.0.1:1/"];
        let (code, told) = failed(&place, &[&listen[..], arguments].concat());
        assert_eq!(code, Some(64), "{arguments:?}: {told}");
        assert!(told.contains(text) && !told.contains("s3cret"), "{text}: {told}");
    }
}

#[tokio::test]
async fn show_writes_the_body_alone_byte_for_byte() {
    let place = place_with(SHOP);
    let process = place.serve().await;
    for (key, body) in [("spaced", SPACED), ("bytes", b"\xff\0\x1b[2J\r\n"), ("empty", b"")] {
        let id = send(&process.rest, key, "application/json", body).await;
        for named in [&[id.as_str()][..], &["--key", key, "--source", "shop"]] {
            let ended = place.run(&[&["show", "--body"][..], named].concat());
            assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0), "{named:?}");
            assert_eq!(ended.stdout, body, "{named:?}");
        }
        let (code, told) = failed(&place, &["show", &id, "--body", "--json"]);
        assert_eq!(code, Some(64), "{told}");
    }
    let ended = place.run_into_closed_pipe(&["show", "--key", "spaced", "--source", "shop", "--body"]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}
