//! Schemes for which a source has no key. Their requests cannot be verified until the settings have one.

use std::fmt;

use super::{KeysFrom, SchemeSettings, Token};
use crate::sources::json::{Document, Pointer};
use crate::sources::place::Place;
use crate::sources::read::MAX_BATCH_ITEMS;
use crate::sources::request::Request;
use crate::sources::verify::{values, values_of_each};

/// Where the signatures of a scheme are, and how they begin: what tells its requests from those of other schemes.
#[derive(Clone, Debug)]
pub(in crate::sources) struct Form {
    place: Place,
    /// The array whose items all have one; none if the request has it.
    each: Option<Pointer>,
    separator: Option<String>,
    prefix: String,
    unless: Option<Place>,
}

/// The forms of the schemes of a source, but for those that are code.
#[derive(Clone, Debug, Default)]
pub(in crate::sources) struct Forms {
    /// Of those with a key.
    with_key: Vec<Form>,
    /// Of those without one, and which keys they take.
    keyless: Vec<(Form, KeysFrom)>,
}

/// A key that a source does not have.
#[derive(Clone, Debug)]
pub struct MissingKey {
    /// Where the signatures are that need it, for a person.
    pub signatures: String,
    /// The member that would have it.
    pub member: &'static str,
}

impl SchemeSettings {
    /// The form of the signatures; none if the scheme is code.
    pub(in crate::sources) fn form(&self) -> Option<Form> {
        let place = self.place().ok().filter(|_| self.scheme.is_none())?;
        let is_basic = self.token == Some(Token::Basic);
        let prefix = if is_basic { Some("Basic ".to_owned()) } else { self.prefix.clone() };
        Some(Form {
            place,
            each: self.each.clone(),
            separator: self.separator.clone(),
            prefix: prefix.unwrap_or_default(),
            unless: self.unless.clone(),
        })
    }
}

impl Forms {
    /// Adds the form of a scheme; `takes` is none if there is a key for it.
    pub(in crate::sources) fn add(&mut self, form: Form, takes: Option<KeysFrom>) {
        match takes {
            None => self.with_key.push(form),
            Some(takes) => self.keyless.push((form, takes)),
        }
    }

    /// The key that would be needed to verify a request: it has a signature of a scheme without a key, and none of a scheme
    /// with one. `has_schemes` is whether the source has any scheme with a key; if not, every request needs one.
    pub(in crate::sources) fn missing_key(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        has_schemes: bool,
    ) -> Option<MissingKey> {
        let is_in = |form: &Form| form.is_in(request, document);
        if self.keyless.is_empty() || self.with_key.iter().any(is_in) {
            return None;
        }
        let found = self.keyless.iter().find(|(form, _)| is_in(form));
        let (form, takes) = found.or_else(|| self.keyless.first().filter(|_| !has_schemes))?;
        let member = match takes {
            KeysFrom::Secrets => "secrets",
            KeysFrom::PublicKeys => "public_keys",
        };
        Some(MissingKey { signatures: form.to_string(), member })
    }
}

impl Form {
    /// Whether a request has a signature of this form.
    fn is_in(&self, request: &Request<'_>, document: &Document<'_>) -> bool {
        if self.unless.as_ref().is_some_and(|place| place.is_there(request, document)) {
            return false;
        }
        let values = match &self.each {
            Some(array) => values_of_each(&self.place, document, array, MAX_BATCH_ITEMS),
            None => values(&self.place, request, document),
        };
        values.is_ok_and(|values| values.iter().any(|value| self.is_of(value)))
    }

    /// Whether a value has a signature of this form.
    fn is_of(&self, value: &str) -> bool {
        let is_signature =
            |item: &str| item.strip_prefix(&*self.prefix).is_some_and(|signature| !signature.is_empty());
        match &self.separator {
            Some(separator) => value.split(separator.as_str()).map(str::trim).any(is_signature),
            None => is_signature(value),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)?;
        match self.prefix.trim_end() {
            "" => Ok(()),
            prefix => write!(f, " (`{prefix}`)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::secret::Secret;
    use crate::domain::verdict::{Cause, Verdict};
    use crate::sources::fixture::request;
    use crate::sources::{Keys, Presets, Rules, verify};

    const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ED25519: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    /// The rules of a preset with a secret or a public key.
    fn rules(preset: &str, secret: Option<&str>, public_key: Option<&str>) -> Rules {
        let settings = Presets::built_in().get(preset).expect(preset).settings.clone();
        let keys = Keys {
            secrets: secret.map(|secret| Secret::from(secret.to_owned())).into_iter().collect(),
            public_keys: public_key.map(ToOwned::to_owned).into_iter().collect(),
            verify_token: None,
        };
        Rules::new(settings, keys, true).unwrap_or_else(|mistakes| panic!("{preset}: {mistakes:?}"))
    }

    #[test]
    fn a_signature_for_which_there_is_no_key_is_told_with_the_member_that_would_have_it() {
        let plain = rules("gitlab", Some("plain"), None);
        let public = rules("standard-webhooks", None, Some(ED25519));
        let secret = rules("svix", Some(WHSEC), None);
        let none = rules("notion", None, None);
        for (rules, header, value, expected, member) in [
            (&plain, "webhook-signature", "v1,AAAA", Cause::KeyUnavailable, Some("secrets")),
            (&plain, "X-Gitlab-Token", "other", Cause::CredentialsWrong, None),
            (&plain, "X-Other", "v1,AAAA", Cause::SignatureMissing, None),
            (&plain, "webhook-signature", "v2,AAAA", Cause::SignatureMissing, None),
            (&public, "webhook-signature", "v1,AAAA", Cause::KeyUnavailable, Some("secrets")),
            (&public, "webhook-signature", "v1a,AAAA v1,AAAA", Cause::TimestampMissing, None),
            (&public, "webhook-signature", "v2,AAAA", Cause::SignatureMalformed, None),
            (&secret, "svix-signature", "v1a,AAAA", Cause::KeyUnavailable, Some("public_keys")),
            (&secret, "webhook-signature", "v1a,AAAA", Cause::KeyUnavailable, Some("public_keys")),
            (&secret, "webhook-signature", "v1,AAAA", Cause::TimestampMissing, None),
            (&none, "X-Notion-Signature", "sha256=00", Cause::KeyUnavailable, Some("secrets")),
            (&none, "X-Other", "a", Cause::KeyUnavailable, Some("secrets")),
        ] {
            let headers = [(header, value.as_bytes())];
            let sent = request(&headers, b"{}");
            assert_eq!(verify(&sent, rules), Verdict::Unverified(expected), "{header}: {value}");
            let missing = rules.missing_key(&sent);
            assert_eq!(missing.as_ref().map(|missing| missing.member), member, "{header}: {value}");
        }
        let headers = [("webhook-signature", &b"v1,AAAA"[..])];
        let missing = public.missing_key(&request(&headers, b"{}")).expect("there is none");
        assert_eq!(missing.signatures, "the header `webhook-signature` (`v1,`)");
    }

    #[test]
    fn a_secret_that_two_schemes_read_in_different_forms_is_not_missing() {
        // It is no base64, so the second scheme of Polar has no key.
        let rules = rules("polar", Some("a text!"), None);
        let headers = [("webhook-signature", &b"v1,!"[..]), ("webhook-id", b"1")];
        let sent = request(&headers, b"{}");
        assert_eq!(verify(&sent, &rules), Verdict::Unverified(Cause::SignatureMalformed));
        assert!(rules.missing_key(&sent).is_none());
    }
}
