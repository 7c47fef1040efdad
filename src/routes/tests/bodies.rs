//! Bodies that are not JSON, as conditions and pointers see them.

use super::*;
use crate::domain::content_type::ContentType;

const FORM: &str = "application/x-www-form-urlencoded";

fn payload(body: &[u8], content_type: &str) -> Payload {
    Payload::of_bytes(body, ContentType::of_header(Some(content_type.as_bytes())))
}

/// Whether the condition is true for a body, or why its evaluation fails.
fn says(condition: &str, body: &[u8], content_type: &str) -> Result<bool, String> {
    let routes = compiled(vec![with_condition("r", condition)]);
    let matches = !jobs_for(&routes, "shop", "e", &payload(body, content_type)).is_empty();
    let failures = routes.failures(&RouteName::new("r").expect("a name")).expect("a route");
    failures.last_error.map_or(Ok(matches), Err)
}

/// The order value at `/id` of a body.
fn order(body: &[u8], content_type: &str) -> Option<String> {
    let ordered = RouteSettings { order_by: Some("/id".into()), ..route("r") };
    let mut jobs = jobs_for(&compiled(vec![ordered]), "shop", "e", &payload(body, content_type));
    jobs.pop().and_then(|job| job.order).map(|order| order.as_str().to_owned())
}

#[test]
fn a_form_is_an_object_of_its_fields() {
    let body = b"name=Za%C5%BC+%C3%B3%C5%82%C4%87&tag=b&total=12&tag=a&empty=&flag&%5Bx%5D=%ff";
    for condition in [
        "body.name == 'Zaż ółć'",
        "body.total == '12'",
        "body.tag == ['b', 'a']",
        "body.empty == '' && body.flag == ''",
        "body['[x]'] == '\u{fffd}'",
        "!('other' in body) && size(body) == 6",
    ] {
        assert_eq!(says(condition, body, FORM), Ok(true), "{condition}");
    }
    assert_eq!(says("size(body) == 0", b"", FORM), Ok(true));
    assert_eq!(says("body.n == '1'", b"n=1", &format!("{FORM}; charset=utf-8")), Ok(true));
}

#[test]
fn jobs_are_ordered_by_a_field_of_a_form() {
    assert_eq!(order(b"id=A%201&x=1", FORM).as_deref(), Some("\"A 1"));
    assert_eq!(order(b"x=1", FORM), None);
    let repeated = order(b"id=1&id=2", FORM);
    assert_ne!(repeated, None);
    assert_ne!(repeated, order(b"id=2&id=1", FORM));
    // As a list of JSON.
    assert_eq!(repeated, order(br#"{"id":["1","2"]}"#, "application/json"));
}

#[test]
fn a_body_of_any_type_of_json_is_json() {
    for content_type in ["application/json; charset=utf-8", "text/json", "application/cloudevents+json"] {
        assert_eq!(says("body.n == 1", br#"{"n":1}"#, content_type), Ok(true), "{content_type}");
    }
    assert_eq!(order(br#"{"id":1}"#, "application/json").as_deref(), Some("#1e0"));
}

#[test]
fn any_other_text_is_a_string() {
    let xml = "<n>żółć</n>".as_bytes();
    assert_eq!(says("body.contains('żółć')", xml, "application/xml"), Ok(true));
    assert_eq!(says("body == ''", b"", "application/json"), Ok(true));
    assert_eq!(says(r#"body == '{"n":1}'"#, br#"{"n":1}"#, "text/plain"), Ok(true));
    assert_eq!(order(br#"{"id":1}"#, "text/plain"), None);
}

#[test]
fn half_a_character_is_the_replacement_character_and_hides_nothing_else() {
    let body = br#"{"id":"A 1","\ud83d":[1.50,{"n":2}],"message":"cut \ud83d","smile":"\ud83d\ude00"}"#;
    for condition in [
        "body.id == 'A 1'",
        "body.message == 'cut \u{fffd}'",
        "body.smile == '😀'",
        "body['\u{fffd}'][1].n == 2",
    ] {
        assert_eq!(says(condition, body, "application/json"), Ok(true), "{condition}");
    }
    assert_eq!(order(body, "application/json"), order(br#"{"id":"A 1"}"#, "application/json"));
    let cut = order(br#"{"id":"cut \ude00"}"#, "application/json");
    assert_eq!(cut.as_deref(), Some("\"cut \u{fffd}"));
}

#[test]
fn a_condition_that_fails_on_a_text_says_why_the_body_is_one() {
    let deep = [b"[".repeat(129), b"]".repeat(129)].concat();
    for (body, content_type, why) in [
        (&br#"{"id":1"#[..], "application/json", "read as a text, because it is not valid JSON"),
        (b"\xef\xbb\xbf{\"id\":1}", "application/json", "read as a text, because it is not valid JSON"),
        (br#"{"id":1,"id":1}"#, "text/json", "read as a text, because it repeats a member in an object"),
        (&deep[..], "application/json", "read as a text, because it nests more than 128 levels deep"),
        (br#"{"id":1}"#, "text/plain", "read as a text, because its content type is neither"),
        (b"{\"id\":\"\xff\"}", "application/json", "read as null, because it is not UTF-8"),
    ] {
        let error = says("body.id == 1", body, content_type).expect_err(why);
        assert!(error.contains("; the body was ") && error.contains(why), "{error}");
    }
    let error = says("body.id == 1", br#"{"no":1}"#, "application/json").expect_err("there is no id");
    assert!(!error.contains("the body was"), "{error}");
}

#[test]
fn json_that_hookbox_does_not_take_apart_is_a_string() {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    for body in [&b"{"[..], br#"{"id":1,"id":2}"#, br#"[{"a":{"b":1,"b":1}}]"#, &deep[..]] {
        assert_eq!(says("body.startsWith('[') || body.startsWith('{')", body, "application/json"), Ok(true));
        assert_eq!(order(body, "application/json"), None);
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_null() {
    for content_type in ["application/json", "text/plain", "image/png"] {
        assert_eq!(says("body == null", b"\xff", content_type), Ok(true), "{content_type}");
        assert_eq!(order(b"\xff", content_type), None, "{content_type}");
    }
}
