//! Commands that show details, on a terminal: a text for which a line is too short goes on below it, and is not cut.

use console::measure_text_width;
use serde_json::json;

use super::{failed, lines, place, printed};
use crate::api::harness::process::Place;
use crate::api::work::call;

/// Longer than a line of any of the terminals.
const TEXT: &str = "the shop has answered that it does not know this order, and that somebody should look at the \
                    order before it is sent again";

/// A place whose commands use no colours.
fn plain_place() -> Place {
    place(&[("TERM", "xterm"), ("NO_COLOR", "1")])
}

/// The words that a command shows on a terminal of this width, which each line before those of the sender has to fit.
async fn words(place: &Place, columns: u16, command: &[&str]) -> String {
    let (code, text) = place.run_on_terminal(columns, command).await;
    assert_eq!(code, Some(0), "{text}");
    let mut lines = text.lines().take_while(|line| *line != "headers");
    assert!(lines.all(|line| measure_text_width(line) <= usize::from(columns)), "{columns}: {text}");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn actions_are_shown_with_who_acted_on_what_and_why() {
    let place = plain_place();
    let process = place.serve().await;
    printed(&place, &["pause", "--all"]);
    let id = process.rest.accept("evt-001").await;
    printed(&place, &["cancel", &id, "--reason", TEXT]);
    let shown = words(&place, 80, &["actions"]).await;
    let cancelled = format!("anonymous cancel_webhook ON {id} WHY {TEXT} ");
    assert!(shown.contains(&cancelled), "{shown}");
    assert!(shown.contains(" pause ON everything"), "{shown}");
    let shown = words(&place, 40, &["actions"]).await;
    assert!(shown.contains("anonymous") && shown.contains(&format!("WHY {TEXT} ")), "{shown}");
}

#[tokio::test]
async fn errors_are_shown_whole() {
    let place = plain_place();
    std::fs::write(place.path("hookbox.toml"), "[[routes]]\nname = \"orders\"\nhandler = \"pull\"\n")
        .unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let leased = call(&process.rest, "lease", &json!({ "routes": ["orders"], "worker": "host-1" })).await;
    let lease = &leased.json()["jobs"][0]["lease"];
    let outcome = json!({ "lease": lease, "failed": { "error": TEXT, "permanent": true } });
    let finished = call(&process.rest, "finish", &json!({ "worker": "host-1", "outcomes": [outcome] })).await;
    assert_eq!(finished.status, 200, "{}", finished.text);
    for columns in [80, 40] {
        let shown = words(&place, columns, &["show", &id]).await;
        assert_eq!(shown.matches(&format!("ERROR {TEXT}")).count(), 2, "of the job and its attempt: {shown}");
        assert!(shown.contains("host-1"), "{shown}");
    }
}

#[tokio::test]
async fn refused_requests_are_shown_with_the_whole_detail() {
    let place = plain_place();
    let source = "[sources.payments]\npreset = \"stripe\"\nsecrets = [\"whsec_one\"]\n";
    std::fs::write(place.path("hookbox.toml"), source).unwrap();
    let _process = place.serve().await;
    assert_eq!(failed(&place, &["send", "--source", "payments", "{}"]).0, Some(1));
    let command = ["sources", "rejections", "payments"];
    let rejections = lines(&place, &[&command[..], &["--json"]].concat());
    let detail = rejections[0]["detail"].as_str().unwrap();
    for columns in [80, 40] {
        let shown = words(&place, columns, &command).await;
        assert!(shown.contains(&format!("DETAIL {detail}")), "{detail}: {shown}");
    }
}
