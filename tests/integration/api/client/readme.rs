//! What the README shows: its settings can be pasted, and what it says of a webhook of Stripe works as it is written.

use super::{place, printed};
use crate::api::harness::process::Place;
use crate::api::harness::settings::{blocks, checked};

const TEXT: &str = include_str!("../../../../README.md");

/// The section about Stripe.
fn section() -> &'static str {
    let (_, section) = TEXT.split_once("\n## A verified webhook of Stripe\n").unwrap();
    section.split("\n## ").next().unwrap()
}

/// The lines of the blocks for a shell.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n```sh\n").skip(1).flat_map(|block| block.split("\n```").next().unwrap().lines())
}

/// The words of a command of a shell in which all quotes are single ones.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut is_quoted) = (vec![String::new()], false);
    for character in command.chars() {
        match character {
            '\'' => is_quoted = !is_quoted,
            ' ' if !is_quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(character),
        }
    }
    words
}

/// What a command of the README prints. It must succeed.
#[track_caller]
fn run(place: &Place, command: &str) -> String {
    let words = words(command);
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(words[0], "hookbox", "{command}");
    printed(place, &words[1..])
}

#[test]
fn all_settings_are_taken() {
    let all = blocks(TEXT);
    assert!(all.len() >= 2, "{}", all.len());
    // A command adds lines to those of the section.
    let (_, added) = section().split_once("<<'END'\n").unwrap();
    let (added, _) = added.split_once("\nEND\n").unwrap();
    let longer = format!("{}{added}\n", blocks(section()).concat());
    for file in all.iter().chain([&longer]) {
        if let Err(refused) = checked(file, None) {
            panic!("{file}{refused}");
        }
    }
}

#[tokio::test]
async fn the_commands_about_stripe_send_a_verified_webhook_and_show_it() {
    let lines = commands(section()).collect::<Vec<_>>();
    let [serve, send, show, ..] = lines[..] else { panic!("{lines:?}") };
    let (variable, command) = serve.split_once(' ').unwrap();
    assert_eq!(command, "hookbox serve");
    let (name, secret) = variable.split_once('=').unwrap();
    let mut place = place(&[]);
    place.set(name, secret);
    std::fs::write(place.path("hookbox.toml"), blocks(section()).concat()).unwrap();
    assert!(printed(&place, &["config", "check"]).starts_with("the settings are fine"));

    let _process = place.serve().await;
    run(&place, send);
    let shown = run(&place, show);
    let (_, expected) = section().split_once("\n```text\n").unwrap();
    let expected = expected.split("\n```").next().unwrap();
    assert!(shown.lines().count() > expected.lines().count(), "{shown}");
    for (shown, expected) in shown.lines().zip(expected.lines()) {
        let name = expected.split(' ').next().unwrap();
        // These differ between webhooks, and from one moment to the next.
        if ["id", "status", "accepted"].contains(&name) {
            assert!(shown.starts_with(&format!("{name} ")), "{name}: {shown}");
        } else {
            assert_eq!(shown.trim_end(), expected);
        }
    }
}
