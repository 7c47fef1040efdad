//! The rules of a source, compiled from its settings and its keys.

use std::time::Duration;

use super::accepted::Accepted;
use super::handshake::HandshakeSettings;
use super::json::Document;
use super::keys::Keys;
use super::mistakes::{missing, useless};
use super::part::Part;
use super::place::List;
use super::request::{HeaderName, Request};
use super::scheme::Scheme;
use super::scheme_settings::{Forms, MissingKey, SchemeSettings};
use super::settings::{AnswerSettings, OnUnverified, Settings, Verify};
use super::split::Split;
use crate::domain::conflict::OnConflict;
use crate::domain::content_type::ContentType;
use crate::domain::route::Rate;
use crate::domain::secret::Secret;

/// The rules by which the requests of a source are verified, read and answered.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What the source is, for people; empty if none is given.
    pub description: String,
    /// None if the source verifies nothing.
    pub(super) schemes: Option<Vec<Scheme>>,
    /// What tells the requests of the schemes apart, also of those without a key.
    forms: Forms,
    /// The headers that can prove who sent a request, also by schemes without keys.
    proving: Vec<String>,
    pub(super) key: Vec<Part>,
    pub(super) event_type: Vec<Part>,
    pub(super) split: Option<Split>,
    pub(super) handshakes: Vec<HandshakeSettings>,
    pub(super) secrets: Vec<Secret>,
    pub(super) verify_token: Option<Secret>,
    /// What the bodies are, whatever their requests say; none if each request says it.
    pub content_type: Option<ContentType>,
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
    /// The content type of the bodies that the source sets; text that a header can have.
    pub content_type: String,
    /// The status that asks the sender to try again: 503 or 429.
    pub overload: u16,
    /// The body for what is refused, which can be empty; none for a problem document.
    pub refused_body: Option<String>,
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
        let (schemes, forms, mistakes) = checked(&settings, &keys, has_public_url, &[]);
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let description = settings.description().to_owned();
        let proving = proving_headers(&settings, schemes.as_deref().unwrap_or_default());
        let AnswerSettings { accepted, body, content_type, overload, refused_body } =
            settings.answer.unwrap_or_default();
        Ok(Self {
            description,
            schemes,
            forms,
            proving,
            key: settings.key.map(|List(parts)| parts).unwrap_or_default(),
            event_type: settings.event_type.map(|List(parts)| parts).unwrap_or_default(),
            split: settings.split,
            handshakes: settings.handshakes.unwrap_or_default(),
            secrets: keys.secrets,
            verify_token: keys.verify_token,
            content_type: settings.content_type.map(|content_type| content_type.0),
            on_conflict: settings.on_conflict.unwrap_or_default(),
            on_unverified: settings.unverified.unwrap_or_default(),
            rate_limit: settings.rate_limit.map(|rate| rate.0),
            silent_after: settings.silent_after.map(|time| time.0),
            answers: Answers {
                accepted: accepted.map(|status| status.0),
                body,
                content_type: content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()),
                overload: overload.map_or(503, |status| status.0),
                refused_body,
            },
            deadline: settings.deadline.map(|deadline| deadline.0),
            is_sensitive: settings.sensitive.unwrap_or_default(),
        })
    }

    /// The mistakes in settings that could not be read as a whole. `unread` are the members that have mistakes of their own,
    /// `preset` among them if the preset is not known: nothing is said about what depends on them. Of `secrets` and
    /// `public_keys`, `keys` has those that could be read.
    pub fn mistakes(settings: Settings, keys: &Keys, has_public_url: bool, unread: &[&str]) -> Vec<Mistake> {
        let (_, _, mistakes) = checked(&settings.without(unread), keys, has_public_url, unread);
        mistakes
    }

    /// Whether requests are verified.
    pub fn verifies(&self) -> bool {
        self.schemes.is_some()
    }

    /// The authentication scheme that the 401 to a request that is not verified names: one of HTTP that the source takes,
    /// or `Signature` if it takes none of them.
    pub fn challenge(&self) -> &'static str {
        self.schemes.iter().flatten().find_map(Scheme::of_http).unwrap_or("Signature")
    }

    /// Whether a request by this method can be a handshake.
    pub fn takes_handshake(&self, method: &str) -> bool {
        self.handshakes.iter().any(|handshake| handshake.is_by(method))
    }

    /// Whether a handshake by this method needs the `verify_token`.
    pub fn handshake_takes_token(&self, method: &str) -> bool {
        self.handshakes.iter().any(|handshake| handshake.is_by(method) && handshake.takes_token())
    }

    /// The key that the settings lack to verify a request; none if they have one for its signature, or the key is fetched.
    pub fn missing_key(&self, request: &Request<'_>) -> Option<MissingKey> {
        let has_schemes = self.schemes.iter().flatten().next().is_some();
        self.forms.missing_key(request, &Document::new(request.body), has_schemes)
    }

    /// Whether this is one of the secrets.
    pub fn has_secret(&self, secret: &Secret) -> bool {
        self.secrets.iter().any(|known| known.is_same(secret))
    }

    /// Whether a handshake answers the HMAC of a text to requests that are not verified.
    pub(super) fn signs_unverified(&self, text: &[u8]) -> bool {
        self.handshakes.iter().any(|handshake| handshake.signs_unverified(text))
    }

    /// The value of a request that comes with one idempotency key only, and for how long its signature can still count; none
    /// if no scheme that verifies the request has such a value. The values of other schemes are not signed.
    pub fn once(&self, request: &Request<'_>) -> Option<(String, Duration)> {
        let document = Document::new(request.body);
        self.schemes.iter().flatten().find_map(|scheme| {
            let Scheme::Described(scheme) = scheme else { return None };
            let place = scheme.once.as_ref()?;
            // Any sender can have written the value of a scheme that does not verify the request.
            scheme.verify(request, &document, self).ok()?;
            let value = place.find(request, &document)?;
            // The time of the signature can be this far ahead, and then counts for as long again.
            Some((value, scheme.tolerance.unsigned_abs().saturating_mul(2)))
        })
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
}

/// The schemes for which there are keys, the forms of all, and every mistake.
fn checked(
    settings: &Settings,
    keys: &Keys,
    has_public_url: bool,
    unread: &[&str],
) -> (Option<Vec<Scheme>>, Forms, Vec<Mistake>) {
    let mut mistakes = missing(settings, keys, has_public_url, unread);
    let (schemes, forms) = schemes(settings, keys, &mut mistakes);
    for (at, handshake) in settings.handshakes().iter().enumerate() {
        let problems = handshake.problems().into_iter();
        mistakes
            .extend(problems.map(|problem| Mistake { at: Some(at), ..Mistake::new("handshakes", problem) }));
    }
    mistakes.extend(useless(settings));
    (schemes, forms, mistakes)
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

/// Compiles the schemes for which there are keys. The forms are those of all schemes.
fn schemes(settings: &Settings, keys: &Keys, mistakes: &mut Vec<Mistake>) -> (Option<Vec<Scheme>>, Forms) {
    let mut accepted = Accepted::new(keys);
    let (mut found, mut forms) = (Vec::new(), Forms::default());
    let (is_list, mut is_good) = (settings.schemes().len() > 1, settings.verify.is_some());
    for (at, scheme) in settings.schemes().iter().enumerate() {
        match scheme.compile(keys, &mut accepted) {
            Ok(compiled) => {
                let takes = if compiled.is_some() { None } else { scheme.takes() };
                if let Some(form) = scheme.form() {
                    forms.add(form, takes);
                }
                found.extend(compiled);
            }
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
    (matches!(settings.verify, Some(Verify::Schemes(_))).then_some(found), forms)
}
