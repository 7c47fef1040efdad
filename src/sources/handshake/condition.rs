//! What tells the requests of a handshake from others.

use serde::Deserialize;

use crate::domain::secret::Secret;
use crate::sources::json::{Document, Pointer};
use crate::sources::place::{List, Place};
use crate::sources::request::{HeaderName, Request};

/// What a request of the handshake has.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Condition {
    header: Option<List<HeaderName>>,
    json: Option<List<Pointer>>,
    form: Option<List<String>>,
    query: Option<List<String>>,
    pub(super) equals: Option<String>,
    #[serde(default)]
    pub(super) token: bool,
    pub(super) present: Option<bool>,
}

impl Condition {
    /// Where the condition looks; none if it does not say it. Errors: what is wrong with the place.
    pub(super) fn place(&self) -> Result<Option<Place>, &'static str> {
        let Self { header, json, form, query, .. } = self.clone();
        Place::only(header, json, form, query)
    }

    pub(super) fn holds(
        &self,
        request: &Request<'_>,
        document: &Document<'_>,
        token: Option<&Secret>,
    ) -> bool {
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
