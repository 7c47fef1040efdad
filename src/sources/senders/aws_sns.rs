//! Amazon SNS: some members of the JSON in the body are signed by a certificate that the body names.
//!
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>. AWS signs the
//! messages of every account, so a message proves nothing unless its topic is one of the source.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::IgnoredAny;
use url::Url;

use super::pinned::{is_file_name, pinned};
use super::{SenderScheme, Topic};
use crate::domain::verdict::Cause;
use crate::sources::fetched::{KeyAddress, KeyServer, KnownKeys};
use crate::sources::keys::SignatureAlgorithm;
use crate::sources::request::Request;
use crate::sources::scheme::{Encoding, Unit};
use crate::sources::verify::{Unproved, check_time, decode, instant};

/// The members that can be signed.
const SIGNED: [&str; 8] =
    ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

/// The scheme of Amazon SNS.
#[derive(Debug)]
pub(super) struct AwsSns {
    pub(super) topics: Vec<Topic>,
    pub(super) tolerance: SignedDuration,
}

/// A URL to visit before a handshake is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit(Url);

impl Visit {
    /// The URL: https, at a host of the sender. It has a token: do not log it.
    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// A message. A member that is there twice is an error: readers differ about which one counts.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    r#type: String,
    message_id: String,
    topic_arn: String,
    message: String,
    timestamp: String,
    subject: Option<String>,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

impl SenderScheme for AwsSns {
    fn verify(&self, request: &Request<'_>, keys: &dyn KnownKeys) -> Result<(), Unproved> {
        if !is_signed(request.body) {
            return Err(Cause::SignatureMissing.into());
        }
        let message = Message::read(request.body).ok_or(Cause::SignatureMalformed)?;
        let algorithm = match message.signature_version.as_str() {
            "1" => SignatureAlgorithm::RsaSha1,
            "2" => SignatureAlgorithm::RsaSha256,
            _ => return Err(Cause::SignatureMalformed.into()),
        };
        let text = message.signed().ok_or(Cause::SignatureMalformed)?;
        let signature = decode(&message.signature, Encoding::Base64).ok_or(Cause::SignatureMalformed)?;
        if !self.topics.iter().any(|topic| topic.is(&message.topic_arn)) {
            return Err(Cause::CredentialsWrong.into());
        }
        let certificate = message.certificate().ok_or(Cause::SignatureMalformed)?;
        let keys = KeyAddress::certificate(KeyServer::AwsSns, certificate, is_signer).look_up(keys)?;
        keys.verify(None, algorithm, (text.as_bytes(), signature.as_slice()), request.received_at)?;
        let sent = instant(Unit::Rfc3339, &message.timestamp).ok_or(Cause::TimestampMissing)?;
        Ok(check_time(sent, request.received_at, self.tolerance)?)
    }

    /// Other members than those in [`SIGNED`] are not signed.
    fn covers_body(&self) -> bool {
        false
    }

    fn proving_headers(&self) -> &'static [&'static str] {
        &[]
    }
}

/// Whether the body is an object with one signature.
fn is_signed(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Signed {
        signature: String,
    }
    serde_json::from_slice::<Signed>(body).is_ok_and(|message| !message.signature.is_empty())
}

/// The URL that confirms a subscription; none if the message does not ask for that.
pub(in crate::sources) fn subscription(body: &[u8]) -> Option<Visit> {
    let message = Message::read(body).filter(|message| message.r#type == "SubscriptionConfirmation")?;
    let url = message.url(message.subscribe_url.as_deref()?)?;
    // Nothing else of the API is called.
    let expected = [
        ("Action", "ConfirmSubscription"),
        ("Token", message.token.as_deref()?),
        ("TopicArn", message.topic_arn.as_str()),
    ];
    let is_expected = {
        let mut parameters = url.query_pairs().collect::<Vec<_>>();
        parameters.sort();
        let expected = expected.map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value)));
        url.path() == "/" && parameters == expected
    };
    is_expected.then_some(Visit(url))
}

impl Message {
    fn read(body: &[u8]) -> Option<Self> {
        let message = serde_json::from_slice::<Self>(body).ok()?;
        // Some readers of JSON take a member whose name differs in its capitals.
        let is_like = |name: &String| SIGNED.iter().any(|signed| signed.eq_ignore_ascii_case(name));
        (!message.others.keys().any(is_like)).then_some(message)
    }

    /// The text that is signed; none if a member is missing, or could be read as several.
    fn signed(&self) -> Option<String> {
        let (kind, subject) = (self.r#type.as_str(), self.subject.as_deref());
        let (subject, subscribe_url, token) = match kind {
            "Notification" => (subject, None, None),
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => {
                (None, Some(self.subscribe_url.as_deref()?), Some(self.token.as_deref()?))
            }
            _ => return None,
        };
        let values = [
            Some(self.message.as_str()),
            Some(self.message_id.as_str()),
            subject,
            subscribe_url,
            Some(self.timestamp.as_str()),
            token,
            Some(self.topic_arn.as_str()),
            Some(kind),
        ];
        // A line break in any but the first would let a part of one member pass for another.
        if values.iter().skip(1).flatten().any(|value| value.chars().any(char::is_control)) {
            return None;
        }
        let lines = SIGNED.iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
        Some(lines.map(|(name, value)| format!("{name}\n{value}\n")).collect())
    }

    fn certificate(&self) -> Option<Url> {
        // Other paths of the host are the API, which answers what its callers have written.
        let url = self.url(&self.signing_cert_url)?;
        let name = url.path().strip_prefix("/SimpleNotificationService-")?.strip_suffix(".pem")?;
        (is_file_name(name) && url.query().is_none()).then_some(url)
    }

    /// The URL, if it is one of Amazon SNS in the region of the topic.
    fn url(&self, text: &str) -> Option<Url> {
        let mut parts = self.topic_arn.split(':').skip(1);
        let (partition, region) = (parts.next()?, parts.nth(1)?);
        let is_region = region.len() >= 3
            && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let end = if partition == "aws-cn" { ".cn" } else { "" };
        pinned(text, |host| is_region && host == format!("sns.{region}.amazonaws.com{end}"))
    }
}

/// Whether a certificate of this name signs messages, such as `sns.amazonaws.com`,
/// `sns-signing.eu-south-1.amazonaws.com` and `sns-cn-north-1.amazonaws.com.cn` (AWS SDK for Java 2,
/// `SnsHostProvider`).
pub(super) fn is_signer(name: &str) -> bool {
    let name = name.strip_suffix(".cn").unwrap_or(name);
    (name.starts_with("sns.") || name.starts_with("sns-")) && name.ends_with(".amazonaws.com")
}
