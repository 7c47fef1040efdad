//! Results, failures and mistakes of expressions.

use super::*;

const BODY: &str = r#"{"total":100.5,"whole":101,"exp":1e3,"big":18446744073709551615,"huge":1e400,
    "name":"Zażółć","none":null,"paid":true,"tags":["a","b"],"lines":[{"sku":"x","qty":2},{"sku":"y","qty":5}],
    "user":{"e-mail":"a@b.c","address":{"city":"Łódź"}},"same":{"tags":["a","b"]}}"#;

/// Whether the condition is true for `BODY`, or why its evaluation fails.
fn says(condition: &str) -> Result<bool, String> {
    let routes = compiled(vec![with_condition("r", condition)]);
    let matches = !jobs(&routes, "shop", "orders/created", BODY).is_empty();
    let failures = routes.failures(&RouteName::new("r").expect("a name")).expect("a route");
    match failures.last_error {
        Some(error) => Err(error),
        None => Ok(matches),
    }
}

#[test]
fn numbers_compare_as_users_expect() {
    for condition in [
        "body.total > 100",
        "body.total == 100.5",
        "body.whole > 100",
        "body.whole == 101.0",
        "body.exp == 1000",
        "body.exp > 100",
        "body.big > 1",
        "body.huge > 1e300",
        "body.whole + 1 == 102",
        "double(body.whole) + body.total > 201.0",
        "int(body.exp) % 7 == 6",
    ] {
        assert_eq!(says(condition), Ok(true), "{condition}");
    }
}

#[test]
fn all_parts_of_a_webhook_can_be_named() {
    for condition in [
        r#"source == "shop" && event_type.startsWith("orders/") && key == "key-1""#,
        r#"headers["x-region"] == "eu""#,
        r#"headers.accept == "a, b""#,
        r#"!("x-other" in headers)"#,
        r#"headers.exists(name, name.endsWith("region"))"#,
        r#"body.user["e-mail"].contains("@")"#,
        r#"body.user.address.city == "Łódź" && size(body.name) == 6"#,
        r#"body.lines[1].qty == 5 && body.lines[-1 + 1].sku == "x""#,
        r#""a" in body.tags && !("c" in body.tags)"#,
        r#""total" in body && !("no" in body)"#,
        r#"body.none == null && body.paid"#,
        r#"body.lines.exists(line, line.sku == "y" && line.qty > 3)"#,
        r#"body.lines.all(line, line.qty > 1) && body.lines.exists_one(line, line.qty == 5)"#,
        r#"body.lines.map(line, line.qty) == [2, 5]"#,
        r#"[2, 5] == body.lines.map(line, line.qty)"#,
        r#"body.lines.filter(line, line.qty > 2).size() == 1"#,
        r#"body.lines.filter(line, line.qty > 2)[0].sku == "y""#,
        r#"size(body.lines) == 2 && size(body) == 12"#,
        r#"body.tags == ["a", "b"] && ["a", "b"] == body.tags && body.tags != ["a"]"#,
        r#"body.same == {"tags": ["a", "b"]} && {"tags": ["a", "b"]} == body.same && body.same.tags == body.tags"#,
        r#"body.tags in [["a", "b"]] && [["a", "b"]].exists(list, list == body.tags)"#,
        r#"(body.tags + ["c"]) == ["a", "b", "c"] && (["c"] + body.tags)[2] == "b""#,
        r#"body.name.matches("^Za.*ć$") && matches(source, "sh.p")"#,
        r#"has(body.user.address) && !has(body.user.phone)"#,
        r#"type(body.lines) == list && type(body.user) == map && type(body.whole) == int"#,
        r#"body.lines.map(body, body.qty).exists(qty, qty == 5)"#,
        r#"[1, 2].all(x, [3].all(y, y > x)) && {"a": body.whole}.a == 101"#,
        r#"body.total > 1000 ? body.no : body.paid"#,
        "// a comment\nbody.paid",
    ] {
        assert_eq!(says(condition), Ok(true), "{condition}");
    }
}

#[test]
fn what_is_absent_or_of_another_type_fails_unless_the_rest_decides() {
    for (condition, error) in [
        ("body.no > 1", "No such key: no"),
        ("body.user.no.deeper == 1", "No such key: no"),
        ("has(body.no.deeper)", "No such key: no"),
        ("body.name > 1", "found no matching overload"),
        ("body.lines > 1", "found no matching overload"),
        ("body.lines[2].qty == 1", "Index out of bounds"),
        ("body.name.sku == 1", "found no matching overload"),
        ("body.whole.startsWith('a')", "found no matching overload"),
        ("body.whole.matches('a')", "found no matching overload"),
        ("body.whole / 0 == 1", "Division by zero"),
        ("body.big + 1 == 2", "Unsupported binary operator"),
        ("body.whole.all(x, true)", "iterable"),
        ("body.total", "got 'double', want 'bool'"),
        ("body.name", "got 'string', want 'bool'"),
        ("body.lines", "got 'list', want 'bool'"),
    ] {
        assert!(
            says(condition).is_err_and(|said| said.contains(error)),
            "{condition}: {:?}",
            says(condition)
        );
    }
    assert_eq!(says("body.no > 1 || body.paid"), Ok(true));
    assert_eq!(says("body.no > 1 && !body.paid"), Ok(false));
    assert_eq!(says("has(body.no) && body.no > 1"), Ok(false));
}

#[test]
fn failures_are_counted_by_route_and_the_last_one_is_kept() {
    let routes =
        compiled(vec![with_condition("a", "body.n > 1"), with_condition("b", "body.n > 1"), route("c")]);
    let failures = |name: &str| routes.failures(&RouteName::new(name).expect("a name"));
    assert_eq!(taken(&routes, "s", "e", r#"{"n":2}"#), ["a", "b", "c"]);
    assert_eq!(taken(&routes, "s", "e", "{}"), ["c"]);
    assert_eq!(taken(&routes, "s", "e", r#"{"n":"x"}"#), ["c"]);
    let expected = Failures {
        count: 2,
        last_error: Some("found no matching overload for '_>_' applied to '(string, int)'".into()),
    };
    assert_eq!(failures("a"), Some(expected.clone()));
    assert_eq!(failures("b"), Some(expected));
    assert_eq!(failures("c"), Some(Failures::default()));
    assert_eq!(failures("no-such-route"), None);
}

#[test]
fn mistakes_are_found_when_an_expression_is_compiled() {
    for (condition, problem) in [
        ("", "a CEL expression"),
        ("body.total >", "a CEL expression"),
        ("body.total > 1 body", "mismatched input"),
        (
            "bdoy.total > 1",
            "`bdoy`: there is no such variable; use one of source, event_type, key, body, headers",
        ),
        ("[1].all(x, x > 0) && x > 1", "`x`: there is no such variable"),
        ("body.total.round() > 1", "`round`: there is no such function"),
        ("timestamp(body.at) > timestamp(body.since)", "`timestamp`: there is no such function"),
        ("hookbox.Order{id: 1} == body", "message types are not supported"),
        ("body.name.matches(body.pattern)", "must be one string literal"),
        ("body.name.matches('(')", "not a valid regular expression: unclosed group"),
        ("body.name.matches('\\\\w{1000}{1000}')", "the pattern is too large"),
        ("body.?total == 1", "a CEL expression"),
        ("optional.of(1).hasValue()", "`optional`: there is no such variable"),
        ("@meter == 1", "a CEL expression"),
    ] {
        let mistakes = Routes::new(vec![with_condition("r", condition)]).expect_err(condition);
        assert!(
            mistakes.iter().any(|mistake| mistake.allowed.contains(problem)),
            "{condition}: {mistakes:?}"
        );
    }
}
