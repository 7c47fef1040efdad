//! The program itself: its commands, its exit codes, and how it stops.

use std::process::{Command, Output};

use nix::sys::signal::Signal;
use rstest::rstest;
use serde_json::json;

use crate::api::harness::gate::Gate;
use crate::api::harness::process::Place;
use crate::api::harness::{Postgres, Sqlite, Store};
use crate::support::ports::listen_on;
use crate::support::tls::{Authority, SETTINGS};

#[test]
fn a_wrong_setting_stops_the_start_with_64_before_a_port_is_bound() {
    let place = Place::new(&[("HOOKBOX_LEASE", "soon")]);
    // Had the port been bound first, this would be told instead.
    let _taken = listen_on(place.http_port());
    for command in ["serve", "migrate", "config"] {
        let ended = place.run(&[command]);
        assert_eq!(ended.status.code(), Some(64), "{command}");
        assert_eq!(
            told(&ended),
            "hookbox: lease = \"soon\" (from the environment, HOOKBOX_LEASE) is not allowed: \
             it must be a duration from 1s to 24h, such as 30s\n"
        );
    }
    assert!(!place.path("hookbox.db").exists(), "nothing was begun");
}

#[tokio::test]
async fn a_pipe_is_refused_in_place_of_a_file_with_settings_a_secret_or_certificates() {
    let place = Place::new(&[]);
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    Authority::new().issue().write(&place.path(""));
    let tls = |cert: &str, key: &str| format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
    for (settings, told) in [
        ("admin_token = \"file:pipe\"\n".to_owned(), "the file pipe cannot be read: it is a pipe"),
        (tls("pipe", "server.key"), "with a certificate, but it cannot be read: it is a pipe"),
        (tls("server.pem", "pipe"), "of the certificate, but it cannot be read: it is a pipe"),
        (SETTINGS.to_owned() + "client_ca = \"pipe\"\n", "authorities, but it cannot be read: it is a pipe"),
    ] {
        std::fs::write(place.path("hookbox.toml"), &settings).unwrap();
        let mut check = place.start_command(&["config", "check"]);
        assert_eq!(check.ended().await.code(), Some(64), "{settings}: {}", check.log());
        assert!(check.log().contains(told), "{settings}: {}", check.log());
    }
    std::fs::remove_file(place.path("hookbox.toml")).unwrap();
    let database = "--database-url=postgres://127.0.0.1/box?sslmode=verify-full&sslrootcert=pipe";
    for (command, code, told) in [
        (&["config", "check", "--config", "pipe"][..], 64, "cannot read the settings in pipe: it is a pipe"),
        (&["migrate", database][..], 1, "certificates from pipe, which `sslrootcert` names: it is a pipe"),
    ] {
        let mut process = place.start_command(command);
        assert_eq!(process.ended().await.code(), Some(code), "{command:?}: {}", process.log());
        assert!(process.log().contains(told), "{command:?}: {}", process.log());
    }
}

#[test]
fn a_wrong_command_line_is_64_too_and_help_is_not() {
    let place = Place::new(&[]);
    for wrong in [&["serv"][..], &["serve", "--workerz", "8"], &[], &["completions", "tcsh"]] {
        assert_eq!(place.run(wrong).status.code(), Some(64), "{wrong:?}");
    }
    for good in [&["--help"][..], &["serve", "--help"], &["--version"], &["serve", "--version"]] {
        let ended = place.run(good);
        assert_eq!(ended.status.code(), Some(0), "{good:?}");
        assert!(!ended.stdout.is_empty());
    }
}

#[test]
fn a_url_that_is_given_where_none_belongs_is_shown_without_its_password() {
    let place = Place::new(&[]);
    let url = "postgres://me:s3cret@db/box";
    for wrong in [
        &[url][..],
        &["serve", url],
        &["health", "--quiet", url],
        &["transfer", "--from", "sqlite://box.db", url],
        &["completions", url],
        &["bench", "--connections", url],
    ] {
        let ended = place.run(wrong);
        assert_eq!(ended.status.code(), Some(64), "{wrong:?}");
        let told = told(&ended);
        assert!(!told.is_empty() && !told.contains("s3cret"), "{wrong:?}: {told}");
    }
}

#[test]
fn a_later_layer_wins_and_the_settings_say_where_they_came_from() {
    let place = Place::new(&[]);
    std::fs::write(place.path("hookbox.toml"), "workers = 1\nlease = \"40s\"\nmax_backlog = 7\n").unwrap();
    let ended = place.run(&["config", "--lease", "50s"]);
    assert_eq!(ended.status.code(), Some(0), "{}", told(&ended));
    let settings = String::from_utf8(ended.stdout).unwrap();
    let line = |name: &str| {
        let line = settings.lines().find(|line| line.starts_with(&format!("{name} = ")));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    assert_eq!(line("workers"), r#"workers = "4" # the environment, HOOKBOX_WORKERS"#);
    assert_eq!(line("lease"), r#"lease = "50s" # the flag --lease"#);
    assert_eq!(line("max_backlog"), r#"max_backlog = "7" # hookbox.toml:3:15"#);
    assert_eq!(line("retry_cap"), r#"retry_cap = "1h" # the default"#);

    // What it prints is a file of settings again.
    std::fs::write(place.path("copy.toml"), &settings).unwrap();
    assert_eq!(place.run(&["config", "--config", "copy.toml"]).status.code(), Some(0));
}

#[test]
fn output_into_a_closed_pipe_ends_quietly() {
    let place = Place::new(&[]);
    for command in [
        &["config"][..],
        &["config", "check"],
        &["openapi"],
        &["completions", "bash"],
        &["migrate"],
        &["transfer", "--from", "sqlite://hookbox.db", "--abandon"],
        &["serve", "--help"],
    ] {
        let ended = place.run_into_closed_pipe(command);
        assert_eq!((ended.status.code(), told(&ended).as_str()), (Some(0), ""), "{command:?}");
    }
}

#[test]
fn the_openapi_document_is_printed() {
    let ended = Place::new(&[]).run(&["openapi"]);
    assert_eq!(ended.status.code(), Some(0));
    let printed: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(printed, serde_json::to_value(hookbox::internals::http::openapi()).unwrap());
}

#[test]
fn completions_know_every_command_and_flag() {
    let mut place = Place::new(&[]);
    for (shell, word) in [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete ")] {
        let ended = place.run(&["completions", shell]);
        assert_eq!(ended.status.code(), Some(0), "{shell}");
        let script = String::from_utf8(ended.stdout).unwrap();
        assert!(script.contains(word) && script.contains("_HOOKBOX_COMPLETE"), "{shell}: {script}");
    }
    // What such a script asks for.
    place.set("_HOOKBOX_COMPLETE", "fish");
    let completed = |words: &[&str]| {
        let ended = place.run(&[&["--", "hookbox"][..], words].concat());
        assert_eq!(ended.status.code(), Some(0), "{words:?}");
        String::from_utf8(ended.stdout).unwrap()
    };
    for (words, expected) in [
        (&["mig"][..], "migrate"),
        (&["serve", "--retention-k"], "--retention-keys"),
        (&["config", "check", "--conf"], "--config"),
        (&["completions", "z"], "zsh"),
    ] {
        let found = completed(words);
        assert!(found.contains(expected), "{words:?}: {found}");
    }
}

#[rstest]
#[test]
fn migrate_brings_a_database_up_to_date_once(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on_new(store, &[]);
    let up_to_date = format!("{} is up to date\n", place.database());
    let first = String::from_utf8(place.run(&["migrate"]).stdout).unwrap();
    assert!(first.contains("applied ") && first.ends_with(&up_to_date), "{first}");
    let second = place.run(&["migrate"]);
    assert_eq!(second.status.code(), Some(0));
    let second = String::from_utf8(second.stdout).unwrap();
    assert!(!second.contains("applied ") && second.ends_with(&up_to_date), "{second}");
}

#[rstest]
#[tokio::test]
async fn health_is_exit_code_0_while_it_runs_and_1_when_it_does_not(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let place = Place::on(store, &[]);
    let asked = place.run(&["health"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(told(&asked).contains("no answer from http://127.0.0.1:"), "{}", told(&asked));
    let process = place.serve().await;
    let asked = place.run(&["health"]);
    assert_eq!(asked.status.code(), Some(0), "{}", told(&asked));
    assert!(String::from_utf8(asked.stdout).unwrap().contains(r#""ready":true"#));
    let asked = place.run(&["health", "--http-addr", "localhost"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(told(&asked).contains("http_addr = \"localhost\""), "{}", told(&asked));
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test]
async fn health_live_is_exit_code_0_also_while_the_process_is_not_ready() {
    let place = Place::new(&[("HOOKBOX_SHUTDOWN_DELAY", "1h")]);
    let asked = place.run(&["health", "--live"]);
    assert_eq!(asked.status.code(), Some(1));
    assert!(told(&asked).contains("no answer from http://127.0.0.1:"), "{}", told(&asked));
    let process = place.serve().await;
    process.signal(Signal::SIGTERM);
    process.wait_for_log("not ready any more").await;
    let asked = place.run(&["health"]);
    assert_eq!(asked.status.code(), Some(1), "{}", told(&asked));
    // Takes the flags of settings as well.
    let address = format!("127.0.0.1:{}", place.http_port());
    let asked = place.run(&["health", "--live", "--http-addr", &address]);
    assert_eq!(asked.status.code(), Some(0), "{}", told(&asked));
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), "ok\n");
}

/// Only a file belongs to one process.
#[tokio::test]
async fn a_second_process_on_the_same_file_says_so_and_stops() {
    let mut place = Place::new(&[]);
    let first = place.serve().await;
    place.set("HOOKBOX_HTTP_ADDR", "127.0.0.1:0");
    place.set("HOOKBOX_GRPC_ADDR", "127.0.0.1:0");
    for command in ["serve", "migrate"] {
        let second = place.run(&[command]);
        assert_eq!(second.status.code(), Some(1), "{command}: {}", told(&second));
        let told = told(&second);
        assert!(told.contains("another hookbox process owns"), "{command}: {told}");
        assert!(told.contains("hookbox.db"), "{command}: {told}");
    }
    first.rest.accept("evt-001").await;
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let place = Place::new(&[]);
    let _taken = listen_on(place.http_port());
    let ended = place.run(&["serve"]);
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("cannot listen on 127.0.0.1:{}", place.http_port());
    assert!(told(&ended).contains(&expected), "{}", told(&ended));
}

#[rstest]
#[tokio::test]
async fn sigterm_lets_a_running_attempt_finish_and_exits_0(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on(store, &[]);
    let gate = Gate::before("echo 7", &place);
    let mut process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_until_busy().await;
    process.signal(Signal::SIGTERM);
    process.wait_for_log("shutting down").await;
    let _opened = gate.open();
    assert_eq!(process.ended().await.code(), Some(0));

    let successor = place.serve().await;
    let done = successor.rest.webhook(&id).await;
    assert_eq!((&done["status"], &done["attempt_count"]), (&json!("completed"), &json!(1)));
    assert_eq!(done["result"], 7);
    assert_eq!(successor.terminate().await, Some(0));
}

#[rstest]
#[tokio::test]
async fn a_second_signal_stops_at_once_and_the_successor_takes_over(
    #[values(Sqlite, Postgres)] store: Store,
) {
    // On PostgreSQL a successor waits until the lease is over.
    let mut place = Place::on(
        store,
        &[("HOOKBOX_SIMULATE_MIN", "1h"), ("HOOKBOX_SIMULATE_MAX", "1h"), ("HOOKBOX_LEASE", "1s")],
    );
    let mut process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_until_busy().await;
    process.signal(Signal::SIGTERM);
    process.wait_for_log("shutting down").await;
    process.signal(Signal::SIGINT);
    assert_eq!(process.ended().await.code(), Some(130));

    place.set("HOOKBOX_SIMULATE_MIN", "0s");
    place.set("HOOKBOX_SIMULATE_MAX", "0s");
    let successor = place.serve().await;
    let done = successor.wait_for(&id, "completed").await;
    let outcomes: Vec<_> =
        done["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].clone()).collect();
    assert_eq!(outcomes, ["interrupted", "completed"]);
    assert_eq!(successor.terminate().await, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_process_ends_although_a_read_of_a_file_never_does() {
    use crate::api::harness::eventually;
    use crate::support::terminal::Terminal;

    let place = Place::new(&[]);
    let certificate = place.path("server.pem");
    Authority::new().issue().write(certificate.parent().unwrap());
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let mut process = place.start();
    process.wait_for_log("hookbox is ready").await;
    // A read of a terminal waits until somebody types a line. Nobody does.
    let (_keyboard, end) = Terminal::open(80);
    let terminal = nix::unistd::ttyname(&end).unwrap();
    std::fs::remove_file(&certificate).unwrap();
    std::os::unix::fs::symlink(&terminal, &certificate).unwrap();
    process.signal(Signal::SIGHUP);
    let descriptors = format!("/proc/{}/fd", process.process_id());
    let has_terminal = || async {
        let mut all = std::fs::read_dir(&descriptors).unwrap();
        all.any(|one| std::fs::read_link(one.unwrap().path()).is_ok_and(|open| open == terminal))
            .then_some(())
    };
    eventually("the read", has_terminal).await;
    process.signal(Signal::SIGTERM);
    assert_eq!(process.ended().await.code(), Some(0), "{}", process.log());
    assert!(process.log().contains("hookbox has stopped"), "{}", process.log());
}

#[rstest]
#[tokio::test]
async fn every_line_of_the_log_is_json_where_no_terminal_is(#[values(Sqlite, Postgres)] store: Store) {
    let place = Place::on(store, &[("HOOKBOX_SIMULATE_FAILURE_RATE", "1"), ("HOOKBOX_WORKERZ", "7")]);
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    process.wait_for(&id, "retrying").await;
    process.signal(Signal::SIGTERM);
    process.wait_for_log("hookbox has stopped").await;
    let log = process.log();
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let failed = lines.iter().find(|line| line["message"] == "an attempt did not complete").unwrap();
    assert_eq!((&failed["webhook_id"], &failed["attempt"]), (&json!(id), &json!(1)));
    assert_eq!(failed["trace_id"].as_str().map(str::len), Some(32));
    assert!(
        lines
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|text| text.contains("HOOKBOX_WORKERZ"))),
        "{log}"
    );
}

fn told(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}
