//! Signs what is delivered anew, as its sender does: hookbox does not keep the signature that came.

use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::cli::Failure;
use crate::cli::client::server::usage;
use crate::cli::client::signing::{Signing, cannot_sign};
use crate::client::{Content, Webhook};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;
use crate::sources::{Draft, Rules, check_signs_again, sign_again};

/// Signs as the sender of a preset does.
#[derive(Debug)]
pub(super) struct Signer {
    preset: String,
    rules: Rules,
    /// The URL of the server, without its query.
    url: String,
    query: String,
}

/// A webhook that is signed.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) content: Content,
    /// The query of the URL.
    pub(super) query: String,
}

impl Signer {
    /// Signs for the server at a URL; none if no preset is named. Errors: the preset cannot be imitated.
    pub(super) fn new(signing: &Signing, forward: &Url) -> Result<Option<Self>, Failure> {
        let Some((preset, rules)) = signing.rules()? else { return Ok(None) };
        if !rules.verifies() {
            return Err(usage(format!("{preset} signs nothing; leave --preset out")));
        }
        check_signs_again(&rules).map_err(|error| cannot_sign(preset, error))?;
        let mut url = forward.clone();
        url.set_query(None);
        url.set_fragment(None);
        let query = forward.query().unwrap_or_default().to_owned();
        Ok(Some(Self { preset: preset.to_owned(), rules, url: url.into(), query }))
    }

    /// Signs a webhook with the time of now. Errors: why it must not be delivered, to follow "it".
    pub(super) fn sign(&self, webhook: &Webhook, content: &Content) -> Result<Signed, String> {
        let headers = content.kept_headers().filter(|(name, _)| name != CONTENT_TYPE.as_str()).cloned();
        let content_type = (CONTENT_TYPE.to_string(), content.content_type.clone());
        let draft = Draft {
            id: webhook.idempotency_key.clone(),
            key: None,
            event_type: None,
            url: self.url.clone(),
            query: self.query.clone(),
            headers: headers.chain([content_type]).collect(),
            body: content.body.clone(),
            at: SystemClock.now(),
        };
        let Draft { headers, body, query, .. } = sign_again(&draft, &self.rules)
            .map_err(|error| format!("cannot be signed as {} signs: {error}", self.preset))?;
        let content = Content { content_type: content.content_type.clone(), headers, body };
        Ok(Signed { content, query })
    }
}
