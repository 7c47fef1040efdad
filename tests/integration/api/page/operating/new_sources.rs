//! The lines of the settings for a new source.

use hookbox::internals::config::{Config, HANDLERS, Layers};
use hookbox::internals::sources::Presets;
use tempfile::TempDir;

use super::{Browser, refused, unescaped, words};
use crate::api::harness::{Hookbox, Sqlite};

/// Keys in all forms in which senders write them. A source takes those that it can use.
const KEYS: [&str; 6] = [
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "0123456789abcdef",
    "user:password",
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",
];

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

/// What `hookbox config check` says of a file whose variables all have this value.
fn check(file: &str, value: &str) -> Result<Config, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("hookbox.toml");
    std::fs::write(&path, file).unwrap();
    let variables = file.split("env:").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    let environment = variables.map(|name| (name, value.to_owned())).collect::<Vec<_>>();
    let flags = [("public_url", "https://hooks.example.com".to_owned())];
    let layers = Layers::read(Some(&path), environment, flags).map_err(|mistakes| mistakes.to_string())?;
    Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string())
}

#[tokio::test]
async fn the_lines_of_every_preset_are_taken_once_their_variables_are_set() {
    let hookbox = Hookbox::start(Sqlite);
    let browser = Browser::of(&hookbox);
    let mut presets = 0;
    for (preset, _) in Presets::built_in().iter() {
        let lines = lines(&browser, preset, "my-source").await;
        assert!(lines.starts_with(&format!("[sources.my-source]\npreset = \"{preset}\"\n")), "{lines}");
        let tried = KEYS.map(|key| check(&lines, key));
        let refused = tried.iter().map(|tried| tried.as_ref().err()).collect::<Vec<_>>();
        let config = tried.iter().flatten().next().unwrap_or_else(|| panic!("{preset}: {lines}{refused:#?}"));
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
