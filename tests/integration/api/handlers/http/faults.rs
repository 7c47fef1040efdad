//! Targets that behave badly. Each one ends the attempt with an error that names the cause, and no connection is left.

use jiff::SignedDuration;
use rstest::rstest;

use super::error_of;
use super::target::{Does, OK, Target, route};
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store, eventually};

/// The time of day of a successor.
const LATER: &str = "2026-03-02T12:00:00Z";

#[rstest]
#[case::hangs(Does::Hang, "the target sent no answer within the timeout of 5s")]
#[case::trickles(Does::Trickle, "within the timeout of 5s")]
#[tokio::test]
async fn an_answer_that_does_not_end_is_ended_by_the_timeout(
    #[case] does: Does,
    #[case] expected: &str,
    #[values(Sqlite, Postgres)] store: Store,
) {
    let target = Target::start([does]).await;
    let hookbox = Hookbox::with_routes(store, &target.route("timeout = \"5s\"\nretry = { attempts = 1 }"));
    let id = hookbox.rest.accept("evt-001").await;
    target.wait_for_requests(1).await;
    hookbox.advance(SignedDuration::from_secs(5));
    let webhook = hookbox.wait_for(&id, "dead_lettered").await;
    assert!(error_of(&webhook).contains(expected), "{webhook}");
    target.wait_for_close().await;
}

#[rstest]
#[case::resets(Does::ResetAfter(""), "the connection before its answer began")]
#[case::closes(Does::CloseAfter(""), "the target closed the connection before its answer began")]
#[case::resets_within_the_body(
    Does::ResetAfter("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    "the connection before"
)]
#[case::closes_within_the_body(
    Does::CloseAfter("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"),
    "the target closed the connection before the end of its answer"
)]
#[case::sends_wrong_chunks(
    Does::CloseAfter("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"),
    "the target's answer is not valid HTTP: Invalid chunk size line"
)]
#[case::sends_garbage(Does::CloseAfter("SSH-2.0-OpenSSH_9.9\r\n"), "the target's answer is not valid HTTP")]
#[case::sends_a_large_head(Does::LargeHead, "the head of the target's answer is too large")]
#[tokio::test]
async fn an_answer_that_is_broken_fails_the_attempt(#[case] does: Does, #[case] expected: &str) {
    let target = Target::start([does, OK]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert!(error_of(&webhook).contains(expected), "{webhook}");
    hookbox.advance(HOUR);
    assert_eq!(hookbox.wait_for(&id, "completed").await["attempt_count"], 2);
}

#[tokio::test]
async fn a_body_without_end_is_read_no_further_than_it_is_kept() {
    let target = Target::start([Does::Endless]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "completed").await;
    assert_eq!(webhook["result"]["status"], 200);
    target.wait_for_close().await;
}

#[tokio::test]
async fn a_body_that_is_declared_as_compressed_is_not_decompressed() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 8\r\n\r\nnot gzip";
    let target = Target::start([Does::Answer(answer.into())]).await;
    let hookbox = Hookbox::with_routes(Sqlite, &target.route(""));
    let id = hookbox.rest.accept("evt-001").await;
    hookbox.wait_for(&id, "completed").await;
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_named() {
    let hookbox = Hookbox::with_routes(Sqlite, &route("http://does-not-exist.invalid/", ""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    let error = error_of(&webhook);
    assert!(error.starts_with("the name does-not-exist.invalid cannot be resolved: "), "{error}");
}

#[tokio::test]
async fn a_port_at_which_nothing_listens_is_told() {
    // Bound, but not listening: no other program can take the port.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/", socket.local_addr().unwrap());
    let hookbox = Hookbox::with_routes(Sqlite, &route(&url, ""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(error_of(&webhook), "the target refused the connection; nothing listens at its port");
}

#[rstest]
#[tokio::test]
async fn a_request_that_outlasts_the_shutdown_is_interrupted_and_sent_again(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let target = Target::start([Does::Hang, OK]).await;
    let routes = format!("shutdown_grace = \"0s\"\n{}", target.route(""));
    let hookbox = Hookbox::with_routes(store, &routes);
    let id = hookbox.rest.accept("evt-001").await;
    target.wait_for_requests(1).await;
    let home = hookbox.stop();
    target.wait_for_close().await;

    let successor = Hookbox::at(home, LATER, &[]);
    let webhook = successor.wait_for(&id, "completed").await;
    assert_eq!(webhook["attempts"][0]["outcome"], "interrupted", "{webhook}");
    assert_eq!(webhook["attempt_count"], 2);
}

#[tokio::test]
async fn a_route_whose_target_hangs_does_not_hold_up_another() {
    let target = Target::start([Does::Hang]).await;
    let routes = format!("{}\n[[routes]]\nname = \"other\"\n", target.route(""));
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    let id = hookbox.rest.accept("evt-001").await;
    target.wait_for_requests(1).await;
    let webhook = eventually("the end of the other job", || async {
        let webhook = hookbox.rest.webhook(&id).await;
        (webhook["jobs"][1]["status"] == "completed").then_some(webhook)
    })
    .await;
    assert_eq!(webhook["jobs"][0]["status"], "processing");
    // Ends the attempt, so that hookbox can stop.
    hookbox.advance(SignedDuration::from_secs(30));
    hookbox.wait_for(&id, "retrying").await;
}
