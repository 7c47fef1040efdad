//! A payload: a body kept byte for byte, and a digest of it.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::canonical::canonical_form;
use super::content_type::ContentType;
use super::error::Result;

/// A body of any bytes, with its content type. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Payload {
    bytes: Bytes,
    content_type: ContentType,
    digest: PayloadDigest,
}

/// A digest by which payloads of one key are compared. Those of [`Payload::new`] are equal exactly for texts with the
/// same JSON value: the order of members, white space, escapes in strings and the notation of numbers do not matter, and
/// numbers compare exactly, not as doubles. Those of [`Payload::of_bytes`] are equal exactly for the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayloadDigest([u8; 16]);

impl PayloadDigest {
    /// The digest of a JSON value. Errors: as of [`Payload::new`].
    pub fn of_json(json: &str) -> Result<Self> {
        Ok(first_half(&Sha256::digest(canonical_form(json)?)))
    }

    /// As 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Payload {
    /// Takes any JSON text and keeps it byte for byte, with the content type `application/json`. No object may repeat
    /// a member, and arrays and objects may nest at most [`MAX_DEPTH`] levels deep.
    /// Errors: `MalformedJson`, with line and column, also for half of a surrogate pair; `InvalidField` for `payload` if
    /// the text nests too deep or an object repeats a member.
    ///
    /// [`MAX_DEPTH`]: super::canonical::MAX_DEPTH
    pub fn new(json: impl Into<Box<str>>) -> Result<Self> {
        let json: Box<str> = json.into();
        let digest = PayloadDigest::of_json(&json)?;
        Ok(Self { bytes: json.into_boxed_bytes().into(), content_type: ContentType::JSON, digest })
    }

    /// Takes any bytes and keeps them as they are. They need not be what the content type says.
    pub fn of_bytes(bytes: impl Into<Box<[u8]>>, content_type: ContentType) -> Self {
        let bytes: Box<[u8]> = bytes.into();
        // No canonical form of JSON begins with a zero byte, so bytes never have the digest of a JSON value.
        let digest = first_half(&Sha256::new_with_prefix([0_u8]).chain_update(&bytes).finalize());
        Self { bytes: bytes.into(), content_type, digest }
    }

    /// The body as it came.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The content type of the body.
    pub fn content_type(&self) -> &ContentType {
        &self.content_type
    }

    /// The digest of the JSON value, or of the bytes.
    pub fn digest(&self) -> PayloadDigest {
        self.digest
    }
}

/// The SHA-256 of a body in hexadecimal digits, as `sha256sum` prints it.
pub fn sha256(body: &[u8]) -> String {
    Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn first_half(hash: &[u8]) -> PayloadDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    PayloadDigest(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::canonical::MAX_DEPTH;
    use crate::domain::error::Reason;
    use proptest::prelude::*;

    fn same(one: &str, other: &str) -> bool {
        let digest = |json: &str| Payload::new(json).expect(json).digest();
        digest(one) == digest(other)
    }

    #[test]
    fn the_same_value_written_differently_is_the_same_payload() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, " { \"b\" : [ true , null ] , \"a\" : 1 } "),
            ("1.10", "1.1"),
            ("11e-1", "1.1"),
            ("100", "1E+2"),
            ("-0", "0.00e7"),
            (r#""\u0041\/""#, r#""A/""#),
            (r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#),
        ] {
            assert!(same(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn different_values_are_different_payloads() {
        let values = [
            "null",
            "0",
            "\"0\"",
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "{\"a\":[]}",
            "{\"a\":null}",
            "12345678901234567890",
            "12345678901234567891",
            "1e400",
            "1e401",
            "-1",
            "1",
            "1.0000000000000000001",
            "[1,2]",
            "[2,1]",
            "[12]",
            "\"\"",
            "[\"a\",\"b\"]",
            "[\"ab\"]",
            "{\"a\":\"b\"}",
            "{\"b\":\"a\"}",
            "1e99999999999999999999",
            "1e99999999999999999998",
        ];
        for (at, one) in values.iter().enumerate() {
            for other in &values[at + 1..] {
                assert!(!same(one, other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn a_text_is_kept_byte_for_byte() {
        let text = r#"{ "b":1.10, "a":12345678901234567890 }"#;
        assert_eq!(Payload::new(text).expect("valid").as_bytes(), text.as_bytes());
    }

    #[test]
    fn bytes_are_kept_and_compared_as_they_are_whatever_their_content_type_says() {
        let digest = |bytes: &[u8], content_type| Payload::of_bytes(bytes, content_type).digest();
        let bytes = [&b""[..], b"n", b"\0", b"\xff\x00", b"{\"a\":1}", b"{ \"a\":1}"];
        for (at, one) in bytes.into_iter().enumerate() {
            let payload = Payload::of_bytes(one, ContentType::JSON);
            assert_eq!((payload.as_bytes(), payload.content_type()), (one, &ContentType::JSON));
            assert_eq!(payload.digest(), digest(one, ContentType::BYTES));
            for other in bytes[at + 1..].iter().copied() {
                assert_ne!(payload.digest(), digest(other, ContentType::JSON), "{one:?} and {other:?}");
            }
        }
        assert_ne!(digest(b"n", ContentType::JSON), Payload::new("null").expect("valid").digest());
    }

    #[test]
    fn the_sha_256_of_a_body_is_that_of_its_bytes() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected, "the example of FIPS 180-2");
    }

    #[test]
    fn what_is_not_json_is_refused_with_its_place() {
        for bad in ["", "{", "[1,]", "{\"a\":1} x", "nul", "01", "\"\u{1}\"", "{'a':1}", "[1 2]", "\u{feff}1"]
        {
            let error = Payload::new(bad).expect_err(bad);
            assert_eq!(error.reason(), Reason::MalformedJson, "{bad:?}");
            assert!(error.detail().contains("column"), "{}", error.detail());
        }
    }

    #[test]
    fn half_of_a_surrogate_pair_is_refused_with_its_own_place() {
        for (json, place) in [
            (r#"{"t":"cut \ud83d"}"#, r"\ud83d, at line 1 column 11 "),
            (r#"{"t":"cut \ud83d at the beginning of a text","u":1}"#, r"\ud83d, at line 1 column 11 "),
            ("[1,\n \"é\",\n \"\\uDE00\"]", r"\uDE00, at line 3 column 3 "),
            (r#"["\ud83d","\ude00"]"#, r"\ud83d, at line 1 column 3 "),
            (r#"{"\ud83d\ude00\ud83d":1}"#, r"\ud83d, at line 1 column 15 "),
        ] {
            let error = Payload::new(json).expect_err(json);
            assert_eq!(error.reason(), Reason::MalformedJson, "{json}");
            assert!(error.detail().contains(place), "{json}: {}", error.detail());
        }
        // What is wrong before it comes first.
        let error = Payload::new(r#"[1 2,"\ud83d"]"#).expect_err("two values");
        assert!(!error.detail().contains("surrogate"), "{}", error.detail());
    }

    #[test]
    fn a_repeated_member_is_refused_by_name() {
        let error = Payload::new(r#"{"x":{"amount":1,"b":2,"amount":3}}"#).expect_err("repeated");
        assert!(error.detail().contains("amount"), "{}", error.detail());
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Payload::new(nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 100_000] {
            assert_eq!(Payload::new(nested(depth)).expect_err("too deep").field(), Some("payload"));
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(serde_json::Value::String),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map(".{0,3}", inner, 0..5)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_equals_itself_printed_another_way(value in any_json()) {
            let plain = value.to_string();
            let pretty = serde_json::to_string_pretty(&value).expect("prints");
            prop_assert!(same(&plain, &pretty));
        }

        #[test]
        fn what_is_accepted_can_be_shown(text in "[\u{feff}\\[\\]{}:,\" \\\\0-9eE+.\\-abcdfnrtu\u{0}-\u{1f}]{0,12}") {
            if let Ok(payload) = Payload::new(text) {
                prop_assert!(payload.content_type().shown_json_of(payload.as_bytes()).is_some());
            }
        }

        #[test]
        fn two_values_are_equal_exactly_if_their_digests_are(one in any_json(), other in any_json()) {
            prop_assert_eq!(one == other, same(&one.to_string(), &other.to_string()));
        }
    }
}
