//! `hookbox send` signs as senders do.

use hookbox::internals::clock::SystemClock;
use hookbox::internals::domain::clock::Clock as _;
use hookbox::internals::domain::secret::Secret;
use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::sources::{Keys, Presets, Request, Rules, check_signs, verify};

use super::local::Local;
use super::{failed, place, printed};
use crate::api::harness::process::Place;
use crate::support::received::Received;

/// A secret that every preset takes that is used here.
pub(super) const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What verifying a request by a preset finds.
pub(super) fn verdict(preset: &str, received: &Received, url: &str) -> Verdict {
    let keys = Keys { secrets: vec![Secret::from(SECRET.to_owned())], ..Keys::default() };
    let settings = Presets::built_in().get(preset).unwrap().settings.clone();
    let rules = Rules::new(settings, keys, true).unwrap();
    let query = received.line.split(' ').nth(1).unwrap().split_once('?').map_or("", |(_, query)| query);
    let url = if query.is_empty() { url.to_owned() } else { format!("{url}?{query}") };
    let headers = received.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let request = Request {
        id: "r1",
        method: "POST",
        url: Some(&url),
        query,
        headers: &headers.collect::<Vec<_>>(),
        body: &received.body,
        received_at: SystemClock.now(),
    };
    verify(&request, &rules)
}

async fn run(place: &Place, local: &Local, arguments: &[&str]) -> String {
    let url = local.url("");
    let arguments = [&["send", "--url", &url][..], arguments].concat();
    tokio::task::block_in_place(|| printed(place, &arguments))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_signed_by_the_preset_of_its_source() {
    let (mut place, local) = (place(&[]), Local::start().await);
    place.set("SHOP_SECRET", SECRET);
    let sign = ["--secret", "env:SHOP_SECRET", "--source", "shop", "--key", "evt-001"];
    let presets =
        ["stripe", "github", "standard-webhooks", "slack", "twilio", "monday", "jira-app", "monday-app"];
    for (at, preset) in presets.into_iter().enumerate() {
        let form = ["--header", "Content-Type: application/x-www-form-urlencoded", "a=1&b=2"];
        let json = ["--type", "paid", "{\"a\": 1}"];
        let body = if preset == "twilio" { form } else { json };
        let answer = run(&place, &local, &[&["--preset", preset][..], &sign, &body].concat()).await;
        assert_eq!(answer, "200  ok\n");
        let received = &local.received()[at];
        assert!(received.line.starts_with("POST /v1/sources/shop/webhooks"), "{}", received.line);
        let url = local.url("/v1/sources/shop/webhooks");
        assert_eq!(verdict(preset, received, &url), Verdict::Verified, "{preset}: {received:?}");
    }
    // As the sender sees hookbox.
    let public = ["--preset", "square", "--public-url", "https://hooks.example.com/inbox"];
    run(&place, &local, &[&public[..], &sign, &["{}", "--json"]].concat()).await;
    let received = local.received().pop().unwrap();
    let url = "https://hooks.example.com/inbox/v1/sources/shop/webhooks";
    assert_eq!(verdict("square", &received, url), Verdict::Verified);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_comes_from_a_file_or_from_standard_input_and_is_sent_as_it_is() {
    let (place, local) = (place(&[]), Local::start().await);
    std::fs::write(place.path("body"), b"\xff\0 {").unwrap();
    let arguments =
        ["--source", "shop", "--header", "content-type: text/plain", "--header", "x-a: 1", "@body"];
    run(&place, &local, &arguments).await;
    run(&place, &local, &["--source", "shop", "-"]).await;
    let received = local.received();
    assert_eq!(received[0].body, b"\xff\0 {");
    assert_eq!((received[0].header("content-type"), received[0].header("x-a")), ("text/plain", "1"));
    assert_eq!((received[1].body.len(), received[1].header("content-type")), (0, "application/json"));
}

#[test]
fn what_cannot_be_sent_is_a_mistake_in_the_command_line() {
    let place = place(&[]);
    for (arguments, text) in [
        (&["{"][..], "has to be JSON"),
        (&["@missing"], "cannot read the body"),
        (&["--preset", "stripe"], "needs --source"),
        (&["--source", "shop", "--key", "k"], "need --preset"),
        (&["--source", "shop", "--preset", "strip"], "there is no preset"),
        (&["--source", "shop", "--preset", "telegram", "--secret", "s", "--type", "t"], "leave the type out"),
        (&["--source", "shop", "--preset", "xero", "--secret", "s", "--key", "k"], "leave the key out"),
        (&["--source", "shop", "--preset", "stripe"], "--secret"),
        (&["--source", "shop", "--preset", "stripe", "--secret", "env:MISSING"], "MISSING is not set"),
        (&["--source", "shop", "--preset", "discord"], "private key"),
        (&["--source", "shop", "--preset", "microsoft-graph-rich", "--secret", "s"], "private key"),
        (&["--source", "shop", "--preset", "paypal", "--secret", "s"], "the scheme of this sender cannot"),
        (&["--source", "shop", "--preset", "plaid"], "the scheme of this sender cannot"),
        (
            &["--source", "shop", "--preset", "stripe", "--secret", "s", "--audience", "a"],
            "leave --audience out",
        ),
        (&["--source", "shop", "--preset", "svix", "--secret", "s3cret!"], "base64"),
        (&["--source", "shop", "--preset", "stripe", "--secret", "s", "1"], "JSON object"),
        (&["--header", "nothing"], "NAME: VALUE"),
    ] {
        let (code, told) = failed(&place, &[&["send"][..], arguments].concat());
        assert_eq!(code, Some(64), "{arguments:?}: {told}");
        assert!(told.contains(text), "{text}: {told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn the_documentation_names_the_presets_for_which_nothing_can_be_signed() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CLIENT.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, rest) = text.split_once("`send` cannot sign for senders").unwrap();
    let (named, _) = rest.split_once("\n\n").unwrap();
    for (name, preset) in Presets::built_in().iter() {
        let is_named = named.contains(&format!("`{name}`"));
        assert_eq!(is_named, check_signs(&preset.settings).is_err(), "{name}");
    }
}

#[tokio::test]
async fn a_signature_that_its_source_does_not_verify_is_no_matter_of_the_token() {
    let place = place(&[]);
    let shop = "[sources.shop]\npreset = \"stripe\"\nsecrets = [\"s3cret-of-the-shop\"]\n";
    std::fs::write(place.path("hookbox.toml"), shop).unwrap();
    let _process = place.serve().await;
    let sign = ["--preset", "stripe", "--type", "paid", "--secret"];
    let (code, told) = failed(&place, &[&["send", "--source", "shop"][..], &sign, &["another"]].concat());
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("check the secret") && !told.contains("HOOKBOX_TOKEN"), "{told}");
    printed(&place, &[&["send", "--source", "shop"][..], &sign, &["s3cret-of-the-shop"]].concat());
}

#[tokio::test]
async fn a_token_is_for_the_audience_that_the_command_names() {
    let place = place(&[]);
    let board = "[sources.board]\npreset = \"monday-app\"\nsecrets = [\"s3cret-of-the-app\"]\nverify = { audience = \"https://hooks.example.com/\" }\n";
    std::fs::write(place.path("hookbox.toml"), board).unwrap();
    let _process = place.serve().await;
    let send = ["send", "--source", "board", "--preset", "monday-app", "--secret", "s3cret-of-the-app"];
    for audience in [&[][..], &["--audience", "https://hooks.example.com/other"]] {
        let (code, told) = failed(&place, &[&send[..], audience].concat());
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("another topic, audience"), "{told}");
    }
    printed(&place, &[&send[..], &["--audience", "https://hooks.example.com/"]].concat());
}

#[tokio::test]
async fn a_rate_limit_that_is_used_up_has_an_exit_code_of_its_own_whatever_the_source_answers() {
    let place = place(&[]);
    let source = |name: &str, overload: u16| {
        format!(
            "[sources.{name}]\nverify = \"none\"\nkey = {{ header = \"X-Id\" }}\nrate_limit = \"1/h\"\n\
             answer = {{ overload = {overload} }}\n"
        )
    };
    std::fs::write(place.path("hookbox.toml"), source("patient", 503) + &source("other", 429)).unwrap();
    let _process = place.serve().await;
    for name in ["patient", "other"] {
        let send = ["send", "--source", name, "--header"];
        printed(&place, &[&send[..], &["X-Id: 1"]].concat());
        let (code, told) = failed(&place, &[&send[..], &["X-Id: 2"]].concat());
        assert_eq!(code, Some(75), "{name}: {told}");
    }
}
