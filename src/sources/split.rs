//! Which requests are batches, and where their items are.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use super::json::Pointer;
use super::request::{Request, begins_with};

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

    /// Whether the content type of every batch begins with this text.
    pub(super) fn is_of_type(&self, beginning: &str) -> bool {
        self.content_type.as_ref().is_some_and(|of| begins_with(of.as_bytes(), beginning))
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
    use crate::sources::fixture::{request, rules, settings};
    use crate::sources::{Keys, Presets, Rules, Settings, read};

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

    #[test]
    fn attributes_of_cloudevents_are_in_headers_in_binary_mode_alone() {
        let preset = &Presets::built_in().get("cloudevents").expect("is there").settings;
        let rules = Rules::new(preset.clone(), Keys::default(), true).expect("compiles");
        let names = |content_type: &str, body: &str| {
            let headers = [
                ("Content-Type", content_type.as_bytes()),
                ("ce-source", b"/p"),
                ("ce-id", b"X"),
                ("ce-type", b"T"),
            ];
            let items = read(&request(&headers, body.as_bytes()), &rules).expect("reads");
            let names = items.iter().map(|item| (item.key.to_string(), item.event_type.clone()));
            names.map(|(key, of)| format!("{key} {}", of.expect("has one"))).collect::<Vec<_>>()
        };
        let event = |id: &str| format!(r#"{{"source":"/a","id":"{id}","type":"t{id}"}}"#);
        assert_eq!(names("application/json", &event("1")), ["/p:X T"]);
        assert_eq!(names("Application/CloudEvents+JSON; charset=utf-8", &event("1")), ["/a:1 t1"]);
        let batch = format!("[{},{},{}]", event("1"), event("2"), event("3"));
        let expected = ["/a:1 t1", "/a:2 t2", "/a:3 t3"];
        assert_eq!(names("application/cloudevents-batch+json", &batch), expected);
    }

    #[test]
    fn a_key_that_two_items_can_share_is_a_mistake() {
        for (key, is_good) in [
            (r#"{ first = [{ header = "X-Id" }, { json = "/id" }] }"#, false),
            (r#"{ first = [{ json = "/id" }, { header = "X-Id" }] }"#, false),
            (r#"{ first = [{ json = "/id" }, "body"] }"#, true),
            (r#"[{ first = [{ header = "X-Shop" }, { json = "/shop" }] }, { json = "/id" }]"#, true),
            (
                r#"{ first = [{ header = "X-Id", unless_content_type = "Application/X" }, { json = "/id" }] }"#,
                true,
            ),
            (r#"{ first = [{ header = "X-Id", unless_content_type = "text/" }, { json = "/id" }] }"#, false),
        ] {
            let text = format!(
                "verify = \"none\"\nsplit = {{ array = \"\", content_type = \"application/x-batch+json\" }}\nkey = {key}"
            );
            let mistakes = Rules::new(settings(&text), Keys::default(), true).err().unwrap_or_default();
            let told = mistakes.iter().map(|mistake| mistake.member).collect::<Vec<_>>();
            assert_eq!(told, if is_good { vec![] } else { vec!["key"] }, "{key}: {mistakes:?}");
        }
    }

    #[test]
    fn a_content_type_that_no_request_can_begin_with_is_refused() {
        for beginning in ["", "application/json; charset=utf-8", "text plain"] {
            let part = serde_json::json!({ "header": "X-Id", "unless_content_type": beginning });
            let error = Settings::default().set("key", part).expect_err(beginning).to_string();
            assert!(error.contains("`unless_content_type` must be"), "{error}");
        }
    }
}
