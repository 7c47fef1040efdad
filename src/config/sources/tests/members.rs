//! Tests of single members: the content type, those of `verify`, and what is told of values that no member can have.

use super::{mistakes, read, source};
use crate::domain::secret::Secret;

#[test]
fn the_content_type_of_a_source_overrides_that_of_its_preset() {
    let folder = tempfile::tempdir().expect("a folder");
    for (member, expected) in [
        ("", Some("application/json")),
        ("content_type = \"text/plain; charset=utf-8\"\n", Some("text/plain; charset=utf-8")),
    ] {
        let text = format!("[sources.a]\npreset = \"aws-sns\"\nverify = {{ topics = [\"*\"] }}\n{member}");
        let sources = read(&folder, &text).expect("no mistakes");
        let content_type = source(&sources, "a").rules.content_type.clone();
        assert_eq!(content_type.as_ref().map(|content_type| content_type.as_str()), expected);
        assert!(sources.text().contains("content_type = "), "{}", sources.text());
    }
    let sources = read(&folder, "[sources.a]\nverify = \"none\"\nkey = \"body\"\n").expect("no mistakes");
    assert_eq!(source(&sources, "a").rules.content_type, None, "each request says it");
}

#[test]
fn a_content_type_that_cannot_be_one_is_told_with_its_place() {
    for (text, expected) in [
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\ncontent_type = \"json\"\n",
            "4:16: sources.a.content_type: \"json\" must be a media type, such as \"application/json\"",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = \"body\"\ncontent_type = 7\n",
            "4:16: sources.a.content_type: ",
        ),
        (
            "[sources.a]\nverify = \"none\"\nkey = { json = \"/id\" }\nsplit = \"/items\"\ncontent_type = \"text/plain\"\n",
            "5:16: sources.a.content_type: every request is a batch, and its items are JSON; remove this",
        ),
    ] {
        let told = mistakes(text);
        assert!(told.contains(expected), "{expected}\n---\n{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_missing_member_of_verify_is_reported_with_an_example() {
    for (preset, member, expected) in [
        ("paypal", "webhook_id", "such as verify = { webhook_id = \"8PT597110X687430LKGECATA\" }"),
        ("aws-sns", "topics", "such as verify = { topics = [\"arn:aws:sns:"),
        ("google-pubsub", "email", "such as verify = { email = \"push@"),
        ("azure-event-grid-entra", "issuer", "such as verify = { issuer = \"https://"),
    ] {
        let told = mistakes(&format!("[sources.a]\npreset = \"{preset}\"\n"));
        assert!(
            told.contains(&format!("1:1: sources.a.verify: `{member}` is missing in `verify`; ")),
            "{told}"
        );
        assert!(told.contains(expected), "{told}");
        // Beside the preset it is no member.
        let told = mistakes(&format!("[sources.a]\npreset = \"{preset}\"\n{member} = \"a\"\n"));
        let expected = format!(
            "3:1: sources.a.{member} is not known; write it into `verify`, such as verify = {{ {member} = ... }}"
        );
        assert!(told.contains(&expected), "{expected}\n---\n{told}");
    }
    let told = mistakes("[sources.a]\npreset = \"stripe\"\nsecrets = [\"s\"]\nwebhook_id = \"a\"\n");
    assert_eq!(told, "4:1: sources.a.webhook_id is not known", "its scheme takes no such member");
}

#[test]
fn a_member_of_verify_beside_it_is_told_where_it_belongs() {
    for member in ["tolerance", "hmac", "header", "key_encoding", "timestamp", "token", "keys_url"] {
        for source in ["preset = \"stripe\"\nsecrets = [\"s\"]", "verify = \"none\"\nkey = \"body\""] {
            let told = mistakes(&format!("[sources.a]\n{source}\n{member} = \"5m\"\n"));
            let expected = format!(
                "4:1: sources.a.{member} is not known; write it into `verify`, such as verify = {{ {member} = ... }}"
            );
            assert_eq!(told, expected);
        }
    }
    let told = mistakes("[sources.a]\npreset = \"adyen\"\nsecrets = [\"12\"]\nbasic = true\n");
    assert!(told.contains("sources.a.basic is not known; write it into `verify`"), "{told}");
}

#[test]
fn a_number_without_a_unit_is_told_what_to_write() {
    let source = "[sources.a]\npreset = \"stripe\"\nsecrets = [\"s\"]\n";
    let (span, rate) =
        ("a duration from 1ms to 24h, such as \"5m\"", "a number per s, m or h, such as \"1000/m\"");
    for (member, name, allowed) in [
        ("deadline = 3", "deadline", span),
        ("deadline = 1.5", "deadline", span),
        ("verify = { tolerance = 300 }", "verify", span),
        ("rate_limit = 10", "rate_limit", rate),
        ("silent_after = 3600", "silent_after", "a duration from 1m to 30d, such as \"1h\""),
    ] {
        let told = mistakes(&format!("{source}{member}\n"));
        assert!(told.contains(&format!("sources.a.{name}: ")) && told.ends_with(allowed), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn an_empty_list_is_told_with_an_item_to_write() {
    for (members, expected) in [
        (
            "verify = \"none\"\nkey = []",
            "3:7: sources.a.key: an empty array means nothing here; write at least one item, such as [{ json = \"/id\" }], or remove it",
        ),
        (
            "verify = \"none\"\nkey = { header = [] }",
            "sources.a.key: an empty array means nothing here; write at least one item, such as [\"X-Id\"], or remove it",
        ),
        ("verify = \"none\"\nkey = { json = [] }", "such as [\"/id\"], or remove it"),
        (
            "preset = \"aws-sns\"\nverify = { topics = [] }",
            "such as [\"arn:aws:sns:eu-central-1:123456789012:orders\"], or remove it",
        ),
    ] {
        let told = mistakes(&format!("[sources.a]\n{members}\n"));
        assert!(told.contains(expected), "{expected}\n---\n{told}");
    }
}

#[test]
fn a_newline_at_the_end_of_a_variable_is_no_part_of_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = |name: &str| format!("[sources.a]\npreset = \"stripe\"\nsecrets = [\"env:{name}\"]\n");
    let sources = read(&folder, &text("SHOP_LINE")).expect("no mistakes");
    assert!(source(&sources, "a").rules.has_secret(&Secret::from("s3cret".to_owned())));
    let told = read(&folder, &text("SHOP_LINES")).expect_err("has a line break more");
    let expected = "3:12: sources.a.secrets[0] = \"env:SHOP_LINES\" is not allowed: it must be a secret, but the environment variable SHOP_LINES ends with a line break (U+000A); remove it";
    assert_eq!(told, expected);
}
