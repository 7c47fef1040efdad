//! The parts of a webhook by which routes are matched.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;

use super::body::{Body, Node, NotParsed};
use super::condition::{Condition, Variables};
use super::meter::Meter;
use crate::domain::payload::Payload;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};

/// The parts of a webhook by which routes are matched.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// The source of the webhook.
    pub source: &'a Source,
    /// The event type.
    pub event_type: &'a EventType,
    /// The sender's key.
    pub key: &'a IdempotencyKey,
    /// Returns the names and values of the headers of the request. Called at most once, and only if a
    /// condition uses headers.
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

/// A webhook while routes are matched. Body and headers are parsed once and shared by all routes.
pub(super) struct Look<'w, 'a> {
    pub(super) webhook: &'w Incoming<'a>,
    body: OnceCell<Body<'a>>,
    headers: OnceCell<Node<'static>>,
    /// What all conditions have spent on this webhook so far, in units of [`super::meter`].
    pub(super) spent: Cell<u64>,
}

impl<'w, 'a> Look<'w, 'a> {
    pub(super) fn new(webhook: &'w Incoming<'a>) -> Self {
        Self { webhook, body: OnceCell::new(), headers: OnceCell::new(), spent: Cell::new(0) }
    }

    /// The parsed body.
    pub(super) fn body(&self) -> &Node<'a> {
        &self.body.get_or_init(|| Body::of(self.webhook.payload)).root
    }

    /// Why the body is a text or null; none if it is not, or if nothing has looked into it.
    pub(super) fn body_not_parsed(&self) -> Option<NotParsed> {
        self.body.get()?.not_parsed
    }

    #[cfg(test)]
    pub(super) fn is_parsed(&self) -> bool {
        self.body.get().is_some()
    }

    /// The headers: names in lower case; the values of a repeated header are joined by `, ` (RFC 9110).
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

    /// The variables of a condition; body and headers only if the condition uses them.
    pub(super) fn variables(&self, condition: &Condition) -> Variables<'_, 'a> {
        Variables {
            source: self.webhook.source.as_str(),
            event_type: self.webhook.event_type.as_str(),
            key: self.webhook.key.as_str(),
            body: condition.needs_body.then(|| self.body()),
            headers: condition.needs_headers.then(|| self.headers()),
            meter: Meter::new(self.spent.get()),
        }
    }
}
