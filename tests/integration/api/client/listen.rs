//! `hookbox listen` and `hookbox tail`: every webhook once and in order, whatever restarts.

mod exact;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::local::Local;
use super::{failed, place};
use crate::api::harness::client::Rest;
use crate::api::harness::eventually;
use crate::api::harness::process::{Place, Process};
use crate::support::received::Received;

/// How many webhooks are sent at a time.
const SENT: usize = 20;

/// Sends the next webhooks, numbered from `first`.
async fn send(rest: &Rest, first: usize) {
    for number in first..first + SENT {
        rest.submit(&number.to_string(), "order.created", &number.to_string()).await;
    }
}

fn start(place: &Place, local: &Local, more: &[&str]) -> Process {
    let url = local.url("/hooks?a=b");
    place.start_command(&[&["listen", "--forward", &url, "--json"][..], more].concat())
}

/// The lines that a command has printed so far, each of which is JSON.
pub(super) fn lines(command: &Process) -> Vec<Value> {
    command.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Waits until a command has printed so many lines.
pub(super) async fn wait_for_lines(command: &Process, count: usize) {
    eventually(&format!("line {count}"), || async { (lines(command).len() >= count).then_some(()) }).await;
}

pub(super) fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8(received.body.clone()).unwrap()).collect()
}

fn numbers(upto: usize) -> Vec<String> {
    (0..upto).map(|number| number.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_webhook_is_delivered_once_and_in_order_over_restarts_of_every_side() {
    let (place, mut local) = (place(&[]), Local::start().await);
    let mut process = place.serve().await;
    process.rest.submit("before", "order.created", "\"before\"").await;
    let mut listen = start(&place, &local, &[]);
    listen.wait_for_log("waiting for webhooks").await;
    send(&process.rest, 0).await;
    wait_for_lines(&listen, SENT).await;

    // The server on this machine restarts.
    local.stop();
    send(&process.rest, SENT).await;
    listen.wait_for_log("trying again until there is").await;
    local = local.again().await;
    wait_for_lines(&listen, 2 * SENT).await;
    listen.wait_for_log("answers again; nothing was left out").await;

    // hookbox restarts.
    assert_eq!(process.terminate().await, Some(0));
    listen.wait_for_log("is lost").await;
    process = place.serve().await;
    send(&process.rest, 2 * SENT).await;
    wait_for_lines(&listen, 3 * SENT).await;
    listen.wait_for_log("nothing was missed").await;

    // The command restarts.
    listen.signal(Signal::SIGINT);
    assert_eq!(listen.ended().await.code(), Some(130), "{}", listen.log());
    send(&process.rest, 3 * SENT).await;
    let listen = start(&place, &local, &[]);
    listen.wait_for_log("going on where the last one has ended").await;
    wait_for_lines(&listen, SENT).await;
    send(&process.rest, 4 * SENT).await;
    wait_for_lines(&listen, 2 * SENT).await;

    assert_eq!(bodies(&local.received()), numbers(5 * SENT));
    let printed = lines(&listen);
    assert_eq!(printed.len(), 2 * SENT);
    let is_told = |line: &Value| line["status"] == 200 && line["took_ms"].is_f64();
    assert!(printed.iter().all(is_told), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_delivered_with_the_body_and_the_headers_of_its_sender() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    let listen = start(&place, &local, &[]);
    listen.wait_for_log("waiting for webhooks").await;
    let body = r#"{"idempotency_key":"k","event_type":"order.created","payload":{"a" : 1.10}}"#;
    let submission = process.rest.submission(body).header("x-shop", "7").header("authorization", "Bearer x");
    submission.send().await.unwrap();
    local.wait_for(1).await;
    let received = &local.received()[0];
    assert_eq!(
        (received.line.as_str(), &*received.body),
        ("POST /hooks?a=b HTTP/1.1", &b"{\"a\" : 1.10}"[..])
    );
    assert_eq!(received.header("x-shop"), "7");
    assert_eq!(received.header("authorization"), "", "hookbox does not keep it");
    assert_eq!(received.header("host"), local.url("").trim_start_matches("http://"));
    let id = process.rest.get("/v1/status?idempotency_key=k").await.text_of("id");
    let names =
        ["hookbox-webhook", "hookbox-source", "hookbox-event-type", "idempotency-key", "content-type"];
    let values = names.map(|name| received.header(name));
    assert_eq!(values, [id.as_str(), "default", "order.created", "k", "application/json"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_where_it_is_told_to_and_two_do_not_share_a_memory() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    let first = process.rest.submit("first", "order.created", "\"first\"").await.text_of("id");
    process.rest.submit("second", "order.created", "\"second\"").await;
    let mut listen = start(&place, &local, &["--from", &first]);
    wait_for_lines(&listen, 1).await;
    let arguments = ["listen", "--forward", &local.url("/hooks?a=b")];
    let (code, told) = tokio::task::block_in_place(|| failed(&place, &arguments));
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("another `hookbox listen`"), "{told}");

    listen.signal(Signal::SIGINT);
    listen.ended().await;
    process.rest.submit("third", "order.created", "\"third\"").await;
    let listen = start(&place, &local, &["--from", "now"]);
    listen.wait_for_log("waiting for webhooks").await;
    process.rest.submit("fourth", "order.created", "\"fourth\"").await;
    local.wait_for(2).await;
    assert_eq!(bodies(&local.received()), ["\"second\"", "\"fourth\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_the_next_one_goes_on_without_the_flag_that_chose_the_beginning() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    let mut listen = start(&place, &local, &["--from", "now"]);
    listen.wait_for_log("waiting for webhooks").await;
    process.rest.submit("first", "order.created", "\"first\"").await;
    wait_for_lines(&listen, 1).await;
    listen.signal(Signal::SIGINT);
    assert_eq!(listen.ended().await.code(), Some(130), "{}", listen.log());
    assert!(listen.log().contains("the same options, but without --from, goes on here"), "{}", listen.log());
    process.rest.submit("second", "order.created", "\"second\"").await;

    let mut listen = start(&place, &local, &[]);
    wait_for_lines(&listen, 1).await;
    listen.signal(Signal::SIGINT);
    assert_eq!(listen.ended().await.code(), Some(130), "{}", listen.log());
    assert!(listen.log().contains("the same options goes on here"), "{}", listen.log());
    assert_eq!(bodies(&local.received()), ["\"first\"", "\"second\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_memory_is_refused_at_every_start_until_a_beginning_is_named() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    let mut listen = start(&place, &local, &[]);
    listen.wait_for_log("waiting for webhooks").await;
    let first = process.rest.submit("first", "order.created", "\"first\"").await.text_of("id");
    wait_for_lines(&listen, 1).await;
    listen.signal(Signal::SIGINT);
    listen.ended().await;
    process.rest.submit("second", "order.created", "\"second\"").await;

    let files = std::fs::read_dir(place.path("state/hookbox/listen")).unwrap();
    let file = files.map(|file| file.unwrap().path()).find(|path| path.extension().is_none()).unwrap();
    let url = local.url("/hooks?a=b");
    for damage in [&b""[..], &[0; 111], b"\xff"] {
        std::fs::write(&file, damage).unwrap();
        for _ in 0..2 {
            let arguments = ["listen", "--forward", &url];
            let (code, told) = tokio::task::block_in_place(|| failed(&place, &arguments));
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains("is damaged") && told.contains("--from ID"), "{told}");
        }
    }
    let listen = start(&place, &local, &["--from", &first]);
    wait_for_lines(&listen, 1).await;
    assert_eq!(bodies(&local.received()), ["\"first\"", "\"second\""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_webhooks_that_are_wanted_are_delivered() {
    let (place, local) = (place(&[]), Local::start().await);
    let process = place.serve().await;
    let listen = start(&place, &local, &["--type", "user.created", "--route", "default"]);
    listen.wait_for_log("waiting for webhooks").await;
    let event_types = ["order.created", "user.created", "order.created", "user.created"];
    for (number, event_type) in event_types.into_iter().enumerate() {
        process.rest.submit(&number.to_string(), event_type, &number.to_string()).await;
    }
    local.wait_for(2).await;
    assert_eq!(bodies(&local.received()), ["1", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_prints_each_webhook_once_over_restarts_of_both_sides() {
    let place = place(&[]);
    let mut process = place.serve().await;
    let mut tail = place.start_command(&["tail", "--type", "order.created", "--json"]);
    tail.wait_for_log("waiting for webhooks").await;
    send(&process.rest, 0).await;
    assert_eq!(process.terminate().await, Some(0));
    tail.wait_for_log("is lost").await;
    process = place.serve().await;
    send(&process.rest, SENT).await;
    wait_for_lines(&tail, 2 * SENT).await;
    assert!(tail.log().contains("nothing was missed"));

    tail.signal(Signal::SIGINT);
    assert_eq!(tail.ended().await.code(), Some(130), "{}", tail.log());
    let told = tail.log();
    let (_, command) = told.split_once("without missing a webhook or repeating one: hookbox ").expect(&told);
    assert!(command.ends_with(" --type order.created --json\n"), "{command}");
    send(&process.rest, 2 * SENT).await;
    let again = place.start_command(&command.split_whitespace().collect::<Vec<_>>());
    wait_for_lines(&again, SENT).await;
    let printed = [lines(&tail), lines(&again)].concat();
    let keys = printed.iter().map(|line| line["idempotency_key"].as_str().unwrap().to_owned());
    assert_eq!(keys.collect::<Vec<_>>(), numbers(3 * SENT));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_says_how_many_webhooks_come_again_if_the_position_is_behind_them() {
    let id = |number: u32| format!("0193811c-2b7b-7000-8000-{number:012}");
    // As on PostgreSQL.
    let event = |number: u32| {
        let webhook = json!({
            "id": id(number), "source": "default", "idempotency_key": "k", "event_type": "t",
            "status": "pending", "accepted_at": "2026-03-01T12:00:00.000Z",
        });
        format!("event: webhook\ndata: {}\n\n", json!({ "webhook": webhook, "resume_after": id(1) }))
    };
    // The stream breaks, and is then ended for good.
    let problem = json!({ "status": 401, "reason": "UNAUTHENTICATED", "detail": "the token is gone" });
    let answers = [event(2) + &event(3), format!("event: error\ndata: {problem}\n\n")];
    let (place, local) = (place(&[]), Local::answering(answers).await);
    let url = local.url("/");
    let arguments = ["tail", "--from", &id(0), "--type", "it's", "--url", &url];
    let (code, told) = tokio::task::block_in_place(|| failed(&place, &arguments));
    assert_eq!(code, Some(77), "{told}");
    let expected = format!(
        "to go on without missing a webhook; 2 that were printed come again: hookbox tail --from {} \
         --type 'it'\\''s' --url {url}\n",
        id(1)
    );
    assert!(told.contains(&expected), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_each_stream_at_once_is_asked_at_growing_intervals() {
    let event = "data: {\"resume_after\":\"0193811c-2b7b-7000-8000-000000000001\"}\n\n";
    let (place, local) = (place(&[]), Local::answering([event.to_owned()]).await);
    let began = Instant::now();
    let _tail = place.start_command(&["tail", "--url", &local.url("")]);
    local.wait_for(5).await;
    // 100, 200, 400 and 800 ms.
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
}
