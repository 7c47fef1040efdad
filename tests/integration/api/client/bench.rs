//! `hookbox bench`: which hookbox it asks, and what it says.

use hookbox::internals::access::Digest;
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{failed, lines, place, printed};
use crate::api::harness::eventually;
use crate::api::harness::process::Process;

const ADMIN_TOKEN: &str = "hbx_the-token-of-the-admin";

/// May submit, and not look at the counts.
const SENDER_TOKEN: &str = "hbx_the-token-of-the-sender";

#[tokio::test]
async fn bench_asks_the_hookbox_in_the_environment() {
    let place = place(&[]);
    let _process = place.serve().await;
    let measured = lines(&place, &["bench", "--duration", "100ms", "--connections", "1", "--json"]);
    assert!(measured[0]["accepted"].is_u64(), "{measured:?}");
}

#[test]
fn bench_sends_its_token_nowhere_if_it_cannot_speak_to_the_hookbox_in_the_environment() {
    let mut place = place(&[("HOOKBOX_TOKEN", "hbx_the-token-of-staging")]);
    for (url, why) in [
        ("https://staging.example.com", "speaks no TLS"),
        ("http://staging.example.com/hooks", "without a path"),
        ("staging.example.com:80", "must be http://"),
    ] {
        let (code, told) = failed(&place, &["bench", "--url", url]);
        assert_eq!(code, Some(64), "{url}: {told}");
        assert!(told.contains(why) && told.contains("--url"), "{url}: {told}");
        place.set("HOOKBOX_URL", url);
        let (code, told) = failed(&place, &["bench"]);
        assert_eq!(code, Some(64), "{url}: {told}");
        assert!(told.contains(why) && told.contains("HOOKBOX_URL"), "{url}: {told}");
    }
}

#[tokio::test]
async fn bench_names_the_variable_of_a_token_that_is_missing_wrong_malformed_or_not_allowed_to() {
    let mut place = place(&[("HOOKBOX_ADMIN_TOKEN", ADMIN_TOKEN)]);
    let digest = Digest::of(SENDER_TOKEN.as_bytes()).to_hex();
    let tokens = format!("[tokens.sender]\nsha256 = \"{digest}\"\nroles = [\"submit\"]\n");
    std::fs::write(place.path("hookbox.toml"), tokens).unwrap();
    let _process = place.serve().await;
    for (token, expected, why) in [
        ("", 77, "needs a token"),
        ("hbx_another-token-than-that", 77, "token"),
        ("żółw", 64, "visible ASCII characters"),
        (SENDER_TOKEN, 77, "does not have the role `read`"),
    ] {
        place.set("HOOKBOX_TOKEN", token);
        let (code, told) = failed(&place, &["bench", "--duration", "100ms", "--connections", "1"]);
        assert_eq!(code, Some(expected), "{token:?}: {told}");
        assert!(told.contains(why) && told.contains("HOOKBOX_TOKEN"), "{token:?}: {told}");
        assert!(!told.contains("is hookbox running"), "{token:?}: {told}");
    }
    place.set("HOOKBOX_TOKEN", ADMIN_TOKEN);
    printed(&place, &["bench", "--duration", "100ms", "--connections", "1"]);
}

#[tokio::test]
async fn bench_prints_what_was_accepted_before_it_waits_for_the_jobs() {
    let place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n")
        .unwrap();
    let process = place.serve().await;
    // A job that no worker takes.
    process.rest.accept("evt-001").await;
    let arguments = ["bench", "--duration", "100ms", "--connections", "1", "--drain"];
    let mut bench = place.start_command(&arguments);
    bench.wait_for_log("waiting until no job is unfinished; ").await;
    let log = bench.log();
    let waits = log.find("waiting until").unwrap();
    let latency = log.find("latency ").unwrap_or(usize::MAX);
    assert!(log.starts_with("accepted ") && latency < waits, "{log}");
    assert!(log.contains("pull without a worker"), "{log}");
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.ended().await.code(), Some(130), "{}", bench.log());
    assert!(!bench.log().contains("drained"), "{}", bench.log());

    let mut bench = place.start_command(&[&arguments[..], &["--json"]].concat());
    bench.wait_for_log("waiting until no job is unfinished; ").await;
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.ended().await.code(), Some(130), "{}", bench.log());
    let log = bench.log();
    let report = serde_json::from_str::<Value>(log.lines().last().unwrap()).unwrap();
    assert!(report["accepted"].is_u64() && report["drained"].is_null(), "{log}");
}

#[tokio::test]
async fn bench_prints_what_was_accepted_before_ctrl_c() {
    let place = place(&[]);
    let process = place.serve().await;
    let mut bench = place.start_command(&["bench", "--duration", "60s", "--connections", "2", "--drain"]);
    wait_for_completed(&process).await;
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.ended().await.code(), Some(130), "{}", bench.log());
    let log = bench.log();
    assert!(log.starts_with("hookbox: stopped by Ctrl-C after "), "{log}");
    assert!(log.contains("\naccepted ") && !log.contains("   0 webhooks"), "{log}");
    assert!(!log.contains("drained") && !log.contains("waiting until"), "{log}");
}

#[tokio::test]
async fn bench_prints_what_was_accepted_before_hookbox_was_killed() {
    let place = place(&[]);
    let process = place.serve().await;
    let mut bench = place.start_command(&["bench", "--duration", "60s", "--connections", "2"]);
    wait_for_completed(&process).await;
    // Kills it.
    drop(process);
    assert_eq!(bench.ended().await.code(), Some(1), "{}", bench.log());
    let log = bench.log();
    assert!(log.starts_with("accepted ") && !log.contains("   0 webhooks"), "{log}");
    let lost = format!("the answer to POST http://127.0.0.1:{}/v1/webhooks is lost: ", place.http_port());
    assert!(log.contains(&lost), "{log}");
}

/// Waits until more webhooks are completed than two connections send before they have read an answer.
async fn wait_for_completed(process: &Process) {
    eventually("completed webhooks", || async {
        let stats = process.rest.get("/v1/stats").await.json();
        (stats["counts"]["completed"].as_u64() > Some(2)).then_some(())
    })
    .await;
}
