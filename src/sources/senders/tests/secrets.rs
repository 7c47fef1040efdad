//! Tests of senders with secrets: Adyen and Hook0.

use serde_json::json;

use super::*;

#[test]
fn a_change_of_a_field_that_adyen_signs_is_refused() {
    let vector = good("adyen").remove(1);
    let body = text(&vector);
    for (field, other) in [
        (r#""pspReference":"7914073381342284""#, r#""pspReference":"7914073381342285""#),
        (r#""originalReference":"7914073381342284""#, r#""originalReference":"1""#),
        (r#""originalReference":"7914073381342284","#, ""),
        ("TestMerchant", "OtherMerchant"),
        (r#""merchantReference":"a:b\\c""#, r#""merchantReference":"a:b""#),
        (r#""value":1130"#, r#""value":1131"#),
        (r#""value":1130"#, r#""value":11.30e2"#),
        (r#""currency":"EUR""#, r#""currency":"USD""#),
        ("AUTHORISATION", "REFUND"),
        (r#""success":"true""#, r#""success":"false""#),
    ] {
        assert!(body.contains(field), "{field}");
        // The first item with it, and the last.
        let (before, after) = body.rsplit_once(field).expect("is there");
        for changed in [body.replacen(field, other, 1), format!("{before}{other}{after}")] {
            assert_eq!(with_body(&vector, &changed), unverified(Cause::SignatureMismatch), "{changed}");
        }
    }
    let unsigned = body.replace("2026-01-01T00", "2026-01-01T01");
    assert_eq!(with_body(&vector, &unsigned), Verdict::Verified, "the date is not signed");
    assert!(!vector.rules().covers_body());
}

/// Where a body has values of this member: texts without their quotes, and numbers.
fn values_of(body: &str, name: &str) -> Vec<Range<usize>> {
    let member = format!("\"{name}\":");
    let starts = body.match_indices(&member).map(|(at, _)| at + member.len());
    let value = |start: usize| match body[start..].strip_prefix('"') {
        Some(text) => start + 1..start + 1 + text.find('"').expect("ends"),
        None => start..start + body[start..].find([',', '}']).expect("ends"),
    };
    starts.map(value).collect()
}

#[test]
fn a_change_of_any_byte_of_a_field_that_adyen_signs_is_refused() {
    let vector = good("adyen").remove(1);
    let body = text(&vector);
    for (field, count) in [
        ("pspReference", 2),
        ("originalReference", 1),
        ("merchantAccountCode", 2),
        ("merchantReference", 2),
        ("value", 2),
        ("currency", 2),
        ("eventCode", 2),
        ("success", 2),
    ] {
        let values = values_of(&body, field);
        assert_eq!(values.len(), count, "{field}");
        for value in values {
            every_byte_counts(&vector, value);
        }
    }
}

#[test]
fn every_item_of_adyen_needs_a_signature() {
    let vector = good("adyen").remove(1);
    let body = text(&vector);
    let without = |last: bool| {
        let name = "\"hmacSignature\"";
        let found = if last { body.rsplit_once(name) } else { body.split_once(name) };
        let (before, after) = found.expect("is there");
        with_body(&vector, &format!("{before}\"other\"{after}"))
    };
    let missing = unverified(Cause::SignatureMissing);
    assert_eq!([without(false), without(true)], [missing; 2]);
    for body in ["", "{}", "[]", r#"{"notificationItems":[]}"#, r#"{"notificationItems":[{}]}"#] {
        assert_eq!(with_body(&vector, body), missing, "{body}");
    }
    let twice = body.replacen(r#""success":"true""#, r#""success":"true","success":"true""#, 1);
    assert_eq!(with_body(&vector, &twice), missing, "it could be read in two ways");
    let signature = "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=";
    for (other, cause) in [
        ("", Cause::SignatureMissing),
        ("!", Cause::SignatureMalformed),
        ("coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo4=", Cause::SignatureMismatch),
    ] {
        assert_eq!(with_body(&vector, &body.replace(signature, other)), unverified(cause), "{other}");
    }
}

#[test]
fn a_password_can_be_required_besides_the_signature_of_adyen() {
    let mut vector = with_settings(&first("adyen"), json!({ "basic": true }));
    vector.secrets.push("user:s3cret".to_owned());
    let of = |value: Option<&str>| with_header(&vector, "Authorization", value);
    assert_eq!(of(Some("Basic dXNlcjpzM2NyZXQ=")), Verdict::Verified);
    assert_eq!([of(None), of(Some(""))], [unverified(Cause::SignatureMissing); 2]);
    assert_eq!(of(Some("Bearer s3cret")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(Some("Basic dXNlcjpvdGhlcg==")), unverified(Cause::CredentialsWrong));
    vector.headers.push(("Authorization".to_owned(), "Basic dXNlcjpzM2NyZXQ=".to_owned()));
    let body = text(&vector).replace("TestMerchant", "OtherMerchant");
    assert_eq!(with_body(&vector, &body), unverified(Cause::SignatureMismatch));
}

#[test]
fn no_part_of_the_body_passes_for_a_header_of_hook0_or_the_other_way_round() {
    let vector = first("coinbase-cdp");
    let (body, name) = (text(&vector), "x-event-type");
    let event_type = header(&vector, name).to_owned();
    let with = |value: &str, body: &str| {
        let mut changed = vector.clone();
        changed.headers.retain(|(other, _)| other != name);
        changed.headers.push((name.to_owned(), value.to_owned()));
        with_body(&changed, body)
    };
    assert_eq!(with(&event_type, &body), Verdict::Verified);
    let malformed = unverified(Cause::SignatureMalformed);
    let (front, rest) = body.split_once('.').expect("has a dot");
    assert_eq!(with(&format!("{event_type}.{front}"), rest), malformed);
    let (front, rest) = event_type.split_once('.').expect("has a dot");
    assert_eq!(with(front, &format!("{rest}.{body}")), malformed);
}

#[test]
fn a_header_that_hook0_signs_has_to_be_there_once() {
    let vector = first("coinbase-cdp");
    assert_eq!(with_header(&vector, "x-event-id", None), unverified(Cause::SignatureMalformed));
    let mut twice = vector.clone();
    twice.headers.push(("X-Event-Id".to_owned(), "other".to_owned()));
    assert_eq!(with_body(&twice, &text(&twice)), unverified(Cause::SignatureMalformed));
}

#[test]
fn the_signature_of_hook0_needs_all_of_its_parts() {
    let vector = good("coinbase-cdp").remove(1);
    let signature = header(&vector, "X-Hook0-Signature");
    let of = |value: &str| with_header(&vector, "X-Hook0-Signature", Some(value));
    let without = |name: &str| {
        let items = signature.split(", ").filter(|item| !item.starts_with(name));
        items.collect::<Vec<_>>().join(",")
    };
    assert_eq!(of(signature), Verdict::Verified);
    assert_eq!(of(""), unverified(Cause::SignatureMissing));
    assert_eq!(of(&without("t=")), unverified(Cause::TimestampMissing));
    assert_eq!(of(&without("h=")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(&without("v1=")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(&signature.replace("v1=", "v0=")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(&format!("{signature},t=1767225600")), unverified(Cause::TimestampMissing));
    assert_eq!(of(&format!("{signature},h=x-event-id")), unverified(Cause::SignatureMalformed));
    assert_eq!(of(&signature.replace("t=17", "t=x")), unverified(Cause::TimestampMissing));
    assert_eq!(of(&signature.replace(" x-event-type", "")), unverified(Cause::SignatureMismatch));
    assert_eq!(of(&signature.replace("x-event-type", "x-other")), unverified(Cause::SignatureMalformed));
    let many = signature.replace("h=", &format!("h={}", "content-type ".repeat(64)));
    assert_eq!(of(&many), unverified(Cause::SignatureMalformed));
    assert_eq!(later(&vector, 300), Verdict::Verified);
    assert_eq!(later(&vector, 301), unverified(Cause::TimestampTooOld));
    assert_eq!(later(&vector, -301), unverified(Cause::TimestampInFuture));
}
