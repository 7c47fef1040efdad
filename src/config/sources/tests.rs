//! Tests of sources, through a settings file.

mod members;

use std::sync::Arc;

use tempfile::TempDir;

use super::Sources;
use crate::config::{Config, HANDLERS, Layers};
use crate::domain::webhook::Source;
use crate::sources::{OnConflict, OnUnverified, SourceRules};

/// Reads a settings file with this text. The error lists the mistakes without the path of the file.
fn read(folder: &TempDir, text: &str) -> Result<Sources, String> {
    let file = folder.path().join("hookbox.toml");
    std::fs::write(&file, text).expect("writes");
    let environment =
        [("SHOP", "s3cret"), ("SHOP_LINE", "s3cret\n"), ("SHOP_LINES", "s3cret\n\n"), ("EMPTY", "")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let layers = Layers::read(Some(&file), environment, []).map_err(|mistakes| mistakes.to_string())?;
    let path = format!("{}:", file.display());
    let config =
        Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string().replace(&path, ""))?;
    Ok(config.sources)
}

fn source(sources: &Sources, name: &str) -> Arc<SourceRules> {
    Arc::clone(&sources.map()[&Source::new(name).expect("valid")])
}

fn mistakes(text: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    read(&folder, text).expect_err("has mistakes")
}

#[test]
fn a_source_is_described_by_its_own_members() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("old"), "0ld\n").expect("writes");
    let text = format!(
        r#"
[sources.erp]
verify = {{ hmac = "sha256", header = "X-Erp-Signature", prefix = "sha256=", signed = "{{timestamp}}.{{body}}", timestamp = {{ header = "X-Erp-Time", unit = "s" }}, tolerance = "5m" }}
secrets = ["env:SHOP", "file:{}", "pla1n"]
key = [{{ header = "X-Erp-Id" }}, {{ json = "/id" }}]
event_type = {{ json = "/meta/type" }}
content_type = "application/vnd.erp+json; charset=utf-8"
split = "/items"
on_conflict = "keep_first"
unverified = "quarantine"
rate_limit = "1000/m"
silent_after = "36h"
answer = {{ accepted = 200, body = "", refused_body = "no" }}
deadline = "3s"
sensitive = true
"#,
        folder.path().join("old").display()
    );
    let sources = read(&folder, &text).expect("no mistakes");
    let erp = source(&sources, "erp");
    assert_eq!((erp.name.as_str(), erp.preset.as_deref(), erp.url_of("/x")), ("erp", None, None));
    let rules = &erp.rules;
    assert!(rules.verifies() && rules.is_sensitive);
    assert_eq!((rules.on_conflict, rules.on_unverified), (OnConflict::KeepFirst, OnUnverified::Quarantine));
    assert_eq!((rules.answers.accepted, rules.answers.body.as_deref()), (Some(200), Some("")));
    assert_eq!(rules.answers.refused_body.as_deref(), Some("no"));
    let content_type = rules.content_type.as_ref().expect("is set");
    assert_eq!(content_type.as_str(), "application/vnd.erp+json; charset=utf-8");
    assert_eq!(rules.deadline.map(|deadline| deadline.as_secs()), Some(3));
    assert_eq!(rules.rate_limit.map(|rate| rate.quota.get()), Some(1000));
    assert_eq!(rules.silent_after.map(|time| time.as_secs()), Some(36 * 60 * 60));
    assert_eq!(rules.proving_headers().collect::<Vec<_>>(), ["X-Erp-Signature"]);
    let shown = sources.text();
    assert!(shown.contains("[sources.erp]\n") && shown.contains("\"env:SHOP\""), "{shown}");
    assert!(shown.contains("silent_after = \"36h\"") && shown.contains("sensitive = true"), "{shown}");
    assert!(!shown.contains("s3cret") && !shown.contains("0ld") && !shown.contains("pla1n"), "{shown}");
}

#[test]
fn a_source_overrides_members_of_its_preset() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[sources.pay]\npreset = \"stripe\"\nsecrets = [\"env:SHOP\"]\nverify = { tolerance = \"10m\" }\non_conflict = \"reject\"\n";
    let sources = read(&folder, text).expect("no mistakes");
    let pay = source(&sources, "pay");
    assert_eq!((pay.preset.as_deref(), pay.rules.on_conflict), (Some("stripe"), OnConflict::Reject));
    assert!(pay.rules.verifies() && !pay.rules.is_sensitive);
    assert!(sources.text().contains("# the preset stripe"), "{}", sources.text());
}

#[test]
fn a_file_without_sources_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(read(&folder, "workers = 4\n").expect("no mistakes").map().is_empty());
}

#[test]
fn the_url_that_senders_see_begins_with_public_url_and_its_path() {
    let folder = tempfile::tempdir().expect("a folder");
    for (public_url, expected) in [
        ("https://hooks.example.com", "https://hooks.example.com/v1/x?a=1"),
        ("https://Hooks.example.com:443/in/", "https://Hooks.example.com:443/in/v1/x?a=1"),
    ] {
        let text = format!("public_url = \"{public_url}\"\n[sources.a]\nverify = \"none\"\nkey = \"body\"\n");
        let sources = read(&folder, &text).expect("no mistakes");
        assert_eq!(source(&sources, "a").url_of("/v1/x?a=1").as_deref(), Some(expected));
    }
}

#[test]
fn no_secret_is_shown_by_debug() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[sources.a]\npreset = \"zoom\"\nsecrets = [\"pla1n\", \"env:SHOP\"]\n";
    let shown = format!("{:?}", read(&folder, text).expect("no mistakes"));
    assert!(!shown.contains("pla1n") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let told = mistakes(
        r#"
[sources.one]
preset = "strip"
secrets = ["env:NO", "", "env:EMPTY"]
[sources.two]
verify = { hmac = "sha265", header = "X" }
key = { json = "id" }
silent_after = "59s"
evnt_type = { text = "a" }
[sources.hookbox]
verify = "none"
key = "body"
[sources.Big]
verify = "none"
key = "body"
[[routes]]
nam = "a"
"#,
    );
    for expected in [
        "3:10: sources.one.preset = \"strip\" is not allowed: it must be a preset, as `hookbox presets` lists them; did you mean `stripe`?",
        "4:12: sources.one.secrets[0] = \"env:NO\" is not allowed: it must be a secret, but the environment variable NO is not set",
        "4:22: sources.one.secrets[1] = \"***\"",
        "4:26: sources.one.secrets[2] = \"env:EMPTY\"",
        "sources.two.verify: unknown variant `sha265`",
        "\"id\" is no JSON pointer",
        "8:16: sources.two.silent_after: \"59s\" must be a duration from 1m to 30d, such as \"1h\"",
        "9:1: sources.two.evnt_type is not known; did you mean `event_type`?",
        "10:1: the source `hookbox` belongs to hookbox",
        "13:1: a source cannot have the name \"Big\": it must be 1 to 63 of a-z",
        "17:1: routes[0].nam is not known",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn all_mistakes_of_one_source_are_told_at_once() {
    let told = mistakes("[sources.sms]\npreset = \"twilio\"\nsecrets = [\"env:NO\"]\n");
    assert!(told.contains("3:12: sources.sms.secrets[0]"), "{told}");
    assert!(told.contains("1:1: sources.sms.verify: the sender signs the URL"), "{told}");

    let told = mistakes(
        r#"
[sources.erp]
verify = { hmac = "sha256", form = "", separator = "", signed = "{method}", tolerance = "5m", email = "e", client_id = "c" }
secrets = ["env:NO"]
key = [{ text = "x" }, { first = [{ text = "y" }, { json = "/id" }] }]
verify_token = "t"
handshakes = [
    { value = { json = "/a" }, answer = { status = 204 } },
    { when = [{ json = "/type", query = "a", present = true, token = true }], hmac = { algorithm = "sha256" } },
]
"#,
    );
    for expected in [
        "3:10: sources.erp.verify: a name of `form` or `query` is empty",
        "3:10: sources.erp.verify: `separator` is empty",
        "3:10: sources.erp.verify: `tolerance` means nothing",
        "3:10: sources.erp.verify: the body is not signed",
        "3:10: sources.erp.verify: `email` belongs to",
        "3:10: sources.erp.verify: `client_id` belongs to",
        "4:12: sources.erp.secrets[0] = \"env:NO\"",
        "5:7: sources.erp.key: every webhook would have the same key",
        "8:5: sources.erp.handshakes: an answer with this status has no body",
        "9:5: sources.erp.handshakes: a condition has exactly one of `equals`",
        "9:5: sources.erp.handshakes: only one of `header`",
        "9:5: sources.erp.handshakes: `hmac` needs a `value`",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
    assert_eq!(told.lines().count(), 12, "{told}");
}

#[test]
fn all_mistakes_of_one_member_are_told_at_once() {
    let told = mistakes(
        r#"
[sources.erp]
verify = { hmac = "sha255", header = "X Bad", encoding = "hex", signed = "{nope}", prefx = "a" }
key = [{ json = "id" }, { json = "/id" }, { header = "X Bad" }]
answer = { accepted = 99, overload = 500 }
handshakes = [
    { when = [{ json = "type" }, { present = 1 }], hmac = { algorithm = "md5" } },
    { method = "PUT" },
]
[sources.erp.split]
array = "items"
content_typ = "a"
[sources.shop]
verify = { token = "plain", header = ["X Bad", "X-Good", "Y Bad"] }
key = "body"
"#,
    );
    for expected in [
        "3:19: sources.erp.verify: unknown variant `sha255`",
        "3:38: sources.erp.verify: ",
        "3:74: sources.erp.verify: ",
        "3:84: sources.erp.verify: unknown field `prefx`",
        "4:17: sources.erp.key: \"id\" is no JSON pointer",
        "4:54: sources.erp.key: ",
        "5:23: sources.erp.answer: ",
        "5:38: sources.erp.answer: `overload` must be 503",
        "7:24: sources.erp.handshakes: \"type\" is no JSON pointer",
        "7:46: sources.erp.handshakes: ",
        "7:73: sources.erp.handshakes: unknown variant `md5`",
        "8:16: sources.erp.handshakes: unknown variant `PUT`",
        "11:9: sources.erp.split: \"items\" is no JSON pointer",
        "12:1: sources.erp.split: unknown field `content_typ`",
        "14:39: sources.shop.verify: \"X Bad\" is no name of a header",
        "14:58: sources.shop.verify: \"Y Bad\" is no name of a header",
    ] {
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
    assert_eq!(told.lines().count(), 16, "nothing is told of what was left out: {told}");
}

#[test]
fn the_same_mistake_of_two_schemes_is_told_once() {
    let told = mistakes("[sources.events]\npreset = \"azure-event-grid-entra\"\n");
    for member in ["`issuer` is missing", "`audience` is missing"] {
        assert_eq!(told.matches(member).count(), 1, "{member}: {told}");
    }
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn what_depends_on_a_member_with_a_mistake_is_not_told() {
    for (text, count) in [
        (
            "preset = \"strip\"\nverify = { tolerance = \"10m\" }\nverify_token = \"t\"\nsplit = \"/items\"\n",
            1,
        ),
        ("preset = \"stripe\"\nverify = { hmac = 7 }\n", 1),
        ("preset = \"meta\"\nsecrets = [\"s\"]\nverify_token = \"env:NO\"\n", 1),
        ("preset = \"zoom\"\nsecrets = [\"env:NO\"]\n", 1),
        ("preset = \"discord\"\npublic_keys = \"\"\n", 1),
        ("verify = \"non\"\nkey = { json = \"id\" }\nunverified = \"quarantin\"\nsplit = 7\n", 4),
    ] {
        let told = mistakes(&format!("[sources.a]\n{text}"));
        assert_eq!(told.lines().count(), count, "{told}");
    }
}

#[test]
fn unusable_keys_and_unreadable_keys_are_both_reported() {
    let verify = "verify = { hmac = \"sha256\", header = \"X\", key_encoding = \"hex\" }\nkey = \"body\"\n";
    let told = mistakes(&format!("[sources.a]\n{verify}secrets = [\"env:NO\", \"12\", \"xyz\"]\n"));
    assert_eq!(told.lines().count(), 2, "{told}");
    assert!(told.contains("4:28: sources.a.secrets[2] = \"***\" is not allowed: it must be hex"), "{told}");
}

#[test]
fn an_override_applies_only_to_schemes_that_use_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = |preset: &str, verify: &str| {
        read(
            &folder,
            &format!("[sources.a]\npreset = \"{preset}\"\nsecrets = [\"s3cret\"]\nverify = {verify}\n"),
        )
    };
    for verify in ["{ tolerance = \"10m\" }", "{ key_encoding = \"text\" }"] {
        source("gitlab", verify).expect("one of its schemes signs a time, by a key");
    }
    let told = source("github", "{ tolerance = \"10m\" }").expect_err("it signs no time");
    assert!(told.contains("4:10: sources.a.verify: `tolerance` means nothing"), "{told}");
    let told = source("telegram", "{ key_encoding = \"hex\" }").expect_err("it signs nothing");
    assert!(told.contains("4:10: sources.a.verify: a token signs nothing"), "{told}");
}

#[test]
fn what_is_missing_is_told_with_what_to_write() {
    for (text, expected) in [
        (
            "[sources.a]\nkey = \"body\"\n",
            "1:1: sources.a.verify: it is missing; write how requests are verified",
        ),
        (
            "[sources.a]\nverify = \"none\"\n",
            "1:1: sources.a.key: it is missing; write where the unique name of a webhook is",
        ),
        ("[sources.a]\npreset = \"stripe\"\n", "1:1: sources.a.secrets: it is missing; write the secret"),
        (
            "[sources.a]\nverify = { hmac = \"sha256\", header = \"X\", signed = \"{url}{body}\" }\nkey = \"body\"\nsecrets = [\"x\"]\n",
            "2:10: sources.a.verify: the sender signs the URL",
        ),
        (
            "[sources.a]\nverify = { hmac = \"sha256\", header = \"X\", key_encoding = \"hex\" }\nkey = \"body\"\nsecrets = [\"12\", \"x\"]\n",
            "4:18: sources.a.secrets[1] = \"***\" is not allowed: it must be hexadecimal digits",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = [{ header = \"X-Id\" }, { outer = \"/id\" }]\nsplit = \"/items\"\n",
            "3:7: sources.a.key: items of a batch could have the same key",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = { query = [\"id\", \"\"] }\n",
            "sources.a.key: a name of `form` or `query` is empty",
        ),
        (
            "[sources.a]\npreset = \"meta\"\nsecrets = [\"s\"]\nverify_token = [\"a\", \"b\"]\n",
            "4:16: sources.a.verify_token = \"***\" is not allowed: it must be one text",
        ),
        (
            "[sources.a]\npreset = \"stripe\"\nsecrets = [\"s\"]\nverify_token = \"a\"\n",
            "4:16: sources.a.verify_token: no handshake of the source compares it",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\nunverified = \"quarantine\"\n",
            "4:14: sources.a.unverified: the source verifies nothing",
        ),
        (
            "[sources.a]\npreset = \"xero\"\nsecrets = [\"x\"]\nunverified = \"quarantine\"\n",
            "4:14: sources.a.unverified: the sender sends wrong signatures to test that they are answered 401",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\nanswer = { accepted = 204, body = \"ok\" }\n",
            "4:10: sources.a.answer: an answer with this status has no body",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\nanswer = { body = \"ok\", content_type = \"a\\nb\" }\n",
            "4:10: sources.a.answer: `content_type` must be a media type",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\nsensitive = \"yes\"\n",
            "4:13: sources.a.sensitive: invalid type: string \"yes\", expected a boolean",
        ),
        ("sources = 1\n", "a table"),
        ("[sources]\na = 1\n", "a table"),
    ] {
        let told = mistakes(text);
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn a_preset_needs_the_members_that_its_scheme_lacks() {
    let told = mistakes("[sources.pay]\npreset = \"paypal\"\n");
    assert!(told.contains("1:1: sources.pay.verify: `webhook_id` is missing"), "{told}");
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[sources.pay]\npreset = \"paypal\"\nverify = { webhook_id = [\"new\", \"old\"] }\n";
    let sources = read(&folder, text).expect("no mistakes");
    let pay = source(&sources, "pay");
    assert_eq!(pay.rules.proving_headers().collect::<Vec<_>>(), ["PAYPAL-TRANSMISSION-SIG"]);
    assert!(
        mistakes("[sources.sns]\npreset = \"aws-sns\"\nverify = { topics = [\"orders\"] }\n").contains("ARN")
    );
}
