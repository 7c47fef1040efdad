//! Tests of senders that prove themselves by JSON Web Tokens: Google Cloud Pub/Sub and Plaid. Tokens with wrong claims
//! are among the vectors.

use super::*;

#[test]
fn a_token_of_google_says_nothing_about_the_body() {
    let vector = first("google-pubsub");
    assert_eq!(with_body(&vector, "{}"), Verdict::Verified);
    assert!(!vector.rules().covers_body());
}

#[test]
fn google_needs_one_bearer_token() {
    let vector = first("google-pubsub");
    let of = |value: Option<&str>| with_header(&vector, "Authorization", value);
    assert_eq!([of(None), of(Some(""))], [unverified(Cause::SignatureMissing); 2]);
    for value in ["Bearer", "Bearer a.b.c", "Basic dXNlcjpwYXNzd29yZA=="] {
        assert_eq!(of(Some(value)), unverified(Cause::SignatureMalformed), "{value}");
    }
    let token = header(&vector, "Authorization").replace("Bearer ", "bearer ");
    assert_eq!(of(Some(&token)), Verdict::Verified);
    let mut twice = vector.clone();
    twice.headers.push(("authorization".to_owned(), token));
    assert_eq!(with_body(&twice, &text(&twice)), unverified(Cause::SignatureMissing));
}

#[test]
fn a_token_of_google_ends_with_its_expiry() {
    let vector = first("google-pubsub");
    assert_eq!(later(&vector, 3060), Verdict::Verified, "within a minute of tolerance");
    assert_eq!(later(&vector, 3061), unverified(Cause::TimestampTooOld));
    assert_eq!(later(&vector, -660), Verdict::Verified);
    assert_eq!(later(&vector, -661), unverified(Cause::TimestampInFuture));
}

#[test]
fn plaid_needs_its_header_and_allows_five_minutes() {
    let vector = first("plaid");
    assert_eq!(with_header(&vector, "Plaid-Verification", None), unverified(Cause::SignatureMissing));
    assert_eq!(with_header(&vector, "Plaid-Verification", Some("")), unverified(Cause::SignatureMissing));
    assert_eq!(
        with_header(&vector, "Plaid-Verification", Some("a.b")),
        unverified(Cause::SignatureMalformed)
    );
    assert_eq!(later(&vector, 300), Verdict::Verified);
    assert_eq!(later(&vector, 301), unverified(Cause::TimestampTooOld));
    assert_eq!(later(&vector, -301), unverified(Cause::TimestampInFuture));
    assert!(vector.rules().covers_body());
}
