//! The commands that talk to a running hookbox, as people and scripts run them.

mod actions;
mod advice;
mod bench;
mod commands;
mod completions;
mod details;
mod dying;
mod help;
mod hostile;
mod killed;
mod listen;
mod local;
mod lost;
mod names;
mod pauses;
mod readme;
mod replay;
mod send;
mod tables;
mod terminal;

use std::process::Output;

use serde_json::Value;

use crate::api::harness::process::Place;

/// A place whose commands ask the hookbox in it.
fn place(environment: &[(&str, &str)]) -> Place {
    let mut place = Place::new(environment);
    let url = format!("http://127.0.0.1:{}", place.http_port());
    place.set("HOOKBOX_URL", &url);
    let state = place.path("state").display().to_string();
    place.set("XDG_STATE_HOME", &state);
    place
}

/// What a command has printed. It must have succeeded.
#[track_caller]
fn printed(place: &Place, arguments: &[&str]) -> String {
    let ended = place.run(arguments);
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", told(&ended));
    String::from_utf8(ended.stdout).unwrap()
}

/// The lines that a command has printed, each of which is JSON.
#[track_caller]
fn lines(place: &Place, arguments: &[&str]) -> Vec<Value> {
    let text = printed(place, arguments);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The exit code of a command, and what it said to standard error.
fn failed(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let ended = place.run(arguments);
    (ended.status.code(), told(&ended))
}

fn told(ended: &Output) -> String {
    String::from_utf8(ended.stderr.clone()).unwrap()
}
