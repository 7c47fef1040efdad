//! What a shell completes.

use super::{place, printed};
use crate::api::harness::eventually;
use crate::api::harness::process::Place;

/// A route and a source of an operator.
const SETTINGS: &str = r#"
    [[routes]]
    name = "orders"

    [sources.payments]
    verify = "none"
    key = { header = "X-Id" }
"#;

/// What is completed after these words.
fn complete(place: &mut Place, words: &[&str]) -> String {
    place.set("_CLAP_COMPLETE_INDEX", &words.len().to_string());
    printed(place, &[&["--", "hookbox"][..], words].concat())
}

/// The same, which is something. hookbox is asked again while it is not: it has only 700 ms to answer.
async fn completed(place: &mut Place, words: &[&str]) -> String {
    eventually(&format!("a completion of {words:?}"), || {
        let completed = complete(place, words);
        async move { (!completed.is_empty()).then_some(completed) }
    })
    .await
}

#[tokio::test]
async fn completions_ask_hookbox_for_the_names_of_routes_and_sources() {
    let mut place = place(&[]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let process = place.serve().await;
    place.set("_HOOKBOX_COMPLETE", "bash");
    place.set("_CLAP_IFS", "\n");
    for (words, expected) in [
        (&["list", "--route", ""][..], "orders"),
        (&["replay", "--route", ""], "orders"),
        (&["list", "--source", "pay"], "payments"),
        (&["send", "--source", "pay"], "payments"),
        (&["pause", "--source", "pay"], "payments"),
        (&["sources", "rejections", "pay"], "payments"),
        (&["listen", "--source", "def"], "default"),
        (&["send", "--preset", "strip"], "stripe"),
        (&["listen", "--preset", "strip"], "stripe"),
        (&["list", "--verdict", "un"], "unverified"),
        (&["list", "--status", "dead"], "dead_lettered"),
        (&["replay", "--cause", "cred"], "credentials_wrong"),
    ] {
        assert_eq!(completed(&mut place, words).await, expected, "{words:?}");
    }
    let rejections = complete(&mut place, &["sources", "rejections", "def"]);
    assert_eq!(rejections, "", "the source `default` has no rejections");
    let both = completed(&mut place, &["tail", "--source", ""]).await;
    let mut both = both.lines().collect::<Vec<_>>();
    both.sort_unstable();
    assert_eq!(both, ["default", "payments"]);
    drop(process);
    assert_eq!(complete(&mut place, &["list", "--route", ""]), "", "hookbox is not there");
}
