//! Tests of the members of `verify` that a scheme needs.

use super::mistakes;

#[test]
fn a_member_that_the_scheme_lacks_is_told_as_a_member_of_verify() {
    for (preset, member, expected) in [
        ("paypal", "webhook_id", "such as verify = { webhook_id = \"8PT597110X687430LKGECATA\" }"),
        ("aws-sns", "topics", "such as verify = { topics = [\"arn:aws:sns:"),
        ("google-pubsub", "email", "such as verify = { email = \"push@"),
        ("azure-event-grid-entra", "issuer", "such as verify = { issuer = \"https://"),
    ] {
        let told = mistakes(&format!("[sources.a]\npreset = \"{preset}\"\n"));
        assert!(told.contains(&format!("verify: `{member}` is missing in `verify`; ")), "{told}");
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
