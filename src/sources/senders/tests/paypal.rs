//! Tests of PayPal.

use serde_json::json;

use super::*;

#[test]
fn a_change_of_any_byte_of_the_body_is_refused() {
    for vector in good("paypal") {
        every_byte_of_the_body_counts(&vector);
    }
    assert!(!first("paypal").rules().covers_body(), "a CRC is no proof");
}

#[test]
fn a_request_with_a_header_that_is_missing_or_there_twice_is_refused_with_its_cause() {
    let vector = first("paypal");
    for (name, cause) in [
        ("PAYPAL-TRANSMISSION-SIG", Cause::SignatureMissing),
        ("PAYPAL-TRANSMISSION-TIME", Cause::TimestampMissing),
        ("PAYPAL-TRANSMISSION-ID", Cause::SignatureMalformed),
        ("PAYPAL-CERT-URL", Cause::SignatureMalformed),
        ("PAYPAL-AUTH-ALGO", Cause::SignatureMalformed),
    ] {
        assert_eq!(with_header(&vector, name, None), unverified(cause), "{name}");
        assert_eq!(with_header(&vector, name, Some("")), unverified(cause), "{name}");
        let mut twice = vector.clone();
        twice.headers.push((name.to_owned(), header(&vector, name).to_owned()));
        assert_eq!(with_body(&twice, &text(&twice)), unverified(cause), "{name}");
    }
    for (name, value, cause) in [
        ("PAYPAL-AUTH-ALGO", "SHA1withRSA", Cause::SignatureMalformed),
        ("PAYPAL-TRANSMISSION-SIG", "!", Cause::SignatureMalformed),
        ("PAYPAL-TRANSMISSION-ID", "a|b", Cause::SignatureMalformed),
        ("PAYPAL-TRANSMISSION-TIME", "now", Cause::TimestampMissing),
    ] {
        assert_eq!(with_header(&vector, name, Some(value)), unverified(cause), "{name}: {value}");
    }
}

#[test]
fn webhooks_of_another_id_are_refused() {
    let vector = with_settings(&first("paypal"), json!({ "webhook_id": "other" }));
    assert_eq!(with_body(&vector, &text(&vector)), unverified(Cause::SignatureMismatch));
}

#[test]
fn other_urls_of_certificates_are_refused_and_never_asked_for() {
    let vector = first("paypal");
    for url in [
        "http://api.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
        "https://evil.paypal.com/v1/notifications/certs/CERT-1",
        "https://api.paypal.com./v1/notifications/certs/CERT-1",
        "https://api.paypal.com:8443/v1/notifications/certs/CERT-1",
        "https://api.paypal.com/v1/notifications/certs/",
        "https://api.paypal.com/v1/notifications/certs/../CERT-1",
        "https://api.paypal.com/v1/notifications/certs/CERT-1?a=b",
        "https://api.paypal.com/v1/other/CERT-1",
        "https://www.paypal.com/v1/notifications/certs/CERT-1",
    ] {
        let verdict = with_header(&vector, "PAYPAL-CERT-URL", Some(url));
        assert_eq!(verdict, unverified(Cause::SignatureMalformed), "{url}");
    }
}

#[test]
fn the_time_may_be_as_old_as_the_last_retry() {
    const HOUR: i64 = 60 * 60;
    let vector = first("paypal");
    assert_eq!(later(&vector, 73 * HOUR), Verdict::Verified);
    assert_eq!(later(&vector, 73 * HOUR + 1), unverified(Cause::TimestampTooOld));
    assert_eq!(later(&vector, -73 * HOUR - 1), unverified(Cause::TimestampInFuture));
    let hour = json!({ "webhook_id": "8PT597110X687430LKGECATA", "tolerance": "1h" });
    let strict = with_settings(&vector, hour);
    assert_eq!(later(&strict, HOUR), Verdict::Verified);
    assert_eq!(later(&strict, HOUR + 1), unverified(Cause::TimestampTooOld));
}
