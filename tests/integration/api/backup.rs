//! `hookbox backup` and `hookbox restore`: copies of a file that is served, and what they refuse.

mod postgres;
mod refusals;
mod stops;

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::api::harness::client::Rest;
use crate::api::harness::eventually;
use crate::api::harness::process::{Place, Process};

const COPY: &str = "copy.db";

/// Backups that are made while webhooks come in.
const BACKUPS: usize = 2;

/// Between two webhooks.
const PAUSE: Duration = Duration::from_millis(10);

/// A client that submits webhooks, one after the other, until it is told to stop.
struct Sender {
    acknowledged: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    sending: tokio::task::JoinHandle<()>,
}

impl Sender {
    /// Begins, and waits until some webhooks are acknowledged.
    async fn start(rest: &Rest) -> Self {
        let (acknowledged, stopping) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let (ids, stopped, rest) = (Arc::clone(&acknowledged), Arc::clone(&stopping), rest.clone());
        let sending = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let id = rest.accept(&key(number)).await;
                ids.lock().unwrap().push(id);
                number += 1;
                tokio::time::sleep(PAUSE).await;
            }
        });
        let sender = Self { acknowledged, stopping, sending };
        eventually("webhooks", || async { (sender.acknowledged().len() > 20).then_some(()) }).await;
        sender
    }

    /// The ids of what is acknowledged, in order.
    fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().unwrap().clone()
    }

    async fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.sending.await.unwrap();
    }
}

fn key(number: usize) -> String {
    format!("evt-{number}")
}

/// All of these webhooks, sent by a [`Sender`], are there, and are recognised when they are sent again.
async fn has_all(process: &Process, ids: &[String]) {
    for (number, id) in ids.iter().enumerate() {
        process.wait_for(id, "completed").await;
        let again = process.rest.submit(&key(number), "order.created", "{}").await;
        assert_eq!((again.status, again.text_of("id")), (200, id.clone()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_file_that_is_served_has_everything_that_was_acknowledged_before() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let sender = Sender::start(&process.rest).await;
    for number in 0..BACKUPS {
        let copy = format!("copy-{number}.db");
        let before = sender.acknowledged();
        let ended = place.run(&["backup", "--to", &copy]);
        assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
        assert_eq!(told(&ended), "", "there is no terminal");
        let lines = said(&ended);
        assert!(lines.starts_with(&format!("backed up hookbox.db to {copy}: ")), "{lines}");
        assert!(lines.contains(" s, checked\n  webhooks "), "{lines}");
        assert!(lines.contains("it has everything that was acknowledged before 20"), "{lines}");
        is_only_for_its_owner(&place.path(&copy));

        let restored = Place::new(&[]);
        let from = place.path(&copy).display().to_string();
        let ended = restored.run(&["restore", "--from", &from]);
        assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
        assert!(said(&ended).starts_with(&format!("restored {from} to hookbox.db: ")), "{}", said(&ended));
        is_only_for_its_owner(&restored.path("hookbox.db"));
        let successor = restored.serve().await;
        has_all(&successor, &before).await;
        assert_eq!(successor.terminate().await, Some(0));
    }
    sender.stop().await;
    assert_eq!(process.terminate().await, Some(0));
    let left = names(&place);
    let expected = (0..BACKUPS).map(|number| format!("copy-{number}.db")).chain(["hookbox.db".to_owned()]);
    assert_eq!(left, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_job_that_ran_at_the_time_of_the_backup_is_taken_over_from_the_copy() {
    let place = Place::new(&[("HOOKBOX_SIMULATE_MIN", "1h"), ("HOOKBOX_SIMULATE_MAX", "1h")]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_until_busy().await;
    assert_eq!(place.run(&["backup", "--to", COPY]).status.code(), Some(0));

    let restored = Place::new(&[]);
    let from = place.path(COPY).display().to_string();
    assert_eq!(restored.run(&["restore", "--from", &from]).status.code(), Some(0));
    let successor = restored.serve().await;
    let done = successor.wait_for(&id, "completed").await;
    let outcomes = done["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone());
    assert_eq!(outcomes.collect::<Vec<_>>(), [json!("interrupted"), json!("completed")]);
    assert_eq!(successor.terminate().await, Some(0));
}

#[tokio::test]
async fn a_file_that_is_not_served_is_backed_up_also_after_a_crash() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    // Kills it. What it has committed is in the write-ahead log.
    drop(process);
    let ended = place.run(&["backup", "--to", COPY]);
    assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));

    let mut restored = Place::new(&[]);
    let (from, to) = (place.path(COPY).display().to_string(), "other.db");
    let ended = restored.run(&["restore", "--from", &from, "--to", to]);
    assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
    assert_eq!(names(&restored), [to]);
    restored.set("HOOKBOX_DATABASE_URL", "sqlite://other.db");
    let successor = restored.serve().await;
    successor.wait_for(&id, "completed").await;
    assert_eq!(successor.terminate().await, Some(0));
}

#[tokio::test]
async fn a_copy_with_its_write_ahead_log_is_restored_with_what_is_in_the_log() {
    let place = Place::new(&[]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    drop(process);
    let restored = Place::new(&[]);
    for name in ["hookbox.db", "hookbox.db-wal"] {
        std::fs::copy(place.path(name), restored.path(&format!("old-{name}"))).unwrap();
    }
    let ended = restored.run(&["restore", "--from", "old-hookbox.db"]);
    assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
    let successor = restored.serve().await;
    successor.wait_for(&id, "completed").await;
    assert_eq!(successor.terminate().await, Some(0));
}

/// Only the owner may read a file that the program has made: it has payloads.
fn is_only_for_its_owner(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{}", path.display());
}

/// The files of a place, sorted, without those that tests write.
fn names(place: &Place) -> Vec<String> {
    let entries = std::fs::read_dir(place.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names = names.filter(|name| !name.starts_with("log-")).collect::<Vec<_>>();
    names.sort();
    names
}

fn told(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

fn said(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned()
}
