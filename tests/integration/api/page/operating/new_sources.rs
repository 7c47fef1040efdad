//! The lines of the settings for a new source.

use hookbox::internals::sources::Presets;

use super::{Browser, refused, unescaped, words};
use crate::api::harness::settings::checked;
use crate::api::harness::{Hookbox, Sqlite};

/// The lines that the page shows for a preset.
async fn lines(browser: &Browser, preset: &str, name: &str) -> String {
    let page = browser.get(&format!("/sources?preset={preset}&name={name}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let code = page
        .text
        .split("<pre class=\"code\" tabindex=\"0\"><code>")
        .nth(1)
        .unwrap_or_else(|| panic!("{}", page.text));
    unescaped(code.split("</code>").next().unwrap_or_default())
}

#[tokio::test]
async fn the_lines_of_every_preset_are_taken_once_their_variables_are_set() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let mut presets = 0;
    for (preset, _) in Presets::built_in().iter() {
        let lines = lines(&browser, preset, "my-source").await;
        assert!(lines.starts_with(&format!("[sources.my-source]\npreset = \"{preset}\"\n")), "{lines}");
        let checked = checked(&lines, Some("https://hooks.example.com"));
        let config = checked.unwrap_or_else(|refused| panic!("{preset}: {lines}{refused}"));
        assert!(config.sources.text().contains("[sources.my-source]"), "{preset}");
        presets += 1;
    }
    assert!(presets > 50, "{presets}");
}

#[tokio::test]
async fn the_name_is_that_of_the_preset_unless_another_one_is_given() {
    let hookbox =
        Hookbox::with_routes(Sqlite, "[sources.stripe]\npreset = \"stripe\"\nsecrets = [\"s3cret\"]\n");
    let browser = Browser::of(&hookbox);
    let stripe = lines(&browser, "stripe", "").await;
    assert_eq!(stripe, "[sources.stripe]\npreset = \"stripe\"\nsecrets = [\"env:STRIPE_SECRET\"]\n");
    let text = words(&browser.get("/sources?preset=stripe").await.text);
    assert!(text.contains("There is a source with the name stripe already."), "{text}");
    assert!(text.contains("with the path /v1/sources/stripe/webhooks."), "{text}");
    let text = words(&browser.get("/sources?preset=stripe&name=stripe-2").await.text);
    assert!(!text.contains("already") && text.contains("[sources.stripe-2]"), "{text}");
    for query in ["preset=nothing", "preset=%3Cb%3E", "preset=stripe&name=No%20Name"] {
        let page = browser.get(&format!("/sources?{query}")).await;
        refused(&page, 400, "INVALID_FIELD");
        assert!(!page.text.contains("<b>"), "{}", page.text);
    }
}
