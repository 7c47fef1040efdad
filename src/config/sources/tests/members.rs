//! Tests of single members: the content type, and the members of `verify` that a scheme needs.

use super::{mistakes, read, source};

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
