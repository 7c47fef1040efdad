use super::*;

fn filter(pointer: &str, equals: &str, contains: &str) -> BodyFilter {
    BodyFilter::from_fields(pointer, equals, contains).expect("valid").expect("given")
}

fn of(content_type: &str) -> ContentType {
    ContentType::of_header(Some(content_type.as_bytes()))
}

/// Whether a body of JSON has a value.
fn has(body: &str, pointer: &str, equals: &str) -> bool {
    filter(pointer, equals, "").matches(body.as_bytes(), &ContentType::JSON)
}

#[test]
fn values_are_compared_as_json_and_strings_also_as_they_are_given() {
    for (value, equals) in [
        ("1", "1"),
        ("1.10", "11e-1"),
        ("100", " 1E+2 "),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1e400", "10e399"),
        ("-0.0", "0"),
        ("true", "true"),
        ("false", "false"),
        ("null", "null"),
        ("\"A-1\"", "A-1"),
        ("\"A-1\"", "\"A-1\""),
        (r#""\u0041\u002d1""#, "A-1"),
        (r#""za\u017c\n""#, "zaż\n"),
        ("\"\"", "\"\""),
        ("\"1\"", "1"),
        ("\"true\"", "true"),
        (r#""[1]""#, "[1]"),
        (r#"{"a":1,"b":[2]}"#, r#"{ "b":[2.0], "a":1 }"#),
        ("[]", "[ ]"),
        (r#""cut \ud83d""#, "cut \u{fffd}"),
        (r#"["\ude00"]"#, r#"["\ud800"]"#),
    ] {
        assert!(has(&format!("{{\"v\": {value} }}"), "/v", equals), "{value} is {equals}");
    }
    for (value, equals) in [
        ("1", "\"1\""),
        ("1", "2"),
        ("12345678901234567890123", "12345678901234567890124"),
        ("1e400", "1e401"),
        ("true", "\"true\""),
        ("true", "false"),
        ("null", "0"),
        ("\"A-1\"", "a-1"),
        ("\"A-1\"", "A-"),
        ("[1,2]", "[2,1]"),
        ("{}", "[]"),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
        (r#""\ud800""#, r"\ud800"),
    ] {
        assert!(!has(&format!("{{\"v\":{value}}}"), "/v", equals), "{value} is not {equals}");
    }
}

#[test]
fn a_pointer_leads_into_objects_and_arrays_and_an_empty_one_is_the_whole_body() {
    let body = r#" {"data":[{"id":"x"},{"id":"y","a/b":{"m~n":7}}]} "#;
    assert!(has(body, "/data/1/id", "y") && has(body, "/data/1/a~1b/m~0n", "7.0"));
    for pointer in ["/data/0/a~1b", "/data/2/id", "/data/00/id", "/id", "/data/id"] {
        assert!(!has(body, pointer, "y"), "{pointer}");
    }
    assert!(has("[1, 2]", "", "[1,2.0]") && has("\"x\"", "", "x") && !has("[1, 2]", "", "1"));
}

#[test]
fn a_form_is_an_object_of_its_fields() {
    let form = of("application/x-www-form-urlencoded; charset=utf-8");
    let body = b"id=A%2D1&tag=x&tag=%22y%22&text=a+b&bad=%FF";
    for (pointer, equals) in [
        ("/id", "A-1"),
        ("/tag/0", "x"),
        ("/tag/1", "\"y\""),
        ("/tag", r#"["x","\"y\""]"#),
        ("/text", "a b"),
        ("/bad", "\u{fffd}"),
    ] {
        assert!(filter(pointer, equals, "").matches(body, &form), "{pointer} {equals}");
    }
    assert!(!filter("/id/0", "A-1", "").matches(body, &form));
    assert!(!filter("/id", "A-1", "").matches(body, &ContentType::JSON));
}

#[test]
fn any_other_body_is_a_text() {
    let (whole, inside) = (filter("", "{\"a\":1} x", ""), filter("/a", "1", ""));
    for content_type in ["text/plain", "application/json"] {
        assert!(whole.matches(b"{\"a\":1} x", &of(content_type)), "{content_type}");
        assert!(!inside.matches(b"{\"a\":1} x", &of(content_type)), "{content_type}");
    }
    assert!(!inside.matches(b"{\"a\":1}", &of("text/plain")), "only a body of a type of JSON has members");
    assert!(!filter("", "\u{fffd}", "").matches(b"\xff", &ContentType::BYTES));
}

#[test]
fn bytes_are_found_anywhere_whatever_the_body_is() {
    let contains = |text: &str, body: &[u8]| filter("", "", text).matches(body, &ContentType::BYTES);
    let long = [vec![b'x'; 1 << 20], b"needle".to_vec(), vec![0xff]].concat();
    assert!(contains("needle", &long) && contains("ż", "zażółć".as_bytes()) && contains("\0", b"a\0b"));
    assert!(!contains("Needle", &long) && !contains("x", b"") && !contains("\\u0041", b"A"));
}

#[test]
fn all_that_is_given_has_to_match() {
    let both = filter("/id", "1", "paid");
    let matches = |body: &str| both.matches(body.as_bytes(), &ContentType::JSON);
    assert!(matches(r#"{"id":1,"state":"paid"}"#));
    assert!(!matches(r#"{"id":1}"#) && !matches(r#"{"id":2,"state":"paid"}"#));
}

#[test]
fn hostile_bodies_are_read_without_harm() {
    let digits = "9".repeat(1 << 20);
    assert!(!has(&format!("[{digits}]"), "/0", "9") && has(&format!("[0,{digits}e1]"), "/0", "0"));
    let exponent = format!("1e{}", "9".repeat(10_000));
    assert!(!has(&format!("[{exponent}]"), "/0", "1"));
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!has(&deep(100_000), "/0/0/0", "1") && has(&deep(3), "/0/0/0", "1"));
    assert!(!has(&deep(100_000), "", "[1]"));
    assert!(has(&format!("[{}7]", "0,".repeat(100_000)), "/100000", "7"));
    for body in ["", "{", "[1", "nul", "\u{feff}[1]", "[1]x", "[\"\\x\"]"] {
        assert!(!has(body, "/0", "1"), "{body:?}");
    }
    let broken = BodyFilter::from_fields("/a", "1", "").expect("valid").expect("given");
    assert!(!broken.matches(b"{\"a\":1,\"b\":\"\xff\"}", &ContentType::JSON), "it is not UTF-8");
}

#[test]
fn what_cannot_be_looked_for_is_refused() {
    let long = "x".repeat(4_097);
    let deep = "/a".repeat(MAX_POINTER_MEMBERS + 1);
    for (pointer, equals, contains, field) in [
        ("/a", "", "", "body_equals"),
        ("a", "1", "", "body_pointer"),
        ("/~2", "1", "", "body_pointer"),
        (deep.as_str(), "1", "", "body_pointer"),
        ("/a", long.as_str(), "", "body_equals"),
        ("", "", long.as_str(), "body_contains"),
    ] {
        let error = BodyFilter::from_fields(pointer, equals, contains).expect_err("refused");
        assert_eq!(error.field(), Some(field), "{error}");
    }
    assert!(BodyFilter::from_fields("", "", "").expect("valid").is_none());
}
