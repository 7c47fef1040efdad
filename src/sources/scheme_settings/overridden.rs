//! Members of a scheme that the settings of a source set instead of its preset.

use super::SchemeSettings;

impl SchemeSettings {
    /// The schemes of a preset, each with the members that `other` sets. Of these, `tolerance` and `key_encoding` change
    /// only the schemes that can use them, if there are any.
    pub(in crate::sources) fn overridden(schemes: &[Self], other: &Self) -> Vec<Self> {
        let mut schemes = schemes.iter().map(|scheme| scheme.overridden_by(other)).collect::<Vec<_>>();
        let has_time =
            |scheme: &Self| scheme.timestamp.is_some() || scheme.jwt.is_some() || scheme.scheme.is_some();
        keep_where(&mut schemes, has_time, |scheme| scheme.tolerance = None);
        keep_where(&mut schemes, |scheme| scheme.token.is_none(), |scheme| scheme.key_encoding = None);
        schemes
    }

    /// This scheme, with the members that `other` sets.
    fn overridden_by(&self, other: &Self) -> Self {
        fn either<T: Clone>(own: &Option<T>, other: &Option<T>) -> Option<T> {
            other.as_ref().or(own.as_ref()).cloned()
        }
        Self {
            hmac: either(&self.hmac, &other.hmac),
            signature: either(&self.signature, &other.signature),
            token: either(&self.token, &other.token),
            jwt: either(&self.jwt, &other.jwt),
            header: either(&self.header, &other.header),
            query: either(&self.query, &other.query),
            form: either(&self.form, &other.form),
            json: either(&self.json, &other.json),
            each: either(&self.each, &other.each),
            separator: either(&self.separator, &other.separator),
            prefix: either(&self.prefix, &other.prefix),
            encoding: either(&self.encoding, &other.encoding),
            key_encoding: either(&self.key_encoding, &other.key_encoding),
            signed: either(&self.signed, &other.signed),
            body_sha256: either(&self.body_sha256, &other.body_sha256),
            covers_body: either(&self.covers_body, &other.covers_body),
            unless: either(&self.unless, &other.unless),
            timestamp: either(&self.timestamp, &other.timestamp),
            tolerance: either(&self.tolerance, &other.tolerance),
            once: either(&self.once, &other.once),
            issuer: either(&self.issuer, &other.issuer),
            claims: either(&self.claims, &other.claims),
            body_sha256_claim: either(&self.body_sha256_claim, &other.body_sha256_claim),
            keys_url: either(&self.keys_url, &other.keys_url),
            scheme: either(&self.scheme, &other.scheme),
            topics: either(&self.topics, &other.topics),
            webhook_id: either(&self.webhook_id, &other.webhook_id),
            audience: either(&self.audience, &other.audience),
            email: either(&self.email, &other.email),
            client_id: either(&self.client_id, &other.client_id),
            environment: either(&self.environment, &other.environment),
            basic: either(&self.basic, &other.basic),
        }
    }
}

/// Removes a member from the schemes that cannot use it, if others can.
fn keep_where(
    schemes: &mut [SchemeSettings],
    can_use: fn(&SchemeSettings) -> bool,
    remove: fn(&mut SchemeSettings),
) {
    if schemes.iter().any(can_use) {
        schemes.iter_mut().filter(|scheme| !can_use(scheme)).for_each(remove);
    }
}
