//! Tests of what the settings of these schemes need.

use serde_json::json;

use super::{first, unverified, with_settings};
use crate::domain::secret::Secret;
use crate::domain::verdict::{Cause, Verdict};
use crate::sources::fixture;
use crate::sources::keys::Keys;
use crate::sources::rules::Rules;

const TOPIC: &str = "topics = \"arn:aws:sns:eu-central-1:123456789012:orders\"";

/// The mistakes in a `verify` of these members.
fn mistakes(verify: &str, secrets: &[&str]) -> Vec<String> {
    let secrets = secrets.iter().map(|secret| Secret::from((*secret).to_owned())).collect();
    let keys = Keys { secrets, ..Keys::default() };
    let settings = fixture::settings(&format!("verify = {{ {verify} }}\nkey = \"body\""));
    let mistakes = Rules::new(settings, keys, true).err().unwrap_or_default();
    mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.member, mistake.text)).collect()
}

#[test]
fn a_scheme_without_what_it_needs_is_refused_with_what_to_write() {
    for (verify, secrets, told) in [
        ("scheme = \"aws-sns\"", &[][..], &["verify: `topics` is missing"][..]),
        ("scheme = \"paypal\"", &[], &["verify: `webhook_id` is missing"]),
        ("scheme = \"paypal\", webhook_id = \"\"", &[], &["verify: `webhook_id` is missing"]),
        ("scheme = \"google-pubsub\"", &[], &["verify: `audience` is missing", "verify: `email` is missing"]),
        ("scheme = \"plaid\"", &["s"], &["verify: `client_id` is missing"]),
        ("scheme = \"plaid\", client_id = \"c\"", &[], &["secrets: it is missing"]),
        ("scheme = \"hook0\"", &[], &["secrets: it is missing"]),
        ("scheme = \"adyen\"", &["not hex"], &["secrets: hexadecimal digits"]),
        ("scheme = \"adyen\", tolerance = \"5m\"", &["00"], &["verify: the sender signs no time"]),
        ("scheme = \"hook0\", client_id = \"c\"", &["s"], &["verify: `client_id` belongs to"]),
        ("scheme = \"hook0\", basic = true", &["s"], &["verify: `basic` belongs to"]),
        ("scheme = \"adyen\", basic = true", &["00"], &["secrets: with `basic`, both are needed"]),
        ("scheme = \"adyen\", basic = true", &["user:password"], &["secrets: with `basic`, both are needed"]),
        ("scheme = \"hook0\", hmac = \"sha256\"", &["s"], &["verify: `scheme` says all"]),
        ("scheme = \"hook0\", header = \"X\"", &["s"], &["verify: `scheme` says all"]),
        ("hmac = \"sha1\", header = \"X\", email = \"e\"", &["s"], &["verify: `email` belongs to"]),
    ] {
        let found = mistakes(verify, secrets);
        assert_eq!(found.len(), told.len(), "{verify}: {found:?}");
        assert!(found.iter().zip(told).all(|(found, told)| found.starts_with(told)), "{verify}: {found:?}");
    }
    for (verify, secrets) in [
        (format!("scheme = \"aws-sns\", {TOPIC}"), &[][..]),
        ("scheme = \"aws-sns\", topics = \"*\"".to_owned(), &[]),
        ("scheme = \"paypal\", webhook_id = [\"a\", \"b\"]".to_owned(), &[]),
        ("scheme = \"plaid\", client_id = \"c\", environment = \"sandbox\"".to_owned(), &["s"]),
        ("scheme = \"hook0\", tolerance = \"1m\"".to_owned(), &["new", "old"]),
        ("scheme = \"adyen\", basic = true".to_owned(), &["00", "user:password"]),
    ] {
        assert_eq!(mistakes(&verify, secrets), Vec::<String>::new(), "{verify}");
    }
}

#[test]
fn a_secret_that_no_scheme_takes_is_a_mistake() {
    let found = mistakes(&format!("scheme = \"aws-sns\", {TOPIC}"), &["s"]);
    assert_eq!(found, ["secrets: left out: the source verifies nothing with it"]);
}

#[test]
fn settings_say_which_members_the_operator_has_to_set() {
    let needs = |verify: &str| fixture::settings(&format!("verify = {{ {verify} }}")).needs();
    assert_eq!(needs("scheme = \"aws-sns\""), ["verify.topics"]);
    assert_eq!(needs(&format!("scheme = \"aws-sns\", {TOPIC}")), Vec::<&str>::new());
    assert_eq!(needs("scheme = \"google-pubsub\", email = \"e\""), ["verify.audience"]);
    assert_eq!(needs("scheme = \"plaid\""), ["secrets", "verify.client_id"]);
    assert_eq!(needs("scheme = \"adyen\""), ["secrets"]);
}

#[test]
fn what_is_no_topic_is_refused() {
    let read = |topic: &str| {
        let mut settings = crate::sources::Settings::default();
        settings.set("verify", serde_json::json!({ "scheme": "aws-sns", "topics": [topic] }))
    };
    for topic in ["*", "arn:aws:sns:eu-central-1:123456789012:orders.fifo", "arn:aws-cn:sns:cn-north-1:1:a"] {
        assert!(read(topic).is_ok(), "{topic}");
    }
    for topic in [
        "",
        "orders",
        "arn:aws:sqs:eu-central-1:123456789012:orders",
        "arn:aws:sns:eu-central-1:123456789012:",
        "arn:aws:sns:eu-central-1:123456789012:orders:subscription",
        "arn:aws:sns:*",
    ] {
        let error = read(topic).expect_err(topic).to_string();
        assert!(error.contains("is no topic; write its ARN"), "{error}");
    }
}

#[test]
fn a_key_that_cannot_be_fetched_is_the_cause_whatever_other_schemes_find() {
    let schemes =
        json!([{ "scheme": "aws-sns", "topics": ["*"] }, { "hmac": "sha256", "header": "X-Signature" }]);
    let mut vector = with_settings(&first("aws-sns"), schemes);
    vector.secrets = vec!["a secret".to_owned()];
    assert_eq!(vector.verdict(&vector.body(), &vector.rules()), Verdict::Verified);
    vector.fetched.clear();
    let verdict = vector.verdict(&vector.body(), &vector.rules());
    assert_eq!(verdict, unverified(Cause::KeyUnavailable), "the sender has to send it again");
}
