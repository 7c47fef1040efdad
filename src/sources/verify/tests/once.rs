//! Tests of `once` where a source has several schemes.

use std::time::Duration;

use super::sha256;
use crate::domain::verdict::Verdict;
use crate::sources::fixture::{NOW, request, rules};
use crate::sources::verify;

#[test]
fn a_value_comes_once_only_if_the_scheme_that_signs_it_verifies_the_request() {
    let settings = r#"
        verify = [
            { hmac = "sha256", header = "X-Body" },
            { hmac = "sha256", header = "X-Token-Signature", signed = "{timestamp}{header:X-Token}", timestamp = { header = "X-Time" }, tolerance = "5m", once = { header = "X-Token" }, covers_body = false },
        ]
        key = "body"
    "#;
    let rules = rules(settings, &["k"]);
    let time = NOW.to_string();
    let of_body = sha256("k", "{}");
    let of_token = sha256("k", &format!("{time}token"));
    let once = |signatures: &[(&str, &str)]| {
        let mut headers = vec![("X-Time", time.as_bytes()), ("X-Token", b"token".as_slice())];
        headers.extend(signatures.iter().map(|(name, value)| (*name, value.as_bytes())));
        let request = request(&headers, b"{}");
        (verify(&request, &rules), rules.once(&request))
    };
    let value = Some(("token".to_owned(), Duration::from_secs(600)));
    let (body, token) = (("X-Body", of_body.as_str()), ("X-Token-Signature", of_token.as_str()));
    assert_eq!(once(&[body]), (Verdict::Verified, None), "anybody can have added the token");
    assert_eq!(once(&[token]), (Verdict::Verified, value.clone()));
    assert_eq!(once(&[body, token]), (Verdict::Verified, value));
}
