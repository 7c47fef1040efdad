//! Handshakes: requests by which a sender checks an endpoint, and that are answered without storing anything.
//!
//! They are no oracle for signatures: a value that is echoed or signed has a strict shape, and a text of that shape is
//! not verified by its HMAC if a handshake answers that HMAC to every client.

mod condition;
mod problems;
mod shape;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;

use self::condition::Condition;
use self::shape::Shape;
use super::hex;
use super::json::Document;
use super::missing::unread;
use super::place::Place;
use super::request::Request;
use super::rules::Rules;
use super::scheme::{Encoding, Hash};
use super::senders::{self, Visit};
use super::settings::Success;
use crate::domain::secret::Secret;
use crate::domain::verdict::Verdict;

/// The longest body of a handshake that shows a token, in bytes.
const MAX_SHOWN_BYTES: usize = 4096;

/// The statuses of answers that cannot have a body (RFC 9110).
pub(super) const WITHOUT_BODY: [u16; 2] = [204, 205];

/// A request that meets the conditions of a handshake. It is no webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It is answered so.
    Answered(HandshakeAnswer),
    /// It is not answered. The text says what is wrong, and has no full stop.
    Wrong(String),
}

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

/// What a request is as a handshake; none if it is no handshake. `verdict` is what verifying the request found: one that has
/// to be signed, but is not, is no handshake. Of several whose conditions it meets, the first that can answers.
pub fn handshake(request: &Request<'_>, verdict: Verdict, rules: &Rules) -> Option<Handshake> {
    let document = Document::new(request.body);
    let mut wrong = None;
    for handshake in &rules.handshakes {
        let is_one = handshake.is_by(request.method)
            && handshake.is_allowed(verdict)
            && handshake.matches(request, &document, rules.verify_token.as_ref());
        if is_one {
            match handshake.answer(request, &document, rules.secrets.first()) {
                Ok(answer) => return Some(Handshake::Answered(answer)),
                Err(problem) => wrong = wrong.or(Some(problem)),
            }
        }
    }
    wrong.map(Handshake::Wrong)
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

    /// Whether a request meets the conditions. If there are none, it is the value that makes it a handshake; a token that is
    /// shown always does.
    fn matches(&self, request: &Request<'_>, document: &Document<'_>, token: Option<&Secret>) -> bool {
        let has_value = || self.value.as_ref().is_none_or(|place| place.is_there(request, document));
        self.when.iter().all(|condition| condition.holds(request, document, token))
            && (!self.when.is_empty() || has_value())
            && self.show.as_ref().is_none_or(|name| only_member(request.body, name).is_some())
    }

    /// The answer to a request that meets the conditions. Errors: why there is none.
    fn answer(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        secret: Option<&Secret>,
    ) -> Result<HandshakeAnswer, String> {
        let value = match &self.value {
            None => String::new(),
            Some(place) => {
                let found = place.find(request, document);
                let value = found.ok_or_else(|| format!("{place} is missing{}", unread(place)))?;
                self.shaped(value).ok_or_else(|| format!("{place} does not have {}", self.shape))?
            }
        };
        let signature = match self.hmac {
            None => String::new(),
            Some(HmacSettings { algorithm, encoding }) => {
                let secret = secret.ok_or("the source has no secret with which to answer it")?;
                let key = hmac::Key::new(algorithm.hmac(), secret.expose().as_bytes());
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
            Some(VisitSettings::AwsSns) => {
                let visit = senders::subscription(request.body);
                Some(visit.ok_or("its `SubscribeURL` is not that of Amazon SNS for its topic and token")?)
            }
        };
        let token = match &self.show {
            None => None,
            Some(name) => {
                let token = only_member(request.body, name).and_then(|token| self.shaped(token));
                Some(token.ok_or_else(|| format!("the member `{name}` does not have {}", self.shape))?)
            }
        };
        let filled = |text: &str| text.replace("{value}", &value).replace("{hmac}", &signature);
        let AnswerSettings { status, content_type, headers, .. } = &self.answer;
        let body = filled(self.body_template());
        let content_type = content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
        Ok(HandshakeAnswer {
            status: status.map_or(200, |status| status.0),
            content_type: (!body.is_empty()).then(|| content_type.to_owned()),
            headers: headers.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
            body,
            visit,
            token: token.map(Secret::from),
        })
    }

    fn shaped(&self, value: String) -> Option<String> {
        Some(value).filter(|value| self.shape.admits(value))
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
