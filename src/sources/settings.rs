//! What `hookbox.toml` and the presets say about a source, as one type.

mod values;

use std::fmt;

use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

pub(super) use self::values::{AnswerSettings, Span, Success};
use self::values::{ContentTypeText, RateText, SilentAfter};
use super::handshake::HandshakeSettings;
use super::part::Part;
use super::place::List;
use super::scheme_settings::{KeysFrom, SchemeSettings};
use super::split::Split;
use crate::domain::conflict::OnConflict;

/// The members of a source, as far as they are set. Those with keys are not part of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub(super) description: Option<String>,
    pub(super) verify: Option<Verify>,
    pub(super) key: Option<List<Part>>,
    pub(super) event_type: Option<List<Part>>,
    pub(super) content_type: Option<ContentTypeText>,
    pub(super) split: Option<Split>,
    pub(super) handshakes: Option<Vec<HandshakeSettings>>,
    pub(super) on_conflict: Option<OnConflict>,
    pub(super) unverified: Option<OnUnverified>,
    pub(super) probes: Option<bool>,
    pub(super) rate_limit: Option<RateText>,
    pub(super) silent_after: Option<SilentAfter>,
    pub(super) answer: Option<AnswerSettings>,
    pub(super) deadline: Option<Span>,
    pub(super) sensitive: Option<bool>,
}

/// What becomes of a request that is not verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnverified {
    /// It is refused.
    #[default]
    Reject,
    /// It is stored without jobs, until an operator releases or discards it.
    Quarantine,
}

impl OnUnverified {
    /// The word of the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Quarantine => "quarantine",
        }
    }
}

/// How requests are verified.
#[derive(Clone, Debug)]
pub(super) enum Verify {
    /// The source verifies nothing.
    Nothing,
    /// Any of the schemes verifies a request. Never empty.
    Schemes(Vec<SchemeSettings>),
}

impl Settings {
    /// The names of all members that [`set`](Self::set) knows.
    pub const MEMBERS: [&'static str; 15] = [
        "description",
        "verify",
        "key",
        "event_type",
        "content_type",
        "split",
        "handshakes",
        "on_conflict",
        "unverified",
        "probes",
        "rate_limit",
        "silent_after",
        "answer",
        "deadline",
        "sensitive",
    ];

    /// Sets a member. Errors: the value is wrong, or there is no such member.
    pub fn set<'de, D: Deserializer<'de>>(&mut self, member: &str, value: D) -> Result<(), D::Error> {
        match member {
            "description" => self.description = some(value)?,
            "verify" => self.verify = some(value)?,
            "key" => self.key = some(value)?,
            "event_type" => self.event_type = some(value)?,
            "content_type" => self.content_type = some(value)?,
            "split" => self.split = some(value)?,
            "handshakes" => self.handshakes = some(value)?,
            "on_conflict" => self.on_conflict = some(value)?,
            "unverified" => self.unverified = some(value)?,
            "probes" => self.probes = some(value)?,
            "rate_limit" => self.rate_limit = some(value)?,
            "silent_after" => self.silent_after = some(value)?,
            "answer" => self.answer = some(value)?,
            "deadline" => self.deadline = some(value)?,
            "sensitive" => self.sensitive = some(value)?,
            _ => return Err(D::Error::custom(format_args!("`{member}` is not known"))),
        }
        Ok(())
    }

    /// These settings, and those of a preset where these do not set a member. A `verify` that names no algorithm
    /// changes the schemes of the preset.
    pub fn over(self, preset: &Self) -> Self {
        let preset = preset.clone();
        let verify = match (self.verify, preset.verify) {
            (Some(Verify::Schemes(own)), Some(Verify::Schemes(schemes)))
                if own.len() == 1 && !own[0].is_whole() =>
            {
                Some(Verify::Schemes(SchemeSettings::overridden(&schemes, &own[0])))
            }
            (own, preset) => own.or(preset),
        };
        Self {
            description: self.description.or(preset.description),
            verify,
            key: self.key.or(preset.key),
            event_type: self.event_type.or(preset.event_type),
            content_type: self.content_type.or(preset.content_type),
            split: self.split.or(preset.split),
            handshakes: self.handshakes.or(preset.handshakes),
            on_conflict: self.on_conflict.or(preset.on_conflict),
            unverified: self.unverified.or(preset.unverified),
            probes: self.probes.or(preset.probes),
            rate_limit: self.rate_limit.or(preset.rate_limit),
            silent_after: self.silent_after.or(preset.silent_after),
            answer: self.answer.or(preset.answer),
            deadline: self.deadline.or(preset.deadline),
            sensitive: self.sensitive.or(preset.sensitive),
        }
    }

    /// These settings without what is not known because of members that could not be read. The preset is one of these if
    /// it is not known; a `verify` that only changes it means nothing then.
    pub(super) fn without(mut self, unread: &[&str]) -> Self {
        let is_unread = |member| unread.contains(&member);
        let is_own = self.schemes().iter().all(SchemeSettings::is_whole);
        if is_unread("verify") || (is_unread("preset") && !is_own) {
            self.verify = None;
        }
        if is_unread("key") {
            self.key = None;
        }
        if is_unread("split") {
            self.split = None;
        }
        if is_unread("handshakes") {
            self.handshakes = None;
        }
        self
    }

    /// What the source is, for people; empty if none is given.
    pub fn description(&self) -> &str {
        self.description.as_deref().unwrap_or_default()
    }

    /// The members that the operator has to set besides: `secrets`, `public_keys` and `verify_token` of the source,
    /// members of `verify` (such as `verify.topics`), and the setting `public_url`. Of several schemes, one alone needs
    /// its keys.
    pub fn needs(&self) -> Vec<&'static str> {
        let schemes = self.schemes();
        let takes = |keys| schemes.iter().any(|scheme| scheme.takes() == Some(keys));
        let takes_secrets = takes(KeysFrom::Secrets) || self.signs_handshakes();
        let takes_public_keys = takes(KeysFrom::PublicKeys);
        let takes_token = self.handshakes().iter().any(HandshakeSettings::takes_token);
        let needs = [
            ("secrets", takes_secrets),
            ("public_keys", takes_public_keys),
            ("verify_token", takes_token),
            ("public_url", schemes.iter().any(SchemeSettings::needs_public_url)),
        ];
        let needs = needs.into_iter().filter(|(_, is_needed)| *is_needed).map(|(name, _)| name);
        let mut needs = needs.collect::<Vec<_>>();
        for member in schemes.iter().flat_map(SchemeSettings::lacks) {
            if !needs.contains(&member) {
                needs.push(member);
            }
        }
        needs
    }

    /// Whether `secrets` and `public_keys` are for different schemes, so that one of both is enough.
    pub fn takes_either_key(&self) -> bool {
        let takes = |keys| self.schemes().iter().any(|scheme| scheme.takes() == Some(keys));
        takes(KeysFrom::Secrets) && takes(KeysFrom::PublicKeys) && !self.signs_handshakes()
    }

    /// Whether the sender sends JSON Web Tokens, which can be for an audience.
    pub fn sends_jwt(&self) -> bool {
        self.schemes().iter().any(SchemeSettings::is_jwt)
    }

    /// Whether a scheme of `verify` can have a member of this name. One that belongs to schemes of senders counts only if
    /// a scheme here takes it.
    pub fn can_have_in_verify(&self, name: &str) -> bool {
        SchemeSettings::can_have(self.schemes(), name)
    }

    pub(super) fn schemes(&self) -> &[SchemeSettings] {
        match &self.verify {
            Some(Verify::Schemes(schemes)) => schemes,
            Some(Verify::Nothing) | None => &[],
        }
    }

    pub(super) fn handshakes(&self) -> &[HandshakeSettings] {
        self.handshakes.as_deref().unwrap_or_default()
    }

    /// Whether a handshake brings a token that becomes a secret, so that the source can begin without.
    pub fn shows_token(&self) -> bool {
        self.handshakes().iter().any(HandshakeSettings::shows_token)
    }

    /// Whether a handshake is answered with an HMAC, and so needs a secret.
    pub(super) fn signs_handshakes(&self) -> bool {
        self.handshakes().iter().any(HandshakeSettings::signs)
    }
}

fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(VerifyVisitor)
    }
}

struct VerifyVisitor;

impl<'de> Visitor<'de> for VerifyVisitor {
    type Value = Verify;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"none\", or a table such as { hmac = \"sha256\", header = \"X-Signature\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Verify, E> {
        if text == "none" {
            Ok(Verify::Nothing)
        } else {
            Err(E::custom(format_args!(
                "{text:?} must be \"none\", or a table that says how requests are verified"
            )))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verify, A::Error> {
        Ok(Verify::Schemes(vec![SchemeSettings::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Verify, A::Error> {
        let schemes = Vec::<SchemeSettings>::deserialize(SeqAccessDeserializer::new(items))?;
        if schemes.is_empty() {
            return Err(A::Error::custom(
                "an empty array verifies nothing; write \"none\" if that is intended",
            ));
        }
        Ok(Verify::Schemes(schemes))
    }
}
