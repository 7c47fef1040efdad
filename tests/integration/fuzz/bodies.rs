//! Bodies as routes, lists and the page read them, which can be those of strangers, in quarantine: functions that panic if
//! a promise is broken.

use std::sync::LazyLock;
use std::time::Duration;

use hookbox::internals::domain::body_filter::BodyFilter;
use hookbox::internals::domain::content_type::ContentType;
use hookbox::internals::domain::handler::HandlerSettings;
use hookbox::internals::domain::hidden::is_hidden;
use hookbox::internals::domain::payload::Payload;
use hookbox::internals::domain::retry::RetryPolicy;
use hookbox::internals::domain::route::{NewJob, RouteName};
use hookbox::internals::domain::webhook::{EventType, IdempotencyKey, Source};
use hookbox::internals::page::body_as_tree;
use hookbox::internals::routes::{Incoming, RouteSettings, Routes};

use super::targets::split_line;

/// The pointer by which jobs are ordered, and webhooks are found.
const POINTER: &str = "/id";

/// The conditions of routes. The first is true if [`POINTER`] points at the string `1`.
const CONDITIONS: [&str; 4] = [
    r#"body.id == "1""#,
    r#"body.items.exists(item, item.total > 100 || item.id.matches("^[a-z]+$"))"#,
    r#"has(body.data) && body.data.object.id.startsWith("evt")"#,
    "size(body) > 2 && body[0] != body[1]",
];

/// The elements of which a tree is made.
const ELEMENTS: [&str; 6] = ["details", "div", "li", "span", "summary", "ul"];

/// A route for each condition, and one that takes everything and orders its jobs.
static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
    let retry = RetryPolicy::new(Duration::ZERO, Duration::ZERO, 1);
    let everything = RouteSettings::everything(HandlerSettings::default(), retry);
    let ordered = RouteSettings { order_by: Some(POINTER.to_owned()), ..everything.clone() };
    let conditions = CONDITIONS.iter().enumerate().map(|(at, condition)| {
        let mut route = RouteSettings { condition: Some((*condition).to_owned()), ..everything.clone() };
        route.policy.route = name(at);
        route
    });
    let settings = conditions.chain([ordered]).collect();
    Routes::new(settings).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
});

/// The name of the route with this condition.
fn name(condition: usize) -> RouteName {
    RouteName::new(format!("condition-{condition}")).expect("it is a name")
}

/// A header `Content-Type`, and on the next lines a body.
pub(crate) fn body(data: &[u8]) {
    let (header, body) = split_line(data);
    let content_type = ContentType::of_header(Some(header));
    let jobs = jobs_of(&Payload::of_bytes(body, content_type.clone()));
    for (at, condition) in CONDITIONS.iter().enumerate() {
        let failures = ROUTES.failures(&name(at)).expect("the route is there");
        let has_panicked = failures.last_error.is_some_and(|error| error.contains("panicked"));
        assert!(!has_panicked, "{condition} panics");
    }
    let ordered = jobs.iter().find(|job| job.route == RouteName::default());
    let order = ordered.expect("a route takes everything").order.as_ref().map(|order| order.as_str());
    let is_taken = jobs.iter().any(|job| job.route == name(0));
    assert_eq!(is_taken, order == Some("\"1"), "a condition and a pointer read {order:?} differently");
    if let Some(order) = order {
        check_order(order, body, &content_type);
    }
    check_tree(body, content_type.json_of(body).is_some());
}

/// The jobs of a webhook with this payload.
fn jobs_of(payload: &Payload) -> Vec<NewJob> {
    ROUTES.jobs_of(&Incoming {
        source: &Source::default(),
        event_type: &EventType::new("t").expect("it is a name"),
        key: &IdempotencyKey::new("k").expect("it is a name"),
        headers: &|| Vec::new(),
        payload,
    })
}

/// An order value can be stored, and a list finds the body by it.
fn check_order(order: &str, body: &[u8], content_type: &ContentType) {
    assert!(order.len() <= 255 && !order.contains('\0'), "the order value {order:?} cannot be stored");
    let wanted = match order.split_at(1) {
        ("\"", text) => text,
        ("#", number) => number,
        ("t", _) => "true",
        ("f", _) => "false",
        // A digest.
        _ => return,
    };
    // A list looks for no empty text.
    let Ok(Some(filter)) = BodyFilter::from_fields(POINTER, wanted, "") else { return };
    assert!(filter.matches(body, content_type), "a list does not find the order value {order:?}");
}

/// The tree of a body is there if the body is JSON, and has only markup of the page.
fn check_tree(body: &[u8], is_json: bool) {
    for is_all in [false, true] {
        let tree = body_as_tree(body, is_all);
        assert!(tree.is_ok() || !is_json, "JSON has no tree: {tree:?}");
        let Ok((markup, _)) = tree else { return };
        let markup = markup.into_string();
        assert!(!markup.contains(is_hidden), "a tree has a hidden character");
        for element in markup.split('<').skip(1) {
            let name = element.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
            assert!(ELEMENTS.contains(&name), "a tree has the element {name:?}");
        }
    }
}
