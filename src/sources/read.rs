//! Reads the webhooks of a request: one, or one for each item of a batch.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::hex;
use super::json::{Document, Items, items};
use super::missing::{missing, no_json};
use super::part::Found;
use super::request::Request;
use super::rules::Rules;
use crate::domain::webhook::{EventType, IdempotencyKey, MAX_NAME_CHARS};

/// Maximum number of webhooks in one request.
pub const MAX_BATCH_ITEMS: usize = 4_096;

/// One webhook of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The sender's unique name of the webhook.
    pub key: IdempotencyKey,
    /// What happened; none if the request does not say it. It is then the name of the source.
    pub event_type: Option<EventType>,
    /// The exact bytes of the body, or of the item.
    pub body: &'a [u8],
    /// Whether it is an item of a batch, and so JSON whatever the content type of the request.
    pub is_part: bool,
}

/// Why the webhooks of a request cannot be read. None of them is accepted then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The place of the item in the batch, from 0; none if the fault is not in an item.
    pub item: Option<usize>,
    /// What is missing or wrong, a sentence without a full stop.
    pub detail: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.item {
            // People count from 1.
            Some(item) => write!(f, "item {} of the batch: {}", item + 1, self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl std::error::Error for ReadError {}

/// The webhooks of a request, in their order; none if the batch is empty. Does not verify the request. Errors: the
/// first item that cannot be read.
pub fn read<'a>(request: &Request<'a>, rules: &Rules) -> Result<Vec<Item<'a>>, ReadError> {
    let whole = Document::new(request.body);
    let Some(split) = rules.split.as_ref().filter(|split| split.takes(request)) else {
        let found = Found { request, whole: &whole, item: &whole, at: None };
        return Ok(vec![read_item(found, rules)?]);
    };
    let wrong = |detail: String| ReadError { item: None, detail };
    let json = whole.json().ok_or_else(|| wrong(no_json(request.body).to_owned()))?;
    let array = match split.array.find(json).and_then(|array| items(array, MAX_BATCH_ITEMS)) {
        Some(Items::All(array)) => array,
        Some(Items::TooMany) => {
            return Err(wrong(format!(
                "the batch has more than {MAX_BATCH_ITEMS} items, which is the limit; send several smaller ones"
            )));
        }
        None if split.array.to_string().is_empty() => return Err(wrong("the body is no array".to_owned())),
        None => return Err(wrong(format!("the body has no array at `{}`", split.array))),
    };
    let read = |(at, item)| {
        let item = Document::of(item);
        read_item(Found { request, whole: &whole, item: &item, at: Some(at) }, rules)
    };
    array.into_iter().enumerate().map(read).collect()
}

fn read_item<'a>(found: Found<'_, 'a>, rules: &Rules) -> Result<Item<'a>, ReadError> {
    let wrong = |detail: String| ReadError { item: found.at, detail };
    let mut parts = Vec::with_capacity(rules.key.len());
    for part in &rules.key {
        parts.push(part.find(found).ok_or_else(|| wrong(missing(part, found.whole)))?);
    }
    let key = IdempotencyKey::new(valid_key(joined(&parts)))
        .map_err(|error| wrong(format!("the idempotency key is not valid: {}", error.detail())))?;
    let types = rules.event_type.iter().filter_map(|part| part.find(found)).collect::<Vec<_>>();
    let event_type = if types.is_empty() {
        None
    } else {
        let event_type = EventType::new(valid_event_type(&types.join(".")));
        Some(event_type.map_err(|error| wrong(format!("the event type is not valid: {}", error.detail())))?)
    };
    Ok(Item { key, event_type, body: found.item.bytes(), is_part: found.at.is_some() })
}

/// Joins the parts of a key by `:`, so that different parts never make the same key: `:` and `\` in a part get a `\`
/// before them. A single part stays as it is.
fn joined(parts: &[String]) -> String {
    match parts {
        [only] => only.clone(),
        parts => {
            let escaped = parts.iter().map(|part| part.replace('\\', "\\\\").replace(':', "\\:"));
            escaped.collect::<Vec<_>>().join(":")
        }
    }
}

/// A key that is too long, or has a control character, is replaced by its digest.
fn valid_key(key: String) -> String {
    let is_long = key.len() > MAX_NAME_CHARS && key.chars().nth(MAX_NAME_CHARS).is_some();
    if is_long || key.contains(char::is_control) {
        return format!("sha256:{}", hex::encode(&Sha256::digest(key.as_bytes())));
    }
    key
}

/// An event type that is too long is cut, and its control characters are replaced: a webhook is not refused for them.
fn valid_event_type(event_type: &str) -> String {
    let characters = event_type.chars().take(MAX_NAME_CHARS);
    characters.map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sources::Settings;
    use crate::sources::fixture::{request, rules};

    fn read_with(
        settings: &str,
        headers: &[(&str, &[u8])],
        body: &str,
    ) -> Result<Vec<(String, String)>, String> {
        let rules = rules(&format!("verify = \"none\"\n{settings}"), &[]);
        let items = read(&request(headers, body.as_bytes()), &rules).map_err(|error| error.to_string())?;
        let names = items.iter().map(|item| {
            let event_type = item.event_type.as_ref().map_or("-", EventType::as_str);
            (item.key.as_str().to_owned(), event_type.to_owned())
        });
        Ok(names.collect())
    }

    fn one(key: &str, event_type: &str) -> Result<Vec<(String, String)>, String> {
        Ok(vec![(key.to_owned(), event_type.to_owned())])
    }

    #[test]
    fn key_and_event_type_come_from_wherever_the_settings_say() {
        let headers = [("X-Id", &b"h7"[..]), ("Content-Type", b"application/x-www-form-urlencoded")];
        for (settings, body, expected) in [
            ("key = { header = \"x-id\" }", "", one("h7", "-")),
            (
                "key = { form = \"id\" }\nevent_type = { form = \"kind\" }",
                "id=f7&kind=a%20b",
                one("f7", "a b"),
            ),
            (
                "key = { json = \"/id\" }\nevent_type = [{ json = \"/type\" }, { json = \"/action\" }]",
                r#"{"id":7,"type":"order","action":"paid"}"#,
                one("7", "order.paid"),
            ),
            (
                "key = { json = [\"/no\", \"/id\"] }\nevent_type = [{ json = \"/type\" }, { json = \"/action\" }]",
                r#"{"id":7,"type":"order"}"#,
                one("7", "order"),
            ),
            (
                "key = { first = [{ json = \"/id\" }, { header = \"x-id\" }] }\nevent_type = { name = [\"/a\", \"/b\"] }",
                r#"{"b":{}}"#,
                one("h7", "b"),
            ),
            ("key = \"request\"", "", one("r1", "-")),
            ("split = \"\"\nkey = \"request\"", "[{}]", one("r1-0", "-")),
            ("key = { header = [\"x-no\", \"x-id\"] }\nevent_type = { text = \"t\" }", "", one("h7", "t")),
            (
                "key = [{ header = \"x-id\" }, { json = \"/id\" }]",
                r#"{"id":"a:b\\c"}"#,
                one(r"h7:a\:b\\c", "-"),
            ),
            (
                "key = \"body\"",
                "abc",
                one("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "-"),
            ),
        ] {
            assert_eq!(read_with(settings, &headers, body), expected, "{settings}");
        }
    }

    #[test]
    fn a_missing_part_is_named_and_an_empty_one_counts_as_missing() {
        for (settings, body, named) in [
            ("key = { header = \"X-Id\" }", "", "the header `X-Id` is missing"),
            ("key = { json = \"/id\" }", r#"{"id":""}"#, "the JSON value `/id` is missing"),
            ("key = { json = \"/id\" }", r#"{"id":null}"#, "the JSON value `/id` is missing"),
            ("key = [{ text = \"a\" }, { query = \"id\" }]", "", "the query parameter `id` is missing"),
        ] {
            let error = read_with(settings, &[("x-id", b"")], body).expect_err(settings);
            assert!(error.starts_with(named), "{error}");
        }
        let twice = [("x-id", &b"a"[..]), ("x-id", b"b")];
        let error = read_with("key = { header = \"x-id\" }", &twice, "").expect_err("twice");
        assert!(error.contains("or there more than once"), "{error}");
        let latin =
            read_with("key = { header = \"x-id\" }", &[("x-id", b"caf\xe9")], "").expect_err("Latin-1");
        assert!(latin.contains("not UTF-8"), "{latin}");
        assert_eq!(read_with("key = { json = \"/id\" }", &[], r#"{"id":1,"id":2}"#), one("2", "-"));
        let error = read_with("key = { json = \"/id\" }", &[], r#"{"id":{}}"#).expect_err("an object");
        assert!(error.contains("or no string, number or boolean"), "{error}");
    }

    #[test]
    fn a_percent_encoded_header_is_decoded_once() {
        let key = "key = { header = \"ce-id\", decode = \"percent\" }";
        for (value, expected) in [
            ("A%20b", "A b"),
            ("100%25", "100%"),
            ("%2520", "%20"),
            ("50%", "50%"),
            ("a+b", "a+b"),
            ("%C5%BC%C3%B3%C5%82w", "żółw"),
            (r#""a \"b\\""#, r#"a "b\"#),
        ] {
            assert_eq!(read_with(key, &[("ce-id", value.as_bytes())], ""), one(expected, "-"), "{value}");
        }
        let error = read_with(key, &[("ce-id", b"%FF")], "").expect_err("is not UTF-8");
        assert!(error.starts_with("the header `ce-id` is missing"), "{error}");
        let wrong = serde_json::json!({ "json": "/id", "decode": "percent" });
        let error = Settings::default().set("key", wrong).expect_err("is no header").to_string();
        assert!(error.contains("`decode` belongs to `header`"), "{error}");
    }

    #[test]
    fn a_key_that_is_too_long_or_has_a_control_character_is_replaced_by_its_digest() {
        let key = read_with("key = { json = \"\" }", &[], &format!("\"{}\"", "ä".repeat(256)));
        assert!(key.expect("reads")[0].0.starts_with("sha256:"));
        let long = "ä".repeat(255);
        assert_eq!(read_with("key = { json = \"\" }", &[], &format!("\"{long}\"")), one(&long, "-"));
        // That of `printf 'a\nb' | sha256sum`.
        let digest = "sha256:7e18f737311b2dc3b2f269dd78396b0351f14fb66efa879f768cb23181883c78";
        assert_eq!(read_with("key = { json = \"\" }", &[], r#""a\nb""#), one(digest, "-"));
    }

    #[test]
    fn an_event_type_that_is_too_long_or_has_a_control_character_refuses_no_webhook() {
        let settings = "key = { json = \"/id\" }\nevent_type = [{ json = \"/t\" }, { json = \"/a\" }]";
        let of = |of: &str| read_with(settings, &[], &format!(r#"{{"id":1,"t":"{of}","a":"b"}}"#));
        let fits = "ä".repeat(253);
        assert_eq!(of(&fits), one("1", &format!("{fits}.b")));
        assert_eq!(of(&format!("{fits}c")), one("1", &format!("{fits}c.")));
        assert_eq!(of(&"ä".repeat(1_000)), one("1", &"ä".repeat(255)));
        assert_eq!(of(r"a\nb\u0000"), one("1", "a\u{fffd}b\u{fffd}.b"));
    }

    #[test]
    fn each_item_of_a_batch_is_a_webhook_with_its_exact_bytes() {
        let settings = "verify = \"none\"\nsplit = \"/items\"\nkey = [{ outer = \"/shop\" }, { json = \"/id\" }]\nevent_type = { json = \"/t\" }";
        let body = r#"{"shop":"s","items":[ {"id":1, "t":"a"} ,{"id":"\u0032","t":"b"}]}"#;
        let rules = rules(settings, &[]);
        let request = request(&[], body.as_bytes());
        let items = read(&request, &rules).expect("reads");
        let found = items.iter().map(|item| (item.key.as_str(), item.body)).collect::<Vec<_>>();
        let (first, second) = (&br#"{"id":1, "t":"a"}"#[..], &br#"{"id":"\u0032","t":"b"}"#[..]);
        assert_eq!(found, [("s:1", first), ("s:2", second)]);
    }

    #[test]
    fn an_item_that_cannot_be_read_is_named_and_refuses_the_batch() {
        let settings = "split = \"\"\nkey = { json = \"/id\" }";
        let error = read_with(settings, &[], r#"[{"id":1},{"no":2}]"#).expect_err("no id");
        assert!(error.starts_with("item 2 of the batch: the JSON value `/id`"), "{error}");
        assert_eq!(read_with(settings, &[], "[]"), Ok(Vec::new()));
        assert_eq!(read_with(settings, &[], "{}"), Err("the body is no array".to_owned()));
        assert_eq!(read_with(settings, &[], "x"), Err("the body is not valid JSON".to_owned()));
        let error = read_with("split = \"/a\"\nkey = \"body\"", &[], "{}").expect_err("no array");
        assert_eq!(error, "the body has no array at `/a`");
    }

    #[test]
    fn a_batch_has_a_limited_number_of_items() {
        let settings = "split = \"/a\"\nkey = \"request\"";
        let batch = |items: usize| format!("{{\"a\":[{}]}}", vec!["1"; items].join(","));
        assert_eq!(read_with(settings, &[], &batch(MAX_BATCH_ITEMS)).map(|items| items.len()), Ok(4_096));
        let error = read_with(settings, &[], &batch(MAX_BATCH_ITEMS + 1)).expect_err("too many");
        let expected = "the batch has more than 4096 items, which is the limit; send several smaller ones";
        assert_eq!(error, expected);
    }

    proptest! {
        #[test]
        fn different_parts_never_make_the_same_key(
            one in prop::collection::vec("[a:\\\\]{1,4}", 2..4),
            other in prop::collection::vec("[a:\\\\]{1,4}", 2..4),
        ) {
            prop_assert_eq!(one == other, joined(&one) == joined(&other));
        }
    }
}
