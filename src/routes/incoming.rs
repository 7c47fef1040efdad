//! A webhook as routes look at it.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;

use super::body::Node;
use super::condition::{Condition, Variables};
use super::meter::Meter;
use crate::domain::payload::Payload;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};

/// What routes decide by.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Where the webhook came from.
    pub source: &'a Source,
    /// What happened.
    pub event_type: &'a EventType,
    /// The sender's key.
    pub key: &'a IdempotencyKey,
    /// Gives the headers of the request, names in any case. Called at most once, and only if a
    /// condition looks at them.
    pub headers: &'a dyn Fn() -> Vec<(String, String)>,
    /// The content.
    pub payload: &'a Payload,
}

impl std::fmt::Debug for Incoming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("source", self.source)
            .field("event_type", self.event_type)
            .field("key", self.key)
            .finish_non_exhaustive()
    }
}

/// One look at a webhook: what is parsed for a route is there for the next.
pub(super) struct Look<'w, 'a> {
    pub(super) webhook: &'w Incoming<'a>,
    body: OnceCell<Option<Node<'a>>>,
    headers: OnceCell<Node<'static>>,
    /// What conditions have spent on it.
    pub(super) spent: Cell<u64>,
}

impl<'w, 'a> Look<'w, 'a> {
    pub(super) fn new(webhook: &'w Incoming<'a>) -> Self {
        Self { webhook, body: OnceCell::new(), headers: OnceCell::new(), spent: Cell::new(0) }
    }

    /// The body; a payload always has one.
    pub(super) fn body(&self) -> Option<&Node<'a>> {
        self.body.get_or_init(|| Node::parse(self.webhook.payload.json())).as_ref()
    }

    #[cfg(test)]
    pub(super) fn is_parsed(&self) -> bool {
        self.body.get().is_some()
    }

    /// The headers, names in lower case, the values of a repeated one joined as RFC 9110 has it.
    fn headers(&self) -> &Node<'static> {
        self.headers.get_or_init(|| {
            let mut headers = BTreeMap::<String, String>::new();
            for (mut name, value) in (self.webhook.headers)() {
                name.make_ascii_lowercase();
                let known = headers.entry(name).or_default();
                if !known.is_empty() {
                    known.push_str(", ");
                }
                known.push_str(&value);
            }
            Node::map(
                headers.into_iter().map(|(name, value)| (name.into(), Node::String(value.into()))).collect(),
            )
        })
    }

    /// What a condition can name, as far as it does.
    pub(super) fn variables(&self, condition: &Condition) -> Variables<'_, 'a> {
        Variables {
            source: self.webhook.source.as_str(),
            event_type: self.webhook.event_type.as_str(),
            key: self.webhook.key.as_str(),
            body: condition.needs_body.then(|| self.body()).flatten(),
            headers: condition.needs_headers.then(|| self.headers()),
            meter: Meter::new(self.spent.get()),
        }
    }
}
