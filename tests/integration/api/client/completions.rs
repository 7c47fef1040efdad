//! What a shell completes.

use super::{place, printed};
use crate::api::harness::process::Place;

/// A route and a source of an operator.
const SETTINGS: &str = r#"
    [[routes]]
    name = "orders"

    [sources.payments]
    verify = "none"
    key = { header = "X-Id" }
"#;

#[tokio::test]
async fn completions_ask_hookbox_for_the_names_of_routes_and_sources() {
    let mut place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let process = place.serve().await;
    place.set("_HOOKBOX_COMPLETE", "bash");
    place.set("_CLAP_IFS", "\n");
    let completed = |place: &mut Place, words: &[&str]| {
        place.set("_CLAP_COMPLETE_INDEX", &words.len().to_string());
        printed(place, &[&["--", "hookbox"][..], words].concat())
    };
    for (words, expected) in [
        (&["list", "--route", ""][..], "orders"),
        (&["replay", "--route", ""], "orders"),
        (&["list", "--source", "pay"], "payments"),
        (&["send", "--source", "pay"], "payments"),
        (&["pause", "--source", "pay"], "payments"),
        (&["sources", "rejections", "pay"], "payments"),
        (&["listen", "--source", "def"], "default"),
        // The source `default` has no rejections.
        (&["sources", "rejections", "def"], ""),
        (&["send", "--preset", "strip"], "stripe"),
        (&["listen", "--preset", "strip"], "stripe"),
        (&["list", "--verdict", "un"], "unverified"),
        (&["list", "--status", "dead"], "dead_lettered"),
        (&["replay", "--cause", "cred"], "credentials_wrong"),
    ] {
        assert_eq!(completed(&mut place, words), expected, "{words:?}");
    }
    let both = completed(&mut place, &["tail", "--source", ""]);
    let mut both = both.lines().collect::<Vec<_>>();
    both.sort_unstable();
    assert_eq!(both, ["default", "payments"]);
    drop(process);
    assert_eq!(completed(&mut place, &["list", "--route", ""]), "", "hookbox is not there");
}
