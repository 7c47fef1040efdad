//! `hookbox replay` and `hookbox replays`: finished jobs run again, and what is told of it.

use console::measure_text_width;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::local::Local;
use super::{failed, lines, place, printed};
use crate::api::harness::eventually;
use crate::api::harness::process::Process;
use crate::support::terminal::Terminal;

/// A replay that goes on until a test ends it.
const SLOW: [&str; 6] = ["replay", "--source", "default", "--rate", "1/h", "--yes"];

/// Accepts webhooks, and waits until they are completed.
async fn accept(process: &Process, count: usize) {
    for number in 0..count {
        process.rest.accept(&number.to_string()).await;
    }
    eventually("completed webhooks", || async {
        (process.rest.get("/v1/stats").await.json()["counts"]["completed"] == count).then_some(())
    })
    .await;
}

/// Waits until a terminal shows a text.
pub(super) async fn wait_for_text(terminal: &Terminal, text: &str) {
    eventually(text, || async { terminal.text().contains(text).then_some(()) }).await;
}

/// A member of each line, as text.
fn texts(lines: &[Value], member: &str) -> Vec<String> {
    lines.iter().map(|line| line[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_finished_jobs_of_a_webhook_run_again_by_its_id_or_its_key() {
    let place = place(&[]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "completed").await;
    assert!(printed(&place, &["replay", &id, "--reason", "it was lost"]).contains(&id));
    process.wait_for(&id, "completed").await;
    let by_key = ["replay", "--key", "evt-001", "--source", "default", "--route", "default", "--json"];
    assert_eq!(lines(&place, &by_key)[0]["id"], id);
    let webhook = process.wait_for(&id, "completed").await;
    assert_eq!(webhook["jobs"][0]["run"], 3);
    let actions = lines(&place, &["actions", "--json", "--webhook", &id]);
    assert_eq!(texts(&actions, "action"), ["replay_webhook"; 2]);
    assert_eq!(actions[1]["reason"], "it was lost");
    assert!(lines(&place, &["replays", "--json"]).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_replayed_by_its_key_in_one_call() {
    let (place, local) = (place(&[]), Local::answering([json!({ "id": "1" }).to_string()]).await);
    let url = local.url("");
    let arguments = ["replay", "--key", "evt-001", "--route", "orders", "--json", "--url", &url];
    tokio::task::block_in_place(|| printed(&place, &arguments));
    let asked = local.received().into_iter().map(|request| request.line).collect::<Vec<_>>();
    assert_eq!(asked, ["POST /v1/replay?idempotency_key=evt-001&route=orders HTTP/1.1"]);
}

#[tokio::test]
async fn a_dry_run_prints_the_numbers_and_starts_nothing() {
    let place = place(&[]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let counted =
        printed(&place, &["replay", "--status", "completed,cancelled", "--since", "1h", "--dry-run"]);
    assert_eq!(counted, "replay 1 (dry run) is completed: 3 jobs of 3 webhooks would run again\n");
    let filtered = |filter: &[&str]| {
        let counted = lines(&place, &[&["replay", "--dry-run", "--json"][..], filter].concat());
        assert_eq!(counted.len(), 1, "it is over when it is answered");
        counted[0]["counts"]["jobs"].clone()
    };
    assert_eq!(filtered(&["--type", "user.created"]), 0);
    assert_eq!(filtered(&["--idempotency-key", "2"]), 1);
    assert!(lines(&place, &["actions", "--json"]).is_empty());
}

#[tokio::test]
async fn on_a_pipe_a_replay_prints_a_line_at_its_start_and_one_at_its_end() {
    let place = place(&[]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let (code, told) = failed(&place, &["replay", "--source", "default"]);
    assert_eq!(code, Some(64), "{told}");
    assert!(told.contains("--yes") && told.contains("--dry-run"), "{told}");
    assert!(lines(&place, &["replays", "--json"]).is_empty(), "nothing is started without a question");

    let ended = place.run(&["replay", "--source", "default", "--yes"]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
    let said = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(said, "replay 1 is started\nreplay 1 is completed: 3 jobs of 3 webhooks run again\n");

    eventually("completed webhooks", || async {
        (process.rest.get("/v1/stats").await.json()["counts"]["completed"] == 3).then_some(())
    })
    .await;
    let id = process.rest.get("/v1/webhooks?page_size=1").await.json()["webhooks"][0]["id"].clone();
    let shown = printed(&place, &["show", id.as_str().unwrap()]);
    assert!(shown.contains("REPLAY"), "{shown}");
    let json = lines(&place, &["replay", "--source", "default", "--reason", "lost", "--yes", "--json"]);
    assert_eq!(texts(&json, "state"), ["running", "completed"]);
    assert_eq!(json[1], process.rest.get("/v1/replays/2").await.json());
}

#[tokio::test]
async fn ctrl_c_leaves_a_replay_running_and_it_can_be_watched_and_cancelled() {
    let place = place(&[]);
    let process = place.serve().await;
    accept(&process, 2).await;
    let mut replay = place.start_command(&SLOW);
    replay.wait_for_log("replay 1 is started").await;
    replay.signal(Signal::SIGINT);
    assert_eq!(replay.ended().await.code(), Some(130), "{}", replay.log());
    assert!(replay.log().contains("hookbox replays cancel 1"), "{}", replay.log());
    assert!(printed(&place, &["replays", "show", "1"]).contains("running"));
    let (code, told) = failed(&place, &["replay", "--route", "default", "--yes"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("replay 1 is running"), "{told}");

    let mut watch = place.start_command(&["replays", "watch", "1"]);
    let cancelled = printed(&place, &["replays", "cancel", "1", "--reason", "enough"]);
    assert!(cancelled.starts_with("replay 1 is cancelled: "), "{cancelled}");
    assert_eq!(watch.ended().await.code(), Some(1));
    assert_eq!(watch.log(), cancelled);
    assert_eq!(printed(&place, &["replays", "cancel", "1"]), cancelled, "again changes nothing");
}

#[tokio::test]
async fn replays_are_listed_newest_first_and_shown() {
    let place = place(&[]);
    let _process = place.serve().await;
    printed(&place, &["replay", "--until", "0s", "--dry-run"]);
    let reason = ["--reason", "the shop lost its orders"];
    printed(&place, &[&["replay", "--route", "default", "--yes"][..], &reason].concat());
    let json = lines(&place, &["replays", "--json"]);
    let numbers = json.iter().map(|replay| replay["number"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(lines(&place, &["replays", "--limit", "1", "--json"]), json[..1]);
    assert_eq!(lines(&place, &["replays", "show", "2", "--json"]), json[..1]);
    let table = printed(&place, &["replays"]);
    let rows = table.lines().collect::<Vec<_>>();
    assert!(rows[1].contains("route=default") && rows[1].contains("the shop lost its orders"), "{table}");
    assert!(rows[2].contains("dry run"), "{table}");
    let shown = printed(&place, &["replays", "show", "2"]);
    for text in
        ["completed", "route=default", "anonymous", "the shop lost its orders", "0 jobs of 0 webhooks"]
    {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    printed(&place, &["replay", "--route", "default", "--no-wait", "--yes"]);
    printed(&place, &["replays", "watch", "3"]);
}

#[tokio::test]
async fn a_replay_is_followed_to_its_end_although_hookbox_is_killed() {
    const JOBS: usize = 10;
    let place = place(&[]);
    let process = place.serve().await;
    accept(&process, JOBS).await;
    let mut replay = place.start_command(&SLOW);
    replay.wait_for_log("replay 1 is started").await;
    eventually("a job that runs again", || async {
        (process.rest.get("/v1/replays/1").await.json()["counts"]["jobs"] == 1).then_some(())
    })
    .await;
    // Kills it.
    drop(process);
    replay.wait_for_log("is lost").await;
    // The rest may run at once.
    place.execute("UPDATE replays SET rate = NULL, next_at = NULL");
    let _process = place.serve().await;
    assert_eq!(replay.ended().await.code(), Some(0), "{}", replay.log());
    let log = replay.log();
    let said = log.lines().collect::<Vec<_>>();
    let [started, lost, again, ended] = said[..] else { panic!("{log}") };
    assert_eq!(started, "replay 1 is started");
    assert!(lost.starts_with("hookbox: the connection to http://127.0.0.1:"), "{log}");
    assert!(again.starts_with("hookbox: connected to http://127.0.0.1:"), "{log}");
    assert_eq!(ended, format!("replay 1 is completed: {JOBS} jobs of {JOBS} webhooks run again"));
}

#[tokio::test]
async fn a_person_is_told_the_numbers_and_asked_before_a_replay_starts() {
    let place = place(&[("TERM", "xterm")]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let asked = async || {
        let (replay, terminal) = place.start_on_terminal(&["replay", "--source", "default"]);
        wait_for_text(&terminal, "Run them again? [y/N] ").await;
        (replay, terminal)
    };
    let (mut replay, terminal) = asked().await;
    assert!(terminal.text().contains("3 jobs of 3 webhooks would run again"), "{}", terminal.text());
    terminal.type_line("n");
    assert_eq!(replay.ended().await.code(), Some(1), "{}", terminal.text());
    let (mut replay, terminal) = asked().await;
    replay.signal(Signal::SIGINT);
    assert_eq!(replay.ended().await.code(), Some(130), "{}", terminal.text());
    assert!(lines(&place, &["actions", "--json"]).is_empty(), "nothing runs again");

    let (mut replay, terminal) = asked().await;
    // It was not counted.
    process.rest.accept("late").await;
    terminal.type_line("y");
    assert_eq!(replay.ended().await.code(), Some(0), "{}", terminal.text());
    let said = "replay 4 is started\nreplay 4 is completed: 3 jobs of 3 webhooks run again\n";
    assert_eq!(replay.log(), said);
}

#[tokio::test]
async fn a_terminal_shows_how_far_a_replay_is() {
    let place = place(&[("TERM", "xterm")]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let (mut replay, terminal) = place.start_on_terminal(&SLOW);
    wait_for_text(&terminal, " % of the time  1 job of ").await;
    replay.signal(Signal::SIGINT);
    assert_eq!(replay.ended().await.code(), Some(130), "{}", terminal.text());
    wait_for_text(&terminal, "replay 1 goes on").await;
}

#[tokio::test]
async fn a_narrow_terminal_shows_in_one_line_how_far_a_replay_is_with_its_numbers() {
    let place = place(&[("TERM", "xterm")]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let (mut replay, terminal) = place.start_on_terminal_of(40, &SLOW);
    wait_for_text(&terminal, " % of the time  1 job of").await;
    let text = terminal.text();
    let mut lines = text.split(['\r', '\n']);
    assert!(lines.all(|line| measure_text_width(line) <= 40), "{text:?}");
    replay.signal(Signal::SIGINT);
    assert_eq!(replay.ended().await.code(), Some(130), "{}", terminal.text());
}

#[tokio::test]
async fn a_terminal_shows_the_share_of_the_jobs_that_were_counted() {
    let place = place(&[("TERM", "xterm")]);
    let process = place.serve().await;
    accept(&process, 3).await;
    let (mut replay, terminal) =
        place.start_on_terminal(&["replay", "--source", "default", "--rate", "1/h", "--since", "1h"]);
    wait_for_text(&terminal, "Run them again? [y/N] ").await;
    terminal.type_line("y");
    // All of them are in the last second of the time.
    wait_for_text(&terminal, " 33 %  1 job of ").await;
    replay.signal(Signal::SIGINT);
    assert_eq!(replay.ended().await.code(), Some(130), "{}", terminal.text());
}
