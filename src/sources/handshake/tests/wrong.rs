//! Tests of requests that meet the conditions of a handshake and cannot be answered.

use super::*;

/// What is wrong with a request that meets the conditions of a handshake; none if it is answered, or is no handshake.
fn wrong(request: &Request<'_>, rules: &Rules) -> Option<String> {
    match handshake(request, verify(request, rules), rules)? {
        Handshake::Answered(_) => None,
        Handshake::Wrong(problem) => Some(problem),
    }
}

#[test]
fn a_request_that_meets_the_conditions_but_has_a_wrong_value_is_told_what_is_wrong() {
    let settings = r#"handshakes = [
        { when = [{ json = "/type", equals = "check" }], value = { json = "/challenge" } },
        { method = "GET", value = { query = "c" }, shape = "digits" },
    ]"#;
    let rules = rules(&format!("{UNSIGNED}{settings}"), &[]);
    let posted = |body: &str| wrong(&request(&[], body.as_bytes()), &rules).unwrap_or_default();
    let is_missing = "the JSON value `/challenge` is missing, empty, or no string, number or boolean";
    assert_eq!(posted(r#"{"type":"check"}"#), is_missing);
    assert_eq!(posted(r#"{"type":"check","challenge":{}}"#), is_missing);
    assert!(posted(r#"{"type":"check","challenge":"a<b"}"#).starts_with(
        "the JSON value `/challenge` does not have the shape `token`, which is 1 to 1024 of A-Z,"
    ));
    assert_eq!(posted(r#"{"type":"other","challenge":"a<b"}"#), "", "it is no handshake");
    let got = |query| wrong(&Request { method: "GET", query, ..request(&[], b"") }, &rules);
    let digits = "the query parameter `c` does not have the shape `digits`, which is 1 to 64 of 0-9";
    assert_eq!(got("c=12a").as_deref(), Some(digits));
    let twice = "the query parameter `c` is missing, empty, or there more than once";
    assert_eq!(got("c=1&c=1").as_deref(), Some(twice));
    assert_eq!([got("c=12"), got("")], [None, None], "it is answered, and it is no handshake");
}

#[test]
fn of_several_handshakes_one_that_can_be_answered_is() {
    let settings =
        r#"handshakes = [{ value = { json = "/v" }, shape = "digits" }, { value = { json = "/v" } }]"#;
    assert_eq!(post(settings, r#"{"v":"a"}"#).map(|answer| answer.body).as_deref(), Some("a"));
}

#[test]
fn a_subscription_whose_url_is_another_one_is_not_confirmed() {
    let vector = vectors().handshakes.into_iter().rfind(|vector| vector.preset == "aws-sns");
    let vector = vector.expect("is there");
    let body = String::from_utf8(vector.body()).expect("UTF-8").replace("Action=Confirm", "Action=Delete");
    vector.with_request(body.as_bytes(), |request| {
        let Some(Handshake::Wrong(problem)) = handshake(request, Verdict::Verified, &vector.rules()) else {
            panic!("it is answered")
        };
        assert!(problem.contains("`SubscribeURL`"), "{problem}");
    });
}

#[test]
fn a_token_of_another_shape_is_told() {
    let settings = "handshakes = [{ verified = false, show = \"token\" }]";
    let rules = rules(&format!("{UNSIGNED}{settings}"), &[]);
    let posted = |body: &str| wrong(&request(&[], body.as_bytes()), &rules);
    let told = posted(r#"{"token":"<script>"}"#).expect("it is no token");
    assert!(told.starts_with("the member `token` does not have the shape `token`"), "{told}");
    assert_eq!([posted(r#"{"token":"a"}"#), posted(r#"{"token":"<","id":1}"#)], [None, None]);
}
