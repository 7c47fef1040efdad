//! Handshakes: requests by which a sender checks an endpoint, and that are answered without storing anything.
//!
//! They are no oracle for signatures: a value that is echoed or signed has a strict shape, and a text of that shape is
//! not verified by its HMAC if a handshake answers that HMAC to every client.

mod problems;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;

use super::hex;
use super::json::{Document, Pointer};
use super::place::{List, Place};
use super::request::{HeaderName, Request};
use super::rules::Rules;
use super::scheme::{Encoding, Hash};
use super::senders::{self, Visit};
use super::settings::Success;
use crate::domain::secret::Secret;
use crate::domain::verdict::Verdict;

/// The longest value that is echoed or signed, in characters.
const MAX_VALUE_CHARS: usize = 1024;

/// The longest body of a handshake that shows a token, in bytes.
const MAX_SHOWN_BYTES: usize = 4096;

/// The longest number that is echoed, in characters.
const MAX_DIGITS: usize = 64;

/// The statuses of answers that cannot have a body (RFC 9110).
pub(super) const WITHOUT_BODY: [u16; 2] = [204, 205];

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The status, 200 to 299.
    pub status: u16,
    /// The value of `Content-Type`; none without a body.
    pub content_type: Option<String>,
    /// Other headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The URL to visit before the handshake is answered. If that fails, the sender has to try again.
    pub visit: Option<Visit>,
    /// The token to show to operators, who enter it at the sender. It proves nothing.
    pub token: Option<Secret>,
}

/// A handshake as the settings describe it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HandshakeSettings {
    #[serde(default)]
    method: Method,
    #[serde(default)]
    when: Vec<Condition>,
    verified: Option<bool>,
    value: Option<Place>,
    #[serde(default)]
    shape: Shape,
    hmac: Option<HmacSettings>,
    visit: Option<VisitSettings>,
    /// The only member of the JSON object that is the body. Its value is shown to operators.
    show: Option<String>,
    #[serde(default)]
    answer: AnswerSettings,
}

/// The sender whose URL is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum VisitSettings {
    /// The one that confirms a subscription of Amazon SNS.
    AwsSns,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    #[default]
    Post,
    Get,
    Options,
}

/// What a request of the handshake has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    header: Option<List<HeaderName>>,
    json: Option<List<Pointer>>,
    form: Option<List<String>>,
    query: Option<List<String>>,
    equals: Option<String>,
    #[serde(default)]
    token: bool,
    present: Option<bool>,
}

/// The characters that a value may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    /// `A-Z`, `a-z`, `0-9` and `._~+/=-`.
    #[default]
    Token,
    /// Printable ASCII and spaces, without what HTML and JSON give a meaning.
    Text,
    /// `0-9`.
    Digits,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HmacSettings {
    algorithm: Hash,
    #[serde(default)]
    encoding: Encoding,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerSettings {
    status: Option<Success>,
    body: Option<String>,
    content_type: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// The answer to a request that is a handshake; none if it is not. `verdict` is what verifying the request found: one
/// that has to be signed, but is not, is no handshake. Of several that match, the first answers.
pub fn handshake(request: &Request<'_>, verdict: Verdict, rules: &Rules) -> Option<HandshakeAnswer> {
    let document = Document::new(request.body);
    rules.handshakes.iter().find_map(|handshake| {
        (handshake.is_by(request.method)
            && handshake.is_allowed(verdict)
            && handshake.matches(request, &document, rules.verify_token.as_ref()))
        .then(|| handshake.answer(request, &document, rules.secrets.first()))
        .flatten()
    })
}

/// Whether a handshake by the method of a request needs `verify_token`, and the request does not have it.
pub fn lacks_token(request: &Request<'_>, rules: &Rules) -> bool {
    let (document, token) = (Document::new(request.body), rules.verify_token.as_ref());
    let handshakes = rules.handshakes.iter().filter(|handshake| handshake.is_by(request.method));
    let mut conditions = handshakes.flat_map(|handshake| &handshake.when);
    conditions.any(|condition| condition.token && !condition.holds(request, &document, token))
}

impl HandshakeSettings {
    /// Whether a condition compares with `verify_token`.
    pub(super) fn takes_token(&self) -> bool {
        self.when.iter().any(|condition| condition.token)
    }

    /// Whether the answer has an HMAC.
    pub(super) fn signs(&self) -> bool {
        self.hmac.is_some()
    }

    /// Whether operators are shown a token.
    pub(super) fn shows_token(&self) -> bool {
        self.show.is_some()
    }

    /// Whether the HMAC of a text is answered to requests that are not verified.
    pub(super) fn signs_unverified(&self, text: &[u8]) -> bool {
        self.signs()
            && !self.has_to_be_verified()
            && std::str::from_utf8(text).is_ok_and(|text| self.shape.admits(text))
    }

    /// Whether the handshake comes by this method. What comes by GET may come by HEAD.
    pub(super) fn is_by(&self, method: &str) -> bool {
        match self.method {
            Method::Post => method == "POST",
            Method::Get => matches!(method, "GET" | "HEAD"),
            Method::Options => method == "OPTIONS",
        }
    }

    /// The body of the answer with its placeholders.
    fn body_template(&self) -> &str {
        let default = if self.value.is_some() { "{value}" } else { "" };
        self.answer.body.as_deref().unwrap_or(default)
    }

    /// Whether the request has to be verified. Unless the settings say it, a POST has to be.
    fn has_to_be_verified(&self) -> bool {
        self.verified.unwrap_or(self.method == Method::Post)
    }

    /// Whether the request is verified, if it has to be. What a source that verifies nothing takes is never visited.
    fn is_allowed(&self, verdict: Verdict) -> bool {
        if self.visit.is_some() && verdict != Verdict::Verified {
            return false;
        }
        !(self.has_to_be_verified() && matches!(verdict, Verdict::Unverified(_)))
    }

    fn matches(&self, request: &Request<'_>, document: &Document<'_>, token: Option<&Secret>) -> bool {
        self.when.iter().all(|condition| condition.holds(request, document, token))
    }

    fn answer(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        secret: Option<&Secret>,
    ) -> Option<HandshakeAnswer> {
        let value = match &self.value {
            None => String::new(),
            Some(place) => place.find(request, document).filter(|value| self.shape.admits(value))?,
        };
        let signature = match self.hmac {
            None => String::new(),
            Some(HmacSettings { algorithm, encoding }) => {
                let key = hmac::Key::new(algorithm.hmac(), secret?.expose().as_bytes());
                let tag = hmac::sign(&key, value.as_bytes());
                match encoding {
                    Encoding::Hex => hex::encode(tag.as_ref()),
                    Encoding::Base64 => STANDARD.encode(tag),
                    Encoding::Base64Url => URL_SAFE_NO_PAD.encode(tag),
                }
            }
        };
        let visit = match self.visit {
            None => None,
            Some(VisitSettings::AwsSns) => Some(senders::subscription(request.body)?),
        };
        let token = match &self.show {
            None => None,
            Some(name) => Some(only_member(request.body, name).filter(|token| self.shape.admits(token))?),
        };
        let filled = |text: &str| text.replace("{value}", &value).replace("{hmac}", &signature);
        let AnswerSettings { status, content_type, headers, .. } = &self.answer;
        let body = filled(self.body_template());
        let content_type = content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
        Some(HandshakeAnswer {
            status: status.map_or(200, |status| status.0),
            content_type: (!body.is_empty()).then(|| content_type.to_owned()),
            headers: headers.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
            body,
            visit,
            token: token.map(Secret::from),
        })
    }
}

impl Condition {
    /// Where the condition looks; none if it does not say it. Errors: what is wrong with the place.
    fn place(&self) -> Result<Option<Place>, &'static str> {
        let Self { header, json, form, query, .. } = self.clone();
        Place::only(header, json, form, query)
    }

    fn holds(&self, request: &Request<'_>, document: &Document<'_>, token: Option<&Secret>) -> bool {
        let Ok(Some(place)) = self.place() else { return false };
        if let Some(present) = self.present {
            return place.is_there(request, document) == present;
        }
        match (place.find(request, document), &self.equals) {
            (Some(found), Some(text)) => found == *text,
            (Some(found), None) => token.is_some_and(|token| Secret::from(found).is_same(token)),
            (None, _) => false,
        }
    }
}

impl Shape {
    fn admits(self, value: &str) -> bool {
        let is_allowed: fn(u8) -> bool = match self {
            Self::Token => |byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte),
            Self::Text => |byte| (b' '..=b'~').contains(&byte) && !b"\"\\<>&'".contains(&byte),
            Self::Digits => |byte| byte.is_ascii_digit(),
        };
        let most = if self == Self::Digits { MAX_DIGITS } else { MAX_VALUE_CHARS };
        !value.is_empty() && value.len() <= most && value.bytes().all(is_allowed)
    }
}

/// The text of the only member of a JSON object; none if the body is anything else, or the member has another name.
fn only_member(body: &[u8], name: &str) -> Option<String> {
    let body = Some(body).filter(|body| body.len() <= MAX_SHOWN_BYTES)?;
    let mut members = serde_json::from_slice::<BTreeMap<String, String>>(body).ok()?;
    members.remove(name).filter(|_| members.is_empty())
}

#[cfg(test)]
mod tests;
