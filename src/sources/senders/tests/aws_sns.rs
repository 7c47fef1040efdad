//! Tests of Amazon SNS.

use super::*;
use crate::sources::senders::aws_sns::is_signer;
use crate::sources::senders::subscription;

/// The last part of the URL of the certificate.
const FILE: &str = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

/// The URL that confirms the subscription.
const CONFIRM: &str = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-central-1:123456789012:orders&Token=2336412f37fb687f5d51e6e241d09c80";

#[test]
fn a_change_of_any_byte_is_refused() {
    let mut bodies = BTreeSet::new();
    for vector in good("aws-sns").into_iter().filter(|vector| bodies.insert(vector.body())) {
        // The last member of a message that moto made is not signed.
        let body = text(&vector);
        every_byte_counts(&vector, 0..body.find("UnsubscribeURL").unwrap_or(body.len()));
    }
}

#[test]
fn other_urls_of_certificates_are_refused_and_never_asked_for() {
    let vector = first("aws-sns");
    let genuine = format!("https://sns.eu-central-1.amazonaws.com/{FILE}");
    for url in [
        format!("http://sns.eu-central-1.amazonaws.com/{FILE}"),
        format!("https://sns.eu-west-1.amazonaws.com/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com.cn/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com.evil.example/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com./{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com:443/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com:8443/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com@evil.example/{FILE}"),
        format!("https://user@sns.eu-central-1.amazonaws.com/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com%2f@evil.example/{FILE}"),
        format!("https://sns%2eeu-central-1.amazonaws.com/{FILE}"),
        format!("https://SNS.eu-central-1.amazonaws.com/{FILE}"),
        format!("https://s3.eu-central-1.amazonaws.com/{FILE}"),
        format!("https://evil.example/sns.eu-central-1.amazonaws.com/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com/{FILE}?a"),
        format!("https://sns.eu-central-1.amazonaws.com/{FILE}#a"),
        format!("https://sns.eu-central-1.amazonaws.com/a/{FILE}"),
        format!("https://sns.eu-central-1.amazonaws.com/?Action=GetTopicAttributes&a=/{FILE}"),
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-.pem".to_owned(),
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a/b.pem".to_owned(),
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-%2e.pem".to_owned(),
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.crt".to_owned(),
        "https://sns.eu-central-1.amazonaws.com/other.pem".to_owned(),
        String::new(),
    ] {
        let body = text(&vector).replace(&genuine, &url);
        assert_eq!(with_body(&vector, &body), unverified(Cause::SignatureMalformed), "{url}");
    }
}

#[test]
fn a_message_that_could_be_read_in_two_ways_is_refused() {
    let vector = first("aws-sns");
    let body = text(&vector);
    let malformed = unverified(Cause::SignatureMalformed);
    for added in [r#""Message":"other""#, r#""message":"other""#, r#""TOPICARN":"other""#] {
        let first = body.replacen('{', &format!("{{{added},"), 1);
        let last = format!("{},{added}}}", body.strip_suffix('}').expect("an object"));
        assert_eq!([with_body(&vector, &first), with_body(&vector, &last)], [malformed; 2], "{added}");
    }
    // The same text is signed, but the id is another one.
    let moved = body.replace(r#","Subject":"An order""#, "");
    let id = "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324";
    let moved = moved.replace(id, &format!("{id}\\nSubject\\nAn order"));
    assert_eq!(with_body(&vector, &moved), malformed);
}

#[test]
fn members_that_are_not_signed_may_be_added() {
    let vector = first("aws-sns");
    let body = text(&vector).replacen('{', r#"{"UnsubscribeURL":"https://evil.example/","#, 1);
    assert_eq!(with_body(&vector, &body), Verdict::Verified);
    assert!(!vector.rules().covers_body());
}

#[test]
fn a_message_without_a_member_is_refused() {
    let vector = first("aws-sns");
    let body = text(&vector);
    for name in
        ["Message", "MessageId", "TopicArn", "Timestamp", "Type", "SignatureVersion", "SigningCertURL"]
    {
        let without = body.replacen(&format!("\"{name}\":"), &format!("\"X{name}\":"), 1);
        assert_eq!(with_body(&vector, &without), unverified(Cause::SignatureMalformed), "{name}");
    }
    let without_subject = body.replace("\"Subject\":", "\"XSubject\":");
    assert_eq!(with_body(&vector, &without_subject), unverified(Cause::SignatureMismatch));
    let null = body.replace("\"Subject\":\"An order\"", "\"Subject\":null");
    assert_eq!(with_body(&vector, &null), unverified(Cause::SignatureMismatch));
    for (member, other) in [
        ("\"SignatureVersion\":\"1\"", "\"SignatureVersion\":\"3\""),
        ("\"Type\":\"Notification\"", "\"Type\":\"Other\""),
    ] {
        let body = body.replace(member, other);
        assert_eq!(with_body(&vector, &body), unverified(Cause::SignatureMalformed), "{other}");
    }
    let other_version = body.replace("\"SignatureVersion\":\"1\"", "\"SignatureVersion\":\"2\"");
    assert_eq!(with_body(&vector, &other_version), unverified(Cause::SignatureMismatch));
}

#[test]
fn a_message_without_a_signature_is_told_so() {
    let vector = first("aws-sns");
    let body = text(&vector);
    let (before, after) = body.split_once("\"Signature\":\"").expect("is there");
    let (_, after) = after.split_once('"').expect("ends");
    let missing = unverified(Cause::SignatureMissing);
    for signature in ["", "\"Signature\":\"\"", "\"Signature\":null"] {
        let body = format!("{before}{signature}{after}").replace(",,", ",");
        assert_eq!(with_body(&vector, &body), missing, "{body}");
    }
    for body in ["", "{}", "[]", "null", "Message"] {
        assert_eq!(with_body(&vector, body), missing, "{body}");
    }
    let malformed = format!("{before}\"Signature\":\"!\"{after}");
    assert_eq!(with_body(&vector, &malformed), unverified(Cause::SignatureMalformed));
}

#[test]
fn a_message_is_refused_a_day_later_and_when_its_certificate_has_expired() {
    const DAY: i64 = 24 * 60 * 60;
    let vector = first("aws-sns");
    for (seconds, verdict) in [
        (DAY, Verdict::Verified),
        (DAY + 1, unverified(Cause::TimestampTooOld)),
        (-DAY, Verdict::Verified),
        (-DAY - 1, unverified(Cause::TimestampInFuture)),
        (366 * DAY, unverified(Cause::KeyUnavailable)),
        (-366 * DAY, unverified(Cause::KeyUnavailable)),
    ] {
        assert_eq!(later(&vector, seconds), verdict, "{seconds}");
    }
}

#[test]
fn only_the_url_that_confirms_the_subscription_is_visited() {
    let vector = vectors().handshakes.into_iter().rfind(|vector| vector.preset == "aws-sns");
    let vector = vector.expect("is there");
    let body = text(&vector);
    let visit =
        |url: &str| subscription(body.replace(CONFIRM, url).as_bytes()).map(|visit| visit.url().to_string());
    assert_eq!(visit(CONFIRM).as_deref(), Some(CONFIRM));
    for other in [
        CONFIRM.replace("https", "http"),
        CONFIRM.replace("amazonaws.com", "amazonaws.com.evil.example"),
        CONFIRM.replace("amazonaws.com", "amazonaws.com@evil.example"),
        CONFIRM.replace("amazonaws.com", "amazonaws.com:8443"),
        CONFIRM.replace("eu-central-1.amazonaws", "eu-west-1.amazonaws"),
        CONFIRM.replace("ConfirmSubscription", "Unsubscribe"),
        CONFIRM.replace(":orders", ":others"),
        CONFIRM.replace("&Token=2", "&Token=3"),
        CONFIRM.replace("/?", "/other?"),
        format!("{CONFIRM}&Action=Unsubscribe"),
        format!("{CONFIRM}&AuthenticateOnUnsubscribe=true"),
        format!("{CONFIRM}#fragment"),
    ] {
        assert_eq!(visit(&other), None, "{other}");
    }
    assert!(subscription(&first("aws-sns").body()).is_none(), "a notification");
    let unsubscribe = body.replace("\"SubscriptionConfirmation\"", "\"UnsubscribeConfirmation\"");
    assert!(subscription(unsubscribe.as_bytes()).is_none());
}

#[test]
fn certificates_are_those_of_amazon_sns() {
    for name in [
        "sns.amazonaws.com",
        "sns.us-east-1.amazonaws.com",
        "sns-us-gov-west-1.amazonaws.com",
        "sns-signing.eu-south-1.amazonaws.com",
        "sns-cn-north-1.amazonaws.com.cn",
    ] {
        assert!(is_signer(name), "{name}");
    }
    for name in [
        "amazonaws.com",
        "s3.amazonaws.com",
        "snsx.amazonaws.com",
        "sns.amazonaws.com.evil.example",
        "sns.evilamazonaws.com",
    ] {
        assert!(!is_signer(name), "{name}");
    }
}
