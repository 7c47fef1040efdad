//! A request that is being signed, and how values are put where the rules of a source look for them.

use std::fmt;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::SignError;
use crate::domain::pointer;
use crate::sources::json::{Document, Pointer};
use crate::sources::part::{Found, Part};
use crate::sources::place::{List, Place};
use crate::sources::request::Request;
use crate::sources::split::Split;

/// What CloudEvents percent-encodes in headers, besides what is not ASCII (HTTP Protocol Binding 1.0.2, section 3.1.3.2).
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A request by POST, before or after it is signed. `Debug` does not show what may have a secret.
#[derive(Clone)]
pub struct Draft {
    /// A text that no other request has: the key of the webhook where neither `key` nor the request has one.
    pub id: String,
    /// The key that the webhook has to have; none for any.
    pub key: Option<String>,
    /// The event type that the webhook has to have; none for that of the request, or `test` where the request has none.
    pub event_type: Option<String>,
    /// The URL to which the sender sends, without its query.
    pub url: String,
    /// The query, without the question mark; empty if there is none.
    pub query: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
    /// When the request is sent.
    pub at: Timestamp,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Draft {
    /// The whole URL.
    pub fn full_url(&self) -> String {
        if self.query.is_empty() { self.url.clone() } else { format!("{}?{}", self.url, self.query) }
    }

    pub(super) fn with_request<T>(&self, look: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        look(&Request {
            id: &self.id,
            method: "POST",
            url: Some(&self.full_url()),
            query: &self.query,
            headers: &headers.collect::<Vec<_>>(),
            body: &self.body,
            received_at: self.at,
        })
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.with_request(|request| place.find(request, &Document::new(request.body)).is_some())
    }

    /// The value of a part; none for one that each item of a batch has. `batch` is what makes the request one.
    pub(super) fn value(&self, part: &Part, batch: Option<&Split>) -> Option<String> {
        if batch.is_some_and(|split| part.is_of_item(split)) {
            return None;
        }
        self.with_request(|request| {
            let whole = Document::new(request.body);
            part.find(Found { request, whole: &whole, item: &whole, at: None })
        })
    }

    /// Puts a value where a part is looked for, unless there is one.
    pub(super) fn fill(&mut self, part: &Part, value: &str, is_batch: bool) -> Result<(), SignError> {
        match part {
            Part::Of(Place::Json(_) | Place::Form(_)) if is_batch => Ok(()),
            Part::Of(place) if self.has(place) => Ok(()),
            Part::Of(place) => self.set(place, value),
            Part::Decoded(names) => {
                let value = utf8_percent_encode(value, ESCAPED).to_string();
                self.fill(&Part::Of(Place::Header(names.clone())), &value, is_batch)
            }
            Part::Outer(pointers) => self.fill(&Part::Of(Place::Json(pointers.clone())), value, false),
            Part::First(List(parts)) => {
                let parts =
                    parts.iter().filter_map(|part| self.with_request(|request| part.in_request(request)));
                let parts = parts.collect::<Vec<_>>();
                let has = |part: &Part| match part {
                    Part::Of(place) => self.has(place),
                    Part::Decoded(names) => self.has(&Place::Header(names.clone())),
                    _ => false,
                };
                match parts.first().filter(|_| !parts.iter().copied().any(has)) {
                    Some(first) => self.fill(first, value, is_batch),
                    None => Ok(()),
                }
            }
            Part::UnlessType(..) => match self.with_request(|request| part.in_request(request)) {
                Some(part) => self.fill(part, value, is_batch),
                None => Ok(()),
            },
            Part::Body | Part::Request | Part::Text(_) | Part::Name(_) => Ok(()),
        }
    }

    pub(super) fn set(&mut self, place: &Place, value: &str) -> Result<(), SignError> {
        match place {
            Place::Header(List(names)) => {
                let Some(name) = names.first().map(|name| name.as_str()) else { return Ok(()) };
                self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                self.headers.push((name.to_owned(), value.to_owned()));
                Ok(())
            }
            Place::Query(List(names)) => {
                self.query = with_field(self.query.as_bytes(), names, value);
                Ok(())
            }
            Place::Form(List(names)) => {
                if self.with_request(|request| request.fields().is_none()) {
                    return Err(SignError::NoForm);
                }
                self.body = with_field(&self.body, names, value).into_bytes();
                Ok(())
            }
            Place::Json(List(pointers)) => self.set_json(pointers, value.into()),
        }
    }

    /// A body that has the value there already stays as it is.
    pub(super) fn set_json(&mut self, pointers: &[Pointer], value: Value) -> Result<(), SignError> {
        let mut json = self.json()?;
        if let Some(first) = pointers.first() {
            let found = reach(&mut json, first).ok_or(SignError::NoObject)?;
            if *found == value {
                return Ok(());
            }
            *found = value;
        }
        self.body = json.to_string().into_bytes();
        Ok(())
    }

    /// Puts a token at a place, or there into each item of an array.
    pub(super) fn set_token(
        &mut self,
        place: &Place,
        each: Option<&Pointer>,
        token: &str,
    ) -> Result<(), SignError> {
        match (each, place) {
            (Some(array), Place::Json(List(pointers))) => self.set_each(array, pointers, token),
            (_, place) => self.set(place, token),
        }
    }

    /// Puts a token into each item of an array, or of a new one with one item.
    fn set_each(&mut self, array: &Pointer, pointers: &[Pointer], token: &str) -> Result<(), SignError> {
        let mut json = self.json()?;
        let found = reach(&mut json, array).ok_or(SignError::NoObject)?;
        if found.is_null() {
            *found = Value::Array(vec![Value::Null]);
        }
        for item in found.as_array_mut().ok_or(SignError::NoObject)? {
            if let Some(first) = pointers.first() {
                *reach(item, first).ok_or(SignError::NoObject)? = token.into();
            }
        }
        self.body = json.to_string().into_bytes();
        Ok(())
    }

    /// The body as JSON; null if it is empty.
    fn json(&self) -> Result<Value, SignError> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| SignError::NoObject)
    }
}

/// A form, or a query, with this value in the field.
fn with_field(form: &[u8], names: &[String], value: &str) -> String {
    let Some(name) = names.first() else { return String::from_utf8_lossy(form).into_owned() };
    let others = form_urlencoded::parse(form).filter(|(other, _)| other != name);
    let mut written = form_urlencoded::Serializer::new(String::new());
    written.extend_pairs(others).append_pair(name, value);
    written.finish()
}

/// The value that a pointer names. Members that are missing, and objects where there is null, are made. None if there is
/// another value on the way.
fn reach<'v>(json: &'v mut Value, to: &Pointer) -> Option<&'v mut Value> {
    to.members().iter().try_fold(json, |json, member| {
        if json.is_null() {
            *json = Value::Object(Map::new());
        }
        match json {
            Value::Object(members) => Some(members.entry(member.to_string()).or_insert(Value::Null)),
            Value::Array(items) => items.get_mut(pointer::index(member)?),
            _ => None,
        }
    })
}
