//! What commands print, and their exit codes.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::local::Local;
use super::{failed, lines, place, printed};
use crate::api::harness::process::Place;
use crate::api::work::call;

/// Sends a webhook of the source `default`; answers its id.
fn send(place: &Place, key: &str, event_type: &str) -> String {
    let sent = lines(place, &["send", "--key", key, "--type", event_type, "{\"n\": 1.10}", "--json"]);
    sent[0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_webhook_is_sent_watched_shown_and_listed() {
    let place = place(&[]);
    let process = place.serve().await;
    let id = send(&place, "evt-001", "order.created");
    let again = place.run(&["send", "--key", "evt-001", "--type", "order.created", "{\"n\": 1.1}"]);
    assert!(String::from_utf8(again.stderr).unwrap().contains("accepted before"));
    let table = String::from_utf8(again.stdout).unwrap();
    assert!(
        table.contains("STATUS") && !table.contains("ATTEMPTS"),
        "the answer has no number of them: {table}"
    );

    let watched = printed(&place, &["watch", &id]);
    assert!(watched.lines().last().unwrap().contains("completed"), "{watched}");
    let watched = lines(&place, &["watch", "--key", "evt-001", "--json"]);
    assert_eq!(watched.last().unwrap()["status"], "completed");

    let status = lines(&place, &["status", "--key", "evt-001", "--source", "default", "--json"]);
    assert_eq!(status[0], process.rest.get(&format!("/v1/webhooks/{id}/status")).await.json());
    let table = printed(&place, &["status", &id]);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(!table.contains("ERROR"), "a column without a text is left out: {table}");

    let shown = printed(&place, &["show", &id]);
    for text in ["order.created", "completed", "default", "content-type: application/json", "{\"n\": 1.10}"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    let shown = printed(&place, &["show", &id, "--json"]);
    assert_eq!(shown.lines().count(), 1);
    assert!(shown.contains("\"payload\":{\"n\":1.10}"), "numbers stay as they are: {shown}");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), process.rest.webhook(&id).await);
}

#[tokio::test]
async fn a_list_goes_over_pages_and_takes_filters() {
    let place = place(&[]);
    let process = place.serve().await;
    for number in 0..7 {
        let event_type = if number % 2 == 0 { "order.created" } else { "user.created" };
        process.rest.submit(&number.to_string(), event_type, "1").await;
    }
    let keys = |arguments: &[&str]| {
        let listed = lines(&place, &[&["list", "--json"][..], arguments].concat());
        let keys = listed.iter().map(|webhook| webhook["idempotency_key"].as_str().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    assert_eq!(keys(&[]), ["6", "5", "4", "3", "2", "1", "0"]);
    assert_eq!(keys(&["--limit", "2"]), ["6", "5"]);
    assert_eq!(keys(&["--all", "--type", "user.created"]), ["5", "3", "1"]);
    assert_eq!(keys(&["--since", "1h", "--route", "default", "--source", "default"]).len(), 7);
    assert!(keys(&["--until", "1h"]).is_empty());
    assert!(keys(&["--status", "filtered,cancelled"]).is_empty());
    let table = printed(&place, &["list", "--limit", "3"]);
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(!table.contains('\u{1b}'), "there are no colours on a pipe: {table}");
    let ended = place.run_into_closed_pipe(&["list"]);
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}

#[tokio::test]
async fn a_list_takes_every_filter_of_the_api() {
    let place = place(&[("HOOKBOX_SIMULATE_FAILURE_RATE", "1"), ("HOOKBOX_MAX_ATTEMPTS", "1")]);
    let process = place.serve().await;
    let ids = ["evt-001", "evt-002"].map(|key| {
        let body = format!("{{\"order\": {{\"id\": \"{key}\"}}}}");
        let sent = lines(&place, &["send", "--key", key, "--type", "order.created", &body, "--json"]);
        sent[0]["id"].as_str().unwrap().to_owned()
    });
    let [first, second] = &ids;
    for id in &ids {
        process.wait_for(id, "dead_lettered").await;
    }
    let webhook = process.rest.webhook(first).await;
    let (trace_id, error) = (webhook["trace_id"].as_str().unwrap(), webhook["last_error"].as_str().unwrap());
    for (filters, expected) in [
        (&["--verdict", "none"][..], vec![second, first]),
        (&["--verdict", "verified"], vec![]),
        (&["--cause", "signature_missing"], vec![]),
        (&["--idempotency-key", "evt-001"], vec![first]),
        (&["--trace-id", trace_id], vec![first]),
        (&["--error-contains", error], vec![second, first]),
        (&["--error-contains", "no such error"], vec![]),
        (&["--body-pointer", "/order/id", "--body-equals", "evt-002"], vec![second]),
        (&["--body-equals", "-7"], vec![]),
        (&["--body-contains", "evt-001"], vec![first]),
        (&["--status", "dead_lettered", "--body-contains", "evt-001"], vec![first]),
    ] {
        let listed = lines(&place, &[&["list", "--json"][..], filters].concat());
        let listed = listed.iter().map(|webhook| webhook["id"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(listed, expected, "{filters:?}");
        let counted = lines(&place, &[&["replay", "--dry-run", "--json"][..], filters].concat());
        assert_eq!(counted.last().unwrap()["counts"]["jobs"], expected.len(), "{filters:?}");
    }
}

#[tokio::test]
async fn a_list_that_stops_before_its_end_says_how_to_go_on() {
    let place = place(&[]);
    let process = place.serve().await;
    // Otherwise the lists could show different statuses.
    printed(&place, &["pause", "--all"]);
    for number in 0..5 {
        process.rest.accept(&number.to_string()).await;
    }
    let list = |arguments: &[&str]| {
        let ended = place.run(&[&["list", "--json"][..], arguments].concat());
        let listed = String::from_utf8(ended.stdout).unwrap();
        (listed.lines().map(ToOwned::to_owned).collect::<Vec<_>>(), String::from_utf8(ended.stderr).unwrap())
    };
    let (all, told) = list(&["--all"]);
    assert_eq!((all.len(), told.as_str()), (5, ""), "nothing is left");
    let (first, told) = list(&["--limit", "2"]);
    assert!(told.starts_with("hookbox: searched back to 20") && told.lines().count() == 1, "{told}");
    let (_, token) = told.trim_end().split_once("go on with --page-token ").unwrap();
    let (rest, told) = list(&["--all", "--page-token", token]);
    assert_eq!(([first, rest].concat(), told.as_str()), (all, ""));
    printed(&place, &["resume", "--all"]);
    let (_, told) = failed(&place, &["actions", "--limit", "1"]);
    assert!(told.starts_with("hookbox: there are more; go on with --page-token "), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_goes_on_over_short_pages_and_says_how_far_it_came_when_it_is_stopped() {
    let page = |second: u32, token: &str| {
        let searched_to = format!("2026-03-01T12:00:0{second}.000Z");
        json!({ "webhooks": [], "next_page_token": token, "searched_to": searched_to }).to_string()
    };
    let last = json!({ "webhooks": [{ "id": "1" }], "next_page_token": "", "searched_to": null }).to_string();
    let place = place(&[]);
    let local = Local::answering([page(2, "two"), page(1, "one"), last]).await;
    let url = local.url("");
    let arguments = ["list", "--body-contains", "x", "--limit", "1", "--json", "--url", &url];
    let ended = tokio::task::block_in_place(|| place.run(&arguments));
    assert_eq!((ended.stdout.as_slice(), ended.stderr.len()), (&b"{\"id\":\"1\"}\n"[..], 0));
    let asked = local.received().into_iter().map(|request| request.line).collect::<Vec<_>>();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].contains("page_token=two") && asked[2].contains("page_token=one"), "{asked:?}");

    let endless = Local::answering([page(1, "more")]).await;
    let url = endless.url("");
    let mut list = place.start_command(&["list", "--body-contains", "x", "--url", &url]);
    endless.wait_for(3).await;
    list.signal(Signal::SIGINT);
    assert_eq!(list.ended().await.code(), Some(130), "{}", list.log());
    let told = "hookbox: searched back to 2026-03-01T12:00:01.000Z; go on with --page-token more\n";
    assert_eq!(list.log(), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_asks_for_no_more_pages_once_its_reader_is_gone() {
    let page = json!({ "webhooks": [{ "id": "1" }], "next_page_token": "more" }).to_string();
    let (place, local) = (place(&[]), Local::answering([page]).await);
    let (url, list) = (local.url(""), ["list", "--json", "--limit", "100"]);
    let arguments = [&list[..], &["--url", &url]].concat();
    let ended = tokio::task::block_in_place(|| place.run_into_closed_pipe(&arguments));
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
    assert_eq!(local.received().len(), 1);
    tokio::task::block_in_place(|| lines(&place, &arguments));
    assert_eq!(local.received().len(), 101);
}

#[tokio::test]
async fn jobs_are_paused_cancelled_retried_and_resumed() {
    let place = place(&[]);
    let _process = place.serve().await;
    let paused = lines(&place, &["pause", "--route", "default", "--reason", "it moves", "--json"]);
    assert_eq!((&paused[0]["route"], &paused[0]["reason"]), (&json!("default"), &json!("it moves")));
    let id = send(&place, "evt-001", "order.created");
    let routes = printed(&place, &["routes"]);
    assert!(routes.contains("paused") && routes.contains("by anonymous: it moves"), "{routes}");
    assert_eq!(lines(&place, &["routes", "--json"])[0]["counts"]["pending"], 1);
    assert!(printed(&place, &["cancel", &id]).contains("cancelled"));
    assert!(printed(&place, &["retry", "--key", "evt-001", "--route", "default"]).contains("pending"));
    assert!(printed(&place, &["resume", "--route", "default"]).contains("resumed"));
    let resumed = printed(&place, &["resume", "--route", "default"]);
    assert_eq!(resumed, "the route default is not paused; its breaker, if it has one, is closed\n");
    let resumed = printed(&place, &["resume", "--source", "default"]);
    assert_eq!(resumed, "the source default is not paused; nothing has changed\n");
    printed(&place, &["watch", &id]);
    assert!(!printed(&place, &["routes"]).contains("paused"));
    for all in [&["pause", "--all"][..], &["resume", "--all"], &["pause", "--source", "default"]] {
        printed(&place, all);
    }
}

#[tokio::test]
async fn show_names_the_worker_of_a_running_attempt_and_tells_runs_apart() {
    let place = place(&[]);
    let routes = "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n";
    std::fs::write(place.path("hookbox.toml"), routes).unwrap();
    let process = place.serve().await;
    let id = send(&place, "evt-001", "order.created");
    let lease = async || {
        let leased = call(&process.rest, "lease", &json!({ "routes": ["orders"], "worker": "host-1" })).await;
        leased.json()["jobs"][0]["lease"].clone()
    };
    let leased = lease().await;
    let shown = printed(&place, &["show", &id]);
    assert!(shown.contains("host-1") && shown.contains("LEASE ENDS") && shown.contains("in "), "{shown}");
    assert!(!shown.contains("RUN"), "there is only one: {shown}");

    let failed = json!({ "lease": leased, "failed": { "error": "no", "permanent": true } });
    let finished = call(&process.rest, "finish", &json!({ "worker": "host-1", "outcomes": [failed] })).await;
    assert_eq!(finished.status, 200, "{}", finished.text);
    assert!(!printed(&place, &["show", &id]).contains("LEASE ENDS"), "nobody holds it");
    printed(&place, &["retry", &id]);
    lease().await;
    let shown = printed(&place, &["show", &id]);
    assert_eq!(shown.matches("RUN").count(), 2, "of the job and of its attempts: {shown}");
}

#[tokio::test]
async fn exit_codes_say_what_has_failed() {
    let mut place = place(&[("HOOKBOX_ADMIN_TOKEN", "hbx_the-token-of-the-test")]);
    let (code, told) = failed(&place, &["list"]);
    assert_eq!(code, Some(69), "{told}");
    assert!(told.contains("no answer from http://127.0.0.1:") && told.contains("HOOKBOX_URL"), "{told}");

    let _process = place.serve().await;
    let (code, told) = failed(&place, &["list"]);
    assert_eq!(code, Some(77), "{told}");
    assert!(told.contains("HOOKBOX_TOKEN"), "{told}");
    place.set("HOOKBOX_TOKEN", "hbx_the-token-of-the-test");
    let id = send(&place, "evt-001", "order.created");
    printed(&place, &["watch", &id]);
    let unknown = "01934c3e-7b00-7000-8000-000000000000";
    for (arguments, expected) in [
        (&["status", unknown][..], 66),
        (&["show", "--key", "none"], 66),
        (&["show", unknown, "--body"], 66),
        (&["pause", "--route", "none"], 66),
        (&["retry", &id], 1),
        (&["release", unknown], 66),
        (&["replay", unknown], 66),
        (&["replay", "--route", "none", "--yes"], 66),
        (&["replays", "show", "7"], 66),
        (&["replays", "watch", "7"], 66),
        (&["replays", "cancel", "7"], 66),
        (&["list", "--status", "done"], 64),
        (&["status", "7"], 64),
        (&["status"], 64),
        (&["status", &id, "--key", "evt-001"], 64),
        (&["pause"], 64),
        (&["pause", "--all", "--route", "default"], 64),
        (&["replay"], 64),
        (&["replay", "--source", "default"], 64),
        (&["replay", &id, "--dry-run"], 64),
        (&["replay", &id, "--source", "default"], 64),
        (&["replay", "--key", "evt-001", "--status", "completed"], 64),
        (&["replay", &id, "--error-contains", "x"], 64),
        (&["replay", "--trace-id", "7", "--yes"], 64),
        (&["list", "--verdict", "good"], 64),
        (&["list", "--body-pointer", "/id"], 64),
        (&["replay", "--status", "pending", "--yes"], 64),
        (&["replay", "--route", "default", "--rate", "7", "--yes"], 64),
        (&["replays", "show", "first"], 64),
        (&["actions", "--webhook", "7"], 64),
        (&["list", "--since", "yesterday"], 64),
        (&["list", "--source", ""], 64),
        (&["replay", "--route", "", "--since", "1h", "--yes"], 64),
        (&["replay", "--error-contains", "", "--route", "default", "--yes"], 64),
        (&["cancel", "--key", "evt-001", "--source", ""], 64),
        (&["actions", "--webhook", ""], 64),
        (&["tail", "--source", ""], 64),
        (&["listen", "--forward", "http://127.0.0.1:9", "--source", ""], 64),
        (&["list", "--url", "127.0.0.1:8080"], 64),
        (&["list", "--ca", "missing.pem"], 64),
        (&["tail", "--from", "7"], 64),
        (&["listen", "--forward", "localhost:3000"], 64),
        (&["listen", "--forward", "http://127.0.0.1:9", "--timeout", "0s"], 64),
        (&["listen", "--forward", "http://127.0.0.1:9", "--timeout", "soon"], 64),
    ] {
        let (code, told) = failed(&place, arguments);
        assert_eq!(code, Some(expected), "{arguments:?}: {told}");
        assert!(!told.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_command_without_a_webhook_says_that_an_id_or_a_key_names_it() {
    let place = place(&[]);
    for command in ["status", "show", "watch", "retry", "cancel"] {
        let (code, told) = failed(&place, &[command]);
        assert_eq!(code, Some(64), "{command}: {told}");
        assert!(told.contains("ID") && told.contains("--key"), "{command}: {told}");
    }
}

#[tokio::test]
async fn the_exit_code_of_watch_is_1_if_a_job_is_not_completed() {
    let place = place(&[("HOOKBOX_SIMULATE_FAILURE_RATE", "1"), ("HOOKBOX_MAX_ATTEMPTS", "1")]);
    let _process = place.serve().await;
    let id = send(&place, "evt-001", "order.created");
    let ended = place.run(&["watch", &id, "--json"]);
    assert_eq!(ended.status.code(), Some(1));
    let last = String::from_utf8(ended.stdout).unwrap().lines().last().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&last).unwrap()["status"], json!("dead_lettered"));
    assert!(printed(&place, &["list", "--status", "dead_lettered"]).contains("ERROR"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_goes_on_if_a_stream_ends_before_the_jobs_are_done() {
    // As proxies end it when hookbox is killed.
    let stream = |status: &str| {
        let webhook = json!({
            "id": "01934c3e-7b00-7000-8000-000000000000", "source": "default", "idempotency_key": "k",
            "event_type": "t", "status": status, "accepted_at": "2026-03-01T12:00:00.000Z",
        });
        format!("event: status\ndata: {webhook}\n\n")
    };
    let answers = ["processing", "quarantined", "completed"].map(stream);
    let (place, local) = (place(&[]), Local::answering(answers).await);
    let url = local.url("");
    let arguments = ["watch", "01934c3e-7b00-7000-8000-000000000000", "--json", "--url", &url];
    let watched = tokio::task::block_in_place(|| lines(&place, &arguments));
    let statuses = watched.iter().map(|webhook| webhook["status"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(statuses, ["processing", "quarantined", "completed"]);
}
