//! Expressions and bodies that would need unbounded time, memory or stack without the limits.

use super::*;

/// A body of about 1 MiB: many small values, arrays of arrays, a long text.
pub(super) fn large_body() -> String {
    let numbers = (0..60_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let lines =
        (0..2_000).map(|n| format!(r#"{{"n":{n},"list":[1,2,3,4,5,6,7,8]}}"#)).collect::<Vec<_>>().join(",");
    let text = "x".repeat(500_000);
    let body = format!(r#"{{"numbers":[{numbers}],"lines":[{lines}],"text":"{text}"}}"#);
    assert!((900_000..1_100_000).contains(&body.len()));
    body
}

/// Whether the evaluation was stopped because of its cost.
fn is_stopped(condition: &str, payload: &Payload) -> bool {
    let routes = compiled(vec![with_condition("r", condition)]);
    let matches = !jobs_for(&routes, "s", "e", payload).is_empty();
    let error = routes.failures(&RouteName::new("r").expect("a name")).expect("a route").last_error;
    let stopped = error.as_ref().is_some_and(|error| error.contains("steps on this webhook"));
    assert!(!(stopped && matches));
    stopped
}

/// Expressions that need more than their budget.
pub(super) const COSTLY: [&str; 16] = [
    "body.numbers.all(a, body.numbers.all(b, body.numbers.all(c, a + b + c >= 0)))",
    "body.numbers.exists(a, body.numbers.exists(b, a + b < 0))",
    "body.numbers.map(a, body.numbers).size() > 0 && body.numbers.all(a, body.numbers.map(b, b) != [])",
    "body.numbers.all(n, body.text.contains('zzz') || n >= 0)",
    "body.numbers.all(n, size(body.text) > n)",
    "body.numbers.all(n, body.text.matches('(x+x+)+y') || n >= 0)",
    "body.numbers.all(n, body.text == body.text)",
    "body.numbers.all(n, body.text < body.text || n >= 0)",
    "body.numbers.all(n, body.numbers == body.numbers)",
    "body.numbers.all(n, n in body.numbers)",
    "body.numbers.all(n, [n] in body.numbers || n >= 0)",
    "body.numbers.all(n, (body.numbers + body.numbers).size() > n)",
    "[body.text].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a)\
     .map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).size() > 0",
    "[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]].map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a])\
     .map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a])\
     .map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a]).map(a, [a, a, a, a, a, a, a, a]).size() > 0",
    "[1, 2, 3, 4, 5, 6, 7, 8].all(a, [1, 2, 3, 4, 5, 6, 7, 8].all(b, [1, 2, 3, 4, 5, 6, 7, 8].all(c, \
     [1, 2, 3, 4, 5, 6, 7, 8].all(d, [1, 2, 3, 4, 5, 6, 7, 8].all(e, [1, 2, 3, 4, 5, 6, 7, 8].all(f, \
     [1, 2, 3, 4, 5, 6, 7, 8].all(g, [1, 2, 3, 4, 5, 6, 7, 8].all(h, a > 0))))))))",
    "body.numbers.exists(n, body.text + n == '')",
];

#[test]
fn an_expression_over_its_budget_is_stopped_and_does_not_match() {
    let payload = Payload::new(large_body()).expect("a payload");
    for condition in COSTLY {
        assert!(is_stopped(condition, &payload), "{condition}");
    }
}

#[test]
fn all_routes_together_have_a_budget_for_a_webhook() {
    let payload = Payload::new(large_body()).expect("a payload");
    let costly = |n: usize| with_condition(&format!("r{n}"), "body.numbers.exists(n, n == 59999)");
    let cheap = with_condition("cheap", "body.text.startsWith('x')");
    let routes = compiled((0..20).map(costly).chain([cheap]).collect());
    let taken = jobs_for(&routes, "s", "e", &payload).len();
    assert!((4..20).contains(&taken), "{taken}");
}

#[test]
fn one_pass_over_a_large_body_is_affordable() {
    let payload = Payload::new(large_body()).expect("a payload");
    for condition in [
        "body.numbers.exists(n, n == 59999)",
        "body.lines.all(line, line.list.exists(item, item == 8))",
        "body.lines.map(line, line.n).filter(n, n > 1990).size() == 9",
        "body.text.contains('y') || body.numbers.size() == 60000",
        "59999 in body.numbers && body == body",
        "body.lines.filter(line, line.n == 7)[0].list.size() == 8",
    ] {
        let routes = compiled(vec![with_condition("r", condition)]);
        let matched = jobs_for(&routes, "s", "e", &payload).len();
        let failures = routes.failures(&RouteName::new("r").expect("a name"));
        assert_eq!(matched, 1, "{condition}: {failures:?}");
    }
}

#[test]
fn long_and_deep_expressions_are_refused_when_they_are_compiled() {
    let nested = |open: &str, middle: &str, close: &str, depth: usize| {
        format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    for condition in [
        nested("(", "true", ")", 2_000),
        nested("[", "true", "]", 2_000),
        nested("size(", "body", ")", 200),
        nested("[1].all(x, ", "true", ")", 200),
        nested("{1: ", "true", "}", 500),
        nested("", "body", ".a", 1_000),
        nested("", "body", "[0]", 1_000),
        nested("!", "true", "", 4_000),
        nested("-", "1", "", 4_000),
        nested("true ? true : ", "true", "", 250),
        nested("", "1", " + 1", 1_000),
        format!("body.a == '{}'", "x".repeat(5_000)),
    ] {
        let refused = Routes::new(vec![with_condition("r", &condition)]).is_err();
        // Parentheses and pairs of signs are not part of the parsed expression, so these may be allowed.
        assert!(refused || condition.starts_with(['(', '!', '-']), "{}", &condition[..60]);
    }
}

#[test]
fn the_deepest_expression_fits_the_stack_of_a_task() {
    let nested = |open: &str, middle: &str, close: &str, depth: usize| {
        format!("{}{middle}{}", open.repeat(depth), close.repeat(depth))
    };
    let deepest = [
        ("[", "1", "]", " == []"),
        ("[1].all(x, ", "true", ")", ""),
        ("size([", "1", "])", " == 1"),
        ("(", "1", " + 1)", " > 1"),
        ("(body.a == ", "1", ")", ""),
        ("{'a': ", "1", "}", " == {}"),
    ];
    for (open, middle, close, end) in deepest {
        let compiled = (1..=200)
            .rev()
            .map(|depth| nested(open, middle, close, depth) + end)
            .find_map(|condition| Routes::new(vec![with_condition("r", &condition)]).ok())
            .expect("some depth is allowed");
        // Threads of tokio have 2 MiB of stack; half of that is left for everything else.
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        let body = r#"{"a":1}"#;
        thread
            .spawn(move || jobs(&compiled, "s", "e", body).len())
            .expect("a thread")
            .join()
            .expect("no overflow");
    }
}

#[test]
fn the_deepest_body_fits_the_stack_of_a_task() {
    let deep = |end: &str| format!("{}{end}{}", "[".repeat(126), "]".repeat(126));
    let body = format!(r#"{{"a":{},"b":{},"c":{}}}"#, deep("1"), deep("1"), deep("2"));
    let thread = std::thread::Builder::new().stack_size(512 * 1024);
    let condition = "body.a == body.b && body.a != body.c && body.a in [body.c, body.b]";
    let ordered = RouteSettings { order_by: Some("/a".into()), ..with_condition("r", condition) };
    let matched =
        thread.spawn(move || jobs(&compiled(vec![ordered]), "s", "e", &body).len()).expect("a thread");
    assert_eq!(matched.join().expect("no overflow"), 1);
}

#[test]
fn the_text_of_an_error_is_short() {
    let routes = compiled(vec![with_condition("r", "[body.text, body.text] + body.text == []")]);
    assert!(jobs(&routes, "s", "e", &large_body()).is_empty());
    let error = routes.failures(&RouteName::new("r").expect("a name")).expect("a route").last_error;
    assert!(error.as_ref().is_some_and(|error| error.len() < 320), "{error:?}");
}
