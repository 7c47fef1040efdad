//! hookbox is killed in the middle of a command. A command that asks once ends with the exit code for that, and one that
//! follows goes on after a restart.

use futures::stream;
use hookbox::internals::grpc::proto;

use super::dying::Dying;
use super::listen::{bodies, lines, wait_for_lines};
use super::local::Local;
use super::{place, printed};
use crate::api::harness::process::{Place, Process};

/// The most items of a page that commands ask for.
const PAGE: usize = 500;

/// Where an answer breaks off: before its first byte, in its first line, and at the beginning of its body.
const NOTHING: &str = "";
const HEAD: &str = "HTTP/1.1 ";
const BODY: &str = "{";

/// Submits webhooks with the keys `0`, `1`, and so on.
async fn submit(place: &Place, count: usize) {
    let requests = (0..count).map(|number| proto::SubmitWebhookRequest {
        idempotency_key: number.to_string(),
        event_type: "order.created".to_owned(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson("{}".to_owned())),
    });
    let requests = stream::iter(requests.collect::<Vec<_>>());
    let mut answers = place.grpc().await.submit_webhooks(requests).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_command_whose_answer_breaks_off_ends_and_says_that_hookbox_does_not_answer() {
    let place = place(&[]);
    let open = "[sources.open]\nverify = \"none\"\nkey = { header = \"X-Id\" }\n";
    std::fs::write(place.path("hookbox.toml"), open).unwrap();
    let process = place.serve().await;
    // So that no job runs meanwhile.
    assert_eq!(process.rest.post("/v1/pause").await.status, 200);
    submit(&place, PAGE).await;
    let last = process.rest.accept("last").await;
    let id = last.as_str();

    let broken_off = async |arguments: &[&str], whole: usize, last_words: &'static str| {
        let hookbox = Dying::before(process.rest.address(), whole, last_words).await;
        let url = hookbox.url();
        let mut command = place.start_command(&[arguments, &["--url", &url]].concat());
        let code = command.ended().await.code();
        let said = command.log();
        assert_eq!(code, Some(69), "{arguments:?}: {said}");
        assert!(said.contains(&format!("hookbox: no answer from {url}: ")), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        said
    };
    let said = broken_off(&["list", "--all", "--json"][..], 1, BODY).await;
    assert_eq!(said.lines().count(), PAGE + 2, "the first page is printed, and how to go on");
    assert!(said.contains("go on with --page-token"), "{said}");
    for (arguments, whole, last_words) in [
        (&["status", id][..], 0, NOTHING),
        (&["status", id], 0, HEAD),
        (&["status", "--key", "0"], 0, BODY),
        (&["show", id], 0, BODY),
        (&["list"], 0, BODY),
        (&["watch", id], 0, HEAD),
        (&["watch", "--key", "0"], 1, HEAD),
        // Before their first event, they do not know whether this is a hookbox.
        (&["tail"], 0, BODY),
        (&["listen", "--forward", "http://127.0.0.1:9/"], 0, BODY),
        (&["send", "{}"], 0, BODY),
        (&["send", "--source", "open", "--header", "X-Id: 1", "{}"], 0, BODY),
        (&["cancel", id], 0, BODY),
        (&["retry", id], 0, BODY),
        (&["release", id], 0, BODY),
        (&["discard", id], 0, BODY),
        (&["replay", id], 0, BODY),
        (&["replay", "--key", "0"], 0, BODY),
        (&["replay", "--source", "default", "--dry-run"], 0, BODY),
        (&["replay", "--source", "default", "--yes"], 0, BODY),
        (&["replays"], 0, BODY),
        (&["replays", "show", "1"], 0, BODY),
        (&["replays", "watch", "1"], 0, BODY),
        (&["replays", "cancel", "1"], 0, BODY),
        (&["pause", "--source", "open"], 0, BODY),
        (&["resume", "--source", "open"], 0, BODY),
        (&["routes"], 0, BODY),
        (&["sources"], 0, BODY),
        (&["sources", "rejections", "open"], 0, BODY),
        (&["actions"], 0, BODY),
    ] {
        broken_off(arguments, whole, last_words).await;
    }
}

/// Commands that follow what comes, over restarts of hookbox.
struct Followers {
    watch: Process,
    tail: Process,
    listen: Process,
    local: Local,
}

impl Followers {
    /// Starts them, each at its URL, and waits until they follow. `watched` is the webhook to watch, which is pending.
    async fn start(place: &Place, watched: &str, urls: [&str; 3]) -> Self {
        let local = Local::start().await;
        let ([of_watch, of_tail, of_listen], forward) = (urls, local.url("/"));
        let followers = Self {
            watch: place.start_command(&["watch", watched, "--json", "--url", of_watch]),
            tail: place.start_command(&["tail", "--json", "--url", of_tail]),
            listen: place.start_command(&["listen", "--forward", &forward, "--json", "--url", of_listen]),
            local,
        };
        followers.watch.wait_for_log("pending").await;
        for command in [&followers.tail, &followers.listen] {
            command.wait_for_log("waiting for webhooks").await;
        }
        followers
    }

    /// Waits until they say that hookbox is lost.
    async fn have_lost_it(&self) {
        for command in [&self.watch, &self.tail, &self.listen] {
            command.wait_for_log("is lost").await;
        }
    }

    /// Waits until they have the webhooks `0`, `1` and `2`, each once, and until the watched one is completed.
    async fn have_everything(mut self) {
        for command in [&self.tail, &self.listen] {
            wait_for_lines(command, 3).await;
            assert!(command.log().contains("nothing was missed"), "{}", command.log());
            let printed = lines(command);
            let keys = printed.iter().map(|line| line["idempotency_key"].as_str().unwrap());
            assert_eq!(keys.collect::<Vec<_>>(), ["0", "1", "2"]);
        }
        assert_eq!(bodies(&self.local.received()), ["0", "1", "2"]);
        assert_eq!(self.watch.ended().await.code(), Some(0), "{}", self.watch.log());
        let said = self.watch.log();
        assert_eq!(said.matches("is lost: ").count(), 1, "{said}");
        assert!(said.contains("hookbox: connected to ") && said.contains(" again\n"), "{said}");
        let watched = lines(&self.watch);
        let statuses = [watched.first(), watched.last()].map(|line| line.unwrap()["status"].clone());
        assert_eq!(statuses, ["pending", "completed"]);
    }
}

/// Submits a webhook whose key and payload are this number.
async fn accept(process: &Process, number: &str) {
    assert_eq!(process.rest.submit(number, "order.created", number).await.status, 202);
}

#[tokio::test]
async fn commands_that_follow_go_on_after_an_event_that_breaks_off() {
    let place = place(&[]);
    let process = place.serve().await;
    assert_eq!(process.rest.post("/v1/pause").await.status, 200);
    let (address, second) = (process.rest.address(), r#""idempotency_key":"1""#);
    let watched = process.rest.accept("watched").await;
    let of_watch = Dying::before(address, 0, r#""status":"completed""#).await;
    let (of_tail, of_listen) =
        (Dying::before(address, 0, second).await, Dying::before(address, 0, second).await);
    let urls = [&of_watch, &of_tail, &of_listen].map(Dying::url);
    let followers = Followers::start(&place, &watched, urls.each_ref().map(String::as_str)).await;
    for number in ["0", "1", "2"] {
        accept(&process, number).await;
    }
    assert_eq!(process.rest.post("/v1/resume").await.status, 200);
    followers.have_lost_it().await;
    of_watch.killed().await;
    for hookbox in [of_watch, of_tail, of_listen] {
        hookbox.restart();
    }
    followers.have_everything().await;
}

#[tokio::test]
async fn commands_that_follow_go_on_after_hookbox_is_killed() {
    let place = place(&[]);
    let process = place.serve().await;
    assert_eq!(process.rest.post("/v1/pause").await.status, 200);
    let watched = process.rest.accept("watched").await;
    let url = format!("http://{}", process.rest.address());
    let followers = Followers::start(&place, &watched, [url.as_str(); 3]).await;
    accept(&process, "0").await;
    for command in [&followers.tail, &followers.listen] {
        wait_for_lines(command, 1).await;
    }
    // Kills it.
    drop(process);
    followers.have_lost_it().await;
    let process = place.serve().await;
    for number in ["1", "2"] {
        accept(&process, number).await;
    }
    assert_eq!(process.rest.post("/v1/resume").await.status, 200);
    followers.have_everything().await;
}

#[tokio::test]
async fn a_replay_is_watched_to_its_end_although_an_answer_breaks_off() {
    let place = place(&[]);
    let process = place.serve().await;
    assert_eq!(process.rest.post("/v1/pause").await.status, 200);
    for key in ["0", "1"] {
        process.rest.accept(key).await;
        printed(&place, &["cancel", "--key", key]);
    }
    // It is not over before it is cancelled.
    printed(&place, &["replay", "--status", "cancelled", "--rate", "1/h", "--yes", "--no-wait"]);
    let hookbox = Dying::before(process.rest.address(), 1, BODY).await;
    let mut watch = place.start_command(&["replays", "watch", "1", "--url", &hookbox.url()]);
    watch.wait_for_log("is lost").await;
    hookbox.restart();
    watch.wait_for_log(&format!("connected to {} again", hookbox.url())).await;
    printed(&place, &["replays", "cancel", "1"]);
    assert_eq!(watch.ended().await.code(), Some(1), "{}", watch.log());
    assert!(watch.log().contains("replay 1 is cancelled: "), "{}", watch.log());
}
