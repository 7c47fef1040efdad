//! What `hookbox serve` says on a terminal.

use crate::api::harness::eventually;
use crate::api::harness::process::Place;
use crate::support::terminal::Terminal;

/// Serves on a terminal until it is ready, and answers what it has said there.
async fn served_on_terminal(place: &Place) -> String {
    let (process, terminal) = place.start_on_terminal(&["serve"]);
    wait_for(&terminal, "hookbox is ready").await;
    assert_eq!(process.terminate().await, Some(0));
    // The terminal may be read later than the process ends.
    let all = || async {
        let said = terminal.text();
        (said.contains("hookbox has stopped") && said.ends_with('\n')).then_some(said)
    };
    eventually("the last line", all).await
}

async fn wait_for(terminal: &Terminal, text: &str) {
    eventually(text, || async { terminal.text().contains(text).then_some(()) }).await;
}

#[tokio::test]
async fn on_a_terminal_serve_says_in_five_lines_where_everything_is_and_what_to_try() {
    let place = Place::new(&[]);
    let said = served_on_terminal(&place).await;
    let lines = said.lines().map(str::trim_end).skip_while(|line| !line.starts_with("  page  "));
    let [page, rest, grpc, data, tried] = lines.take(5).collect::<Vec<_>>()[..] else { panic!("{said}") };
    let url = format!("http://127.0.0.1:{}", place.http_port());
    let file = place.path("hookbox.db").canonicalize().unwrap();
    assert_eq!(page, format!("  page  {url}/"));
    assert_eq!(rest, format!("  REST  {url}/v1/webhooks (described at {url}/docs)"));
    assert!(grpc.starts_with("  gRPC  127.0.0.1:"), "{grpc}");
    assert_eq!(data, format!("  data  {}", file.display()));
    assert!(tried.starts_with(&format!("  try   curl {url}/v1/webhooks -H ")), "{tried}");
}

#[tokio::test]
async fn where_logs_are_json_serve_says_nothing_else() {
    let place = Place::new(&[("HOOKBOX_LOG_FORMAT", "json")]);
    let said = served_on_terminal(&place).await;
    for line in said.lines().filter(|line| !line.is_empty()) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[tokio::test]
async fn without_a_terminal_serve_says_nothing_else() {
    let place = Place::new(&[("HOOKBOX_LOG_FORMAT", "pretty")]);
    let process = place.serve().await;
    process.wait_for_log("hookbox is ready").await;
    assert!(!process.log().contains("try   curl"), "{}", process.log());
    assert_eq!(process.terminate().await, Some(0));
}
