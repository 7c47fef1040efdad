//! How programs end, and that nothing is left of them.

use std::path::Path;

use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;

use super::{error_of, path_in, route, run, script};
use crate::api::harness::{Hookbox, Sqlite, eventually};
use crate::support::client::{client, get, post};
use crate::support::server::{Place, Server};

/// The time of day of a successor.
const LATER: &str = "2026-03-02T12:00:00Z";

/// The process id that a script writes into a file as a line.
async fn pid_in(file: &str) -> u32 {
    eventually("the program to run", || async {
        let text = std::fs::read_to_string(file).ok()?;
        text.ends_with('\n').then(|| text.trim().parse().unwrap())
    })
    .await
}

/// Waits until a process does not run any more.
async fn wait_for_end_of(pid: u32) {
    eventually("the end of a process", || async { (!is_running(pid)).then_some(()) }).await;
}

/// Whether a process runs. One that has ended stays until its exit code is read.
fn is_running(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| !matches!(state.as_str(), "Z" | "X"))
}

/// The state of a process and the id of its parent, as the system tells them.
fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program comes before them in parentheses, and may have any characters.
    let (_, after) = stat.rsplit_once(')')?;
    let mut words = after.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Submits a webhook and waits until it has this status.
async fn run_on(server: &Server, client: &reqwest::Client, key: &str, status: &str) {
    let answer = post(client, &server.url("/v1/webhooks"), key).await.unwrap();
    let id = answer.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned();
    eventually("the end of all jobs", || async {
        let webhook = get(client, &server.url(&format!("/v1/webhooks/{id}"))).await;
        (webhook["status"] == status).then_some(())
    })
    .await;
}

/// How many descriptors a server has open.
fn descriptors(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap().count()
}

#[tokio::test]
async fn a_program_that_forks_and_leaves_ends_its_attempt_and_its_children() {
    let folder = TempDir::new().unwrap();
    let (file, own) = (path_in(&folder, "child"), path_in(&folder, "own"));
    let program = "echo $$ > \"$2\"; sleep 300 & echo $! > \"$1\"; exit 0";
    run(&script(program, &[&file, &own], ""), "completed").await;
    wait_for_end_of(pid_in(&file).await).await;
    let own = pid_in(&own).await;
    assert!(!Path::new(&format!("/proc/{own}")).exists(), "it is no zombie");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_told_to_stop() {
    let folder = TempDir::new().unwrap();
    let (pid, ended) = (path_in(&folder, "pid"), path_in(&folder, "ended"));
    let program = "trap 'echo yes > \"$2\"; exit 0' TERM; echo waits for a lock >&2; sleep 300 & echo $! > \"$1\"; wait";
    let hookbox = Hookbox::with_routes(Sqlite, &script(program, &[&pid, &ended], "timeout = \"10s\""));
    let id = hookbox.rest.accept("evt-001").await;
    let pid = pid_in(&pid).await;
    assert!(is_running(pid));
    hookbox.advance(SignedDuration::from_secs(10));
    let webhook = hookbox.wait_for(&id, "retrying").await;
    // Some shells also write that their child was stopped.
    let expected = "the attempt took longer than its timeout of 10s: waits for a lock";
    assert!(error_of(&webhook).starts_with(expected), "{webhook}");
    wait_for_end_of(pid).await;
    assert_eq!(std::fs::read_to_string(ended).unwrap(), "yes\n", "it could end in order");
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_with_its_children() {
    let folder = TempDir::new().unwrap();
    let (pid, child) = (path_in(&folder, "pid"), path_in(&folder, "child"));
    let program = "trap '' TERM; sleep 300 & echo $! > \"$2\"; echo $$ > \"$1\"; wait";
    let hookbox = Hookbox::with_routes(Sqlite, &script(program, &[&pid, &child], "timeout = \"10s\""));
    let id = hookbox.rest.accept("evt-001").await;
    let (pid, child) = (pid_in(&pid).await, pid_in(&child).await);
    hookbox.advance(SignedDuration::from_secs(10));
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(error_of(&webhook), "the attempt took longer than its timeout of 10s");
    wait_for_end_of(pid).await;
    wait_for_end_of(child).await;
}

#[tokio::test]
async fn at_shutdown_programs_are_stopped_and_their_jobs_run_again() {
    let folder = TempDir::new().unwrap();
    let file = path_in(&folder, "pid");
    let program = "[ \"$HOOKBOX_ATTEMPT\" = 2 ] && exit 0; echo $$ > \"$1\"; sleep 300";
    let routes = format!("shutdown_grace = \"0s\"\n{}", script(program, &[&file], ""));
    let hookbox = Hookbox::with_routes(Sqlite, &routes);
    let id = hookbox.rest.accept("evt-001").await;
    let pid = pid_in(&file).await;
    let home = hookbox.stop();
    assert!(!is_running(pid), "no program outlives hookbox");

    let successor = Hookbox::at(home, LATER, &[]);
    let webhook = successor.wait_for(&id, "completed").await;
    assert_eq!(webhook["attempts"][0]["outcome"], "interrupted");
}

#[tokio::test]
async fn a_program_ends_with_the_hookbox_that_is_killed() {
    let place = Place::new(&[]);
    let folder = TempDir::new().unwrap();
    let file = path_in(&folder, "pid");
    let routes = script("echo $$ > \"$1\"; exec sleep 300", &[&file], "");
    std::fs::write(place.file("").with_file_name("hookbox.toml"), routes).unwrap();
    let server = place.start();
    post(&client(), &server.url("/v1/webhooks"), "evt-001").await.unwrap();
    let pid = pid_in(&file).await;
    assert!(is_running(pid));
    server.kill();
    wait_for_end_of(pid).await;
}

#[tokio::test]
async fn no_descriptor_and_no_child_is_lost() {
    let place = Place::new(&[]);
    let routes = [
        ("good", &["/bin/true"][..]),
        ("missing", &["/no/such/program"][..]),
        ("forks", &["/bin/sh", "-c", "/bin/sleep 300 & exit 1"][..]),
    ];
    let routes = routes.map(|(name, command)| {
        let route = route(command, "retry = { attempts = 1 }");
        route.replace("name = \"run\"", &format!("name = \"{name}\""))
    });
    std::fs::write(place.file("").with_file_name("hookbox.toml"), routes.concat()).unwrap();
    let server = place.start();
    let client = client();
    run_on(&server, &client, "first", "dead_lettered").await;
    let before = descriptors(&server);
    for number in 0..20 {
        run_on(&server, &client, &number.to_string(), "dead_lettered").await;
    }
    // Each attempt has three.
    eventually("few descriptors", || async { (descriptors(&server) < before + 10).then_some(()) }).await;
    eventually("no children", || async {
        let processes = std::fs::read_dir("/proc").unwrap();
        let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut parents = ids.filter_map(state_and_parent).map(|(_, parent)| parent);
        (!parents.any(|parent| parent == server.process_id())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_process_that_leaves_the_group_goes_on_and_neither_delays_its_attempt_nor_keeps_descriptors_open() {
    let (place, folder) = (Place::new(&[]), TempDir::new().unwrap());
    let goes_on = path_in(&folder, "goes-on");
    std::fs::write(&goes_on, "").unwrap();
    // The process has all three pipes. The program ends once the process has left the group.
    let program = r#"
        pid="$1/$HOOKBOX_KEY"
        exec 3<&0
        setsid sh -c 'echo $$ > "$1"; while [ -e "$2" ]; do sleep 0.1; done' sh "$pid" "$2" <&3 &
        while [ ! -s "$pid" ]; do sleep 0.02; done
    "#;
    let routes = script(program, &[&path_in(&folder, "."), &goes_on], "");
    std::fs::write(place.file("").with_file_name("hookbox.toml"), routes).unwrap();
    let (server, client) = (place.start(), client());
    run_on(&server, &client, "first", "completed").await;
    let before = descriptors(&server);
    let keys = (0..10).map(|number| number.to_string()).collect::<Vec<_>>();
    for key in &keys {
        run_on(&server, &client, key, "completed").await;
    }
    eventually("few descriptors", || async { (descriptors(&server) < before + 10).then_some(()) }).await;
    for key in &keys {
        assert!(is_running(pid_in(&path_in(&folder, key)).await), "hookbox does not stop it");
    }
    std::fs::remove_file(goes_on).unwrap();
    for key in &keys {
        wait_for_end_of(pid_in(&path_in(&folder, key)).await).await;
    }
}
