//! What `hookbox config` prints in place of secrets, as the settings of another hookbox.

use crate::api::harness::process::Place;

/// Secrets and passwords in every place that takes them.
const SETTINGS: &str = r#"
database_url = "postgres://me:s3cret@db.example/box"
admin_token = "s3cret-of-the-administrator"

[tokens.ci]
sha256 = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
roles = ["read"]

[sources.shop]
preset = "stripe"
secrets = ["s3cret", "env:SHOP_SECRET", "s3cret-old"]

[sources.plain]
verify = { token = "plain", header = "X-Token" }
secrets = ["s3cret"]
key = "body"

[sources.meta]
preset = "meta"
secrets = ["s3cret"]
verify_token = "s3cret"

[sources.chat]
preset = "discord"
public_keys = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]

[[routes]]
name = "orders"
handler = "http"
url = "https://me:s3cret@hooks.example/orders"
headers = { "X-Team" = "s3cret" }
secrets = ["s3cret"]
"#;

/// The values that are hidden.
const HIDDEN: [&str; 12] = [
    "database_url = \"postgres://me:***@db.example/box\"",
    "admin_token = \"***\"",
    "tokens.ci.sha256 = \"***\"",
    "sources.shop.secrets[0] = \"***\"",
    "sources.shop.secrets[2] = \"***\"",
    "sources.plain.secrets[0] = \"***\"",
    "sources.meta.secrets[0] = \"***\"",
    "sources.meta.verify_token = \"***\"",
    "sources.chat.public_keys[0] = \"***\"",
    "routes[0].url = \"https://me:***@hooks.example/orders\"",
    "routes[0].headers.X-Team = \"***\"",
    "routes[0].secrets[0] = \"***\"",
];

#[test]
fn every_hidden_secret_in_the_output_of_config_is_told_at_once() {
    let place = Place::new(&[("SHOP_SECRET", "s3cret-of-the-shop")]);
    std::fs::write(place.path("hookbox.toml"), SETTINGS).unwrap();
    let printed = String::from_utf8(place.run(&["config"]).stdout).unwrap();
    assert!(printed.contains("[sources.shop]") && !printed.contains("s3cret"), "{printed}");

    std::fs::write(place.path("hookbox.toml"), printed).unwrap();
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    for value in HIDDEN {
        let told_of_it = told.lines().find(|line| line.contains(&format!(": {value} is not allowed: ")));
        let line = told_of_it.unwrap_or_else(|| panic!("{value}: {told}"));
        assert!(line.contains("`***`") && line.contains(" hidden"), "{line}");
    }
    assert_eq!(told.lines().count(), HIDDEN.len(), "{told}");
    assert_eq!(place.run(&["serve"]).status.code(), Some(64), "nobody can sign with what is shown");
}

#[test]
fn the_command_line_takes_no_hidden_secret() {
    let place = Place::new(&[("HOOKBOX_ADMIN_TOKEN", "***")]);
    let ended = place.run(&["config", "check"]);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    assert!(told.contains("admin_token") && told.contains("stands for a secret that was hidden"), "{told}");
    let send = ["send", "--source", "shop", "--preset", "stripe", "--secret", "***", "{}"];
    let ended = place.run(&send);
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(64), "{told}");
    assert!(told.contains("--secret names a secret, but the text is `***`"), "{told}");
}

#[test]
fn a_newline_at_the_end_of_a_variable_is_no_part_of_a_setting() {
    let place =
        Place::new(&[("HOOKBOX_ADMIN_TOKEN", "hbx_a-token-of-the-test\n"), ("HOOKBOX_LEASE", "40s\r\n")]);
    let printed = place.run(&["config"]);
    assert_eq!(printed.status.code(), Some(0), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("lease = \"40s\" "), "{printed}");
}
