//! Which requests are batches, and where their items are.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::Pointer;
use super::request::Request;

/// The array of a batch. In the settings, a JSON pointer, or a table that also says which requests are batches.
#[derive(Clone, Debug)]
pub(super) struct Split {
    /// Where the array is.
    pub(super) array: Pointer,
    /// The content type of batches, without parameters; none if every request is a batch.
    content_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    array: Pointer,
    content_type: String,
}

impl Split {
    /// Whether every request is a batch.
    pub(super) fn takes_all(&self) -> bool {
        self.content_type.is_none()
    }

    /// Whether a request is a batch.
    pub(super) fn takes(&self, request: &Request<'_>) -> bool {
        let media_type = request.media_type();
        self.content_type.as_ref().is_none_or(|of| media_type.eq_ignore_ascii_case(of.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Split {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(SplitVisitor)
    }
}

struct SplitVisitor;

impl<'de> Visitor<'de> for SplitVisitor {
    type Value = Split;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON pointer, or a table such as { array = \"/items\", content_type = \"application/x-batch\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Split, E> {
        let array = Pointer::try_from(text.to_owned()).map_err(E::custom)?;
        Ok(Split { array, content_type: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Split, A::Error> {
        let Members { array, content_type } = Members::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Split { array, content_type: Some(content_type) })
    }
}

#[cfg(test)]
mod tests {
    use crate::sources::fixture::{request, rules};
    use crate::sources::read;

    #[test]
    fn only_requests_with_the_content_type_of_batches_are_batches() {
        let settings = "verify = \"none\"\nkey = { json = \"/id\" }\nsplit = { array = \"\", content_type = \"application/x-batch+json\" }";
        let rules = rules(settings, &[]);
        let count = |content_type: &str, body: &str| {
            let headers = [("Content-Type", content_type.as_bytes())];
            read(&request(&headers, body.as_bytes()), &rules).map(|items| items.len())
        };
        let batch = r#"[{"id":1},{"id":2}]"#;
        assert_eq!(count("Application/X-Batch+JSON; charset=utf-8", batch), Ok(2));
        assert_eq!(count("application/x-batch+json", "[]"), Ok(0));
        assert_eq!(count("application/json", r#"{"id":1}"#), Ok(1));
        assert!(count("application/json", batch).is_err(), "it has no id");
        assert!(count("application/x-batch+json", r#"{"id":1}"#).is_err(), "it is no array");
    }
}
