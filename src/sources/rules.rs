//! The rules of a source, compiled from its settings and its keys.

use std::time::Duration;

use super::accepted::Accepted;
use super::handshake::{HandshakeSettings, WITHOUT_BODY};
use super::keys::Keys;
use super::part::Part;
use super::place::List;
use super::request::HeaderName;
use super::scheme::Scheme;
use super::scheme_settings::SchemeSettings;
use super::settings::{AnswerSettings, OnUnverified, Settings, Verify};
use super::split::Split;
use crate::domain::conflict::OnConflict;
use crate::domain::route::Rate;
use crate::domain::secret::Secret;

/// The rules by which the requests of a source are verified, read and answered.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What the source is, for people; empty if none is given.
    pub description: String,
    /// None if the source verifies nothing.
    pub(super) schemes: Option<Vec<Scheme>>,
    /// The headers that can prove who sent a request, also by schemes without keys.
    proving: Vec<String>,
    pub(super) key: Vec<Part>,
    pub(super) event_type: Vec<Part>,
    pub(super) split: Option<Split>,
    pub(super) handshakes: Vec<HandshakeSettings>,
    pub(super) secrets: Vec<Secret>,
    pub(super) verify_token: Option<Secret>,
    /// What a webhook is answered whose key is taken by one with another body.
    pub on_conflict: OnConflict,
    /// What becomes of a request that is not verified.
    pub on_unverified: OnUnverified,
    /// How many webhooks the source may send; none if the source sets no limit.
    pub rate_limit: Option<Rate>,
    /// After which time without a request the source counts as silent; none if it may be silent.
    pub silent_after: Option<Duration>,
    /// What the sender is answered.
    pub answers: Answers,
    /// How long the sender waits for an answer; none if that is not known.
    pub deadline: Option<Duration>,
    /// Whether the page hides payloads of the source until they are asked for.
    pub is_sensitive: bool,
}

/// What the sender of a source is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The status for what is accepted, 200 to 299; none for that of the API.
    pub accepted: Option<u16>,
    /// The body for what is accepted; none for that of the API.
    pub body: Option<String>,
    /// The content type of this body; text that a header can have.
    pub content_type: String,
    /// The status that asks the sender to try again: 503 or 429.
    pub overload: u16,
}

/// A mistake in the settings or keys of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The member that has the mistake, or that is missing.
    pub member: &'static str,
    /// The item of the member, if it is a list.
    pub at: Option<usize>,
    /// What is wrong and what to write; for `secrets`, `public_keys` and `verify_token` with an item, continues "it
    /// must be ...".
    pub text: String,
}

impl Mistake {
    pub(super) fn new(member: &'static str, text: impl Into<String>) -> Self {
        Self { member, at: None, text: text.into() }
    }
}

impl Rules {
    /// Compiles rules. `has_public_url` is whether the setting `public_url` is set. Errors: every mistake.
    pub fn new(settings: Settings, keys: Keys, has_public_url: bool) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = missing(&settings, &keys, has_public_url);
        let schemes = schemes(&settings, &keys, &mut mistakes);
        for (at, handshake) in settings.handshakes().iter().enumerate() {
            if let Some(problem) = handshake.problem() {
                mistakes.push(Mistake { at: Some(at), ..Mistake::new("handshakes", problem) });
            }
        }
        mistakes.extend(useless(&settings));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let description = settings.description().to_owned();
        let proving = proving_headers(&settings, schemes.as_deref().unwrap_or_default());
        let AnswerSettings { accepted, body, content_type, overload } = settings.answer.unwrap_or_default();
        Ok(Self {
            description,
            schemes,
            proving,
            key: settings.key.map(|List(parts)| parts).unwrap_or_default(),
            event_type: settings.event_type.map(|List(parts)| parts).unwrap_or_default(),
            split: settings.split,
            handshakes: settings.handshakes.unwrap_or_default(),
            secrets: keys.secrets,
            verify_token: keys.verify_token,
            on_conflict: settings.on_conflict.unwrap_or_default(),
            on_unverified: settings.unverified.unwrap_or_default(),
            rate_limit: settings.rate_limit.map(|rate| rate.0),
            silent_after: settings.silent_after.map(|time| time.0),
            answers: Answers {
                accepted: accepted.map(|status| status.0),
                body,
                content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
                overload: overload.map_or(503, |status| status.0),
            },
            deadline: settings.deadline.map(|deadline| deadline.0),
            is_sensitive: settings.sensitive.unwrap_or_default(),
        })
    }

    /// Whether requests are verified.
    pub fn verifies(&self) -> bool {
        self.schemes.is_some()
    }

    /// Whether a request by this method can be a handshake.
    pub fn takes_handshake(&self, method: &str) -> bool {
        self.handshakes.iter().any(|handshake| handshake.is_by(method))
    }

    /// Whether a handshake answers the HMAC of a text to requests that are not verified.
    pub(super) fn signs_unverified(&self, text: &[u8]) -> bool {
        self.handshakes.iter().any(|handshake| handshake.signs_unverified(text))
    }

    /// Whether every scheme proves the whole body, and not only who sent it.
    pub fn covers_body(&self) -> bool {
        self.schemes.iter().flatten().all(Scheme::covers_body)
    }

    /// The names of the headers that prove who sent a request, besides `Authorization`. Their values are not to be
    /// stored.
    pub fn proving_headers(&self) -> impl Iterator<Item = &str> {
        self.proving.iter().map(String::as_str)
    }

    /// The names of the headers with the time at which a request was signed.
    pub fn timestamp_headers(&self) -> impl Iterator<Item = &str> {
        self.schemes.iter().flatten().flat_map(Scheme::timestamp_headers)
    }
}

/// The members that are missing.
fn missing(settings: &Settings, keys: &Keys, has_public_url: bool) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if settings.verify.is_none() {
        let text = "it is missing; write how requests are verified, name a `preset` that says it, or write verify = \"none\"";
        mistakes.push(Mistake::new("verify", text));
    }
    if settings.key.is_none() {
        let text = "it is missing; write where the unique name of a webhook is, such as key = { json = \"/id\" }, or key = \"body\"";
        mistakes.push(Mistake::new("key", text));
    }
    let needs = settings.needs();
    let takes = |member| needs.contains(&member);
    let has_keys = (takes("secrets") && !keys.secrets.is_empty())
        || (takes("public_keys") && !keys.public_keys.is_empty())
        || settings.schemes().is_empty()
        || settings.schemes().iter().any(|scheme| scheme.takes().is_none());
    if !has_keys && takes("secrets") {
        let text = "it is missing; write the secret that the sender shows, such as secrets = [\"env:NAME\"]";
        mistakes.push(Mistake::new("secrets", text));
    } else if !has_keys {
        let text = "it is missing; write the public key that the sender shows, such as public_keys = [\"file:key.pem\"]";
        mistakes.push(Mistake::new("public_keys", text));
    }
    if settings.signs_handshakes() && keys.secrets.is_empty() && has_keys {
        let text = "it is missing; a handshake is answered with an HMAC, which needs it";
        mistakes.push(Mistake::new("secrets", text));
    }
    if takes("verify_token") && keys.verify_token.is_none() {
        let text = "it is missing; write the text that you entered at the sender, such as verify_token = \"env:NAME\"";
        mistakes.push(Mistake::new("verify_token", text));
    }
    if takes("public_url") && !has_public_url {
        let text = "the sender signs the URL to which it sends; set `public_url` at the top of the file to the URL that senders see";
        mistakes.push(Mistake::new("verify", text));
    }
    mistakes
}

/// Members that cannot do what they say.
fn useless(settings: &Settings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let key = settings.key.as_ref().map_or(&[][..], |List(parts)| parts.as_slice());
    if settings.split.is_some() && !key.is_empty() && !key.iter().any(Part::is_of_item) {
        let text = "every item of a batch would have the same key, and all but one would count as duplicates; add a part of the item, such as { json = \"/id\" } or \"body\"";
        mistakes.push(Mistake::new("key", text));
    }
    if settings.unverified == Some(OnUnverified::Quarantine)
        && matches!(settings.verify, Some(Verify::Nothing))
    {
        let text =
            "the source verifies nothing, so nothing would be quarantined; add a `verify`, or remove this";
        mistakes.push(Mistake::new("unverified", text));
    }
    if let Some(answer) = &settings.answer {
        let has_no_body = answer.accepted.is_some_and(|status| WITHOUT_BODY.contains(&status.0));
        if has_no_body && answer.body.as_ref().is_some_and(|body| !body.is_empty()) {
            let text = "an answer with this status has no body; write body = \"\", or another status";
            mistakes.push(Mistake::new("answer", text));
        }
        let is_wrong = |text: &String| text.is_empty() || text.contains(char::is_control);
        if answer.content_type.as_ref().is_some_and(is_wrong) {
            let text = "`content_type` must be a media type, such as \"application/json\"";
            mistakes.push(Mistake::new("answer", text));
        }
    }
    mistakes
}

/// The headers of all schemes of the settings, and of those that are code.
fn proving_headers(settings: &Settings, schemes: &[Scheme]) -> Vec<String> {
    let described = settings.schemes().iter().flat_map(SchemeSettings::headers).map(HeaderName::as_str);
    let mut proving = described.map(str::to_owned).collect::<Vec<_>>();
    for name in schemes.iter().flat_map(Scheme::proving_headers) {
        if !proving.iter().any(|known| known == name) {
            proving.push(name.to_owned());
        }
    }
    proving
}

/// Compiles the schemes for which there are keys.
fn schemes(settings: &Settings, keys: &Keys, mistakes: &mut Vec<Mistake>) -> Option<Vec<Scheme>> {
    let mut accepted = Accepted::new(keys);
    let mut found = Vec::new();
    let (is_list, mut is_good) = (settings.schemes().len() > 1, settings.verify.is_some());
    for (at, scheme) in settings.schemes().iter().enumerate() {
        match scheme.compile(keys, &mut accepted) {
            Ok(scheme) => found.extend(scheme),
            Err(wrong) => {
                is_good = false;
                mistakes.extend(
                    wrong.into_iter().map(|mistake| Mistake { at: is_list.then_some(at), ..mistake }),
                );
            }
        }
    }
    let signs = settings.signs_handshakes();
    // A mistake in a scheme may be the reason why it does not use a key.
    if is_good {
        let unused = accepted.mistakes().into_iter();
        mistakes.extend(unused.filter(|mistake| !(signs && found.is_empty() && mistake.member == "secrets")));
    }
    matches!(settings.verify, Some(Verify::Schemes(_))).then_some(found)
}
