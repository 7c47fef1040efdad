//! Tests of matching, from the settings of routes to the jobs of a webhook.

mod bodies;
mod bounds;
mod conditions;

use std::time::Duration;

use super::*;
use crate::domain::handler::HandlerSettings;
use crate::domain::payload::Payload;
use crate::domain::retry::RetryPolicy;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};

fn route(name: &str) -> RouteSettings {
    let retry = RetryPolicy::new(Duration::from_secs(1), Duration::from_secs(60), 3);
    let mut route = RouteSettings::everything(HandlerSettings::default(), retry);
    route.policy.route = RouteName::new(name).expect("a name");
    route
}

fn with_source(name: &str, globs: &[&str]) -> RouteSettings {
    RouteSettings { sources: globs.iter().map(|glob| (*glob).to_owned()).collect(), ..route(name) }
}

fn with_condition(name: &str, condition: &str) -> RouteSettings {
    RouteSettings { condition: Some(condition.to_owned()), ..route(name) }
}

fn compiled(settings: Vec<RouteSettings>) -> Routes {
    Routes::new(settings).expect("no mistakes")
}

fn jobs(routes: &Routes, source: &str, event_type: &str, body: &str) -> Vec<NewJob> {
    jobs_for(routes, source, event_type, &Payload::new(body).expect("a payload"))
}

fn jobs_for(routes: &Routes, source: &str, event_type: &str, payload: &Payload) -> Vec<NewJob> {
    let headers = || {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![header("X-Region", "eu"), header("Accept", "a"), header("accept", "b")]
    };
    routes.jobs_of(&Incoming {
        source: &Source::new(source).expect("a source"),
        event_type: &EventType::new(event_type).expect("an event type"),
        key: &IdempotencyKey::new("key-1").expect("a key"),
        headers: &headers,
        payload,
    })
}

/// The names of the routes that match a webhook.
fn taken(routes: &Routes, source: &str, event_type: &str, body: &str) -> Vec<String> {
    jobs(routes, source, event_type, body).into_iter().map(|job| job.route.to_string()).collect()
}

#[test]
fn matching_routes_get_jobs_in_settings_order() {
    let routes = compiled(vec![
        with_source("b", &["shop", "erp-*"]),
        RouteSettings { event_types: vec!["orders/*".into()], ..route("a") },
        with_source("c", &["other"]),
    ]);
    assert_eq!(taken(&routes, "shop", "orders/created", "{}"), ["b", "a"]);
    assert_eq!(taken(&routes, "erp-2", "invoice", "{}"), ["b"]);
    assert_eq!(taken(&routes, "x", "invoice", "{}"), Vec::<String>::new());
}

#[test]
fn the_fallback_takes_what_no_other_route_took() {
    let fallback = RouteSettings { fallback: true, ..route("rest") };
    let routes = compiled(vec![fallback, with_source("shop", &["shop"])]);
    assert_eq!(taken(&routes, "shop", "e", "{}"), ["shop"]);
    assert_eq!(taken(&routes, "other", "e", "{}"), ["rest"]);
    assert_eq!(taken(&routes, "hookbox", "hookbox.dead_lettered", "{}"), Vec::<String>::new());
}

#[test]
fn internal_webhooks_reach_only_routes_that_name_their_source() {
    let routes = compiled(vec![
        route("all"),
        with_source("star", &["*"]),
        with_source("almost", &["hook*"]),
        with_source("alerts", &["shop", "hookbox"]),
    ]);
    assert_eq!(taken(&routes, "hookbox", "hookbox.dead_lettered", "{}"), ["alerts"]);
    assert_eq!(taken(&routes, "shop", "e", "{}"), ["all", "star", "alerts"]);
}

#[test]
fn a_job_has_the_value_that_order_by_points_at() {
    let ordered = RouteSettings { order_by: Some("/order/id".into()), ..route("orders") };
    let routes = compiled(vec![ordered, route("all")]);
    let orders = |body: &str| {
        let jobs = jobs(&routes, "shop", "e", body);
        jobs.into_iter().map(|job| job.order.map(|order| order.as_str().to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(orders(r#"{"order":{"id":"A1"}}"#), [Some("\"A1".to_owned()), None]);
    assert_eq!(orders(r#"{"order":{"id":null}}"#), [None, None]);
    assert_eq!(orders(r#"{"order":7}"#), [None, None]);
    assert_eq!(orders(r#"{"order":{"id":1.0}}"#), orders(r#"{"order":{"id":1}}"#));
}

#[test]
fn the_body_is_not_parsed_for_routes_that_the_globs_rule_out() {
    let mut elsewhere = with_condition("elsewhere", "body.no_such_member == 1");
    elsewhere.sources = vec!["erp".into()];
    let routes = compiled(vec![elsewhere, with_condition("by-type", r#"event_type.startsWith("order")"#)]);
    let payload = Payload::new("{}").expect("a payload");
    let (source, event_type) =
        (Source::new("shop").expect("a source"), EventType::new("order").expect("a type"));
    let key = IdempotencyKey::new("k").expect("a key");
    let headers = || panic!("no condition looks at the headers");
    let webhook = Incoming {
        source: &source,
        event_type: &event_type,
        key: &key,
        headers: &headers,
        payload: &payload,
    };
    let look = Look::new(&webhook);
    let taken = routes.routes.iter().filter_map(|route| route.job_of(&look)).count();
    assert_eq!((taken, look.is_parsed()), (1, false));
    assert_eq!(routes.failures(&RouteName::new("elsewhere").expect("a name")), Some(Failures::default()));
}

#[test]
fn the_policies_are_those_of_the_settings() {
    let policies = compiled(vec![route("b"), route("a")]).policies();
    assert_eq!(policies.iter().map(|policy| policy.route.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let mut bad = with_source("b", &["good", ""]);
    bad.condition = Some("body.total > && true".into());
    bad.order_by = Some("order_id".into());
    let fallback = RouteSettings { fallback: true, ..with_source("rest", &["shop"]) };
    let second = RouteSettings { fallback: true, ..route("rest-2") };
    let settings =
        vec![route("b"), bad, fallback, second, with_condition("c", "bdoy.total > 1 && bdoy.x == foo(1)")];
    let mistakes = Routes::new(settings).expect_err("mistakes");
    let found = mistakes.iter().map(|mistake| (mistake.route, mistake.member)).collect::<Vec<_>>();
    assert_eq!(
        found,
        [
            (1, Member::Name),
            (1, Member::Source(1)),
            (1, Member::Where),
            (1, Member::OrderBy),
            (2, Member::Fallback),
            (3, Member::Fallback),
            (4, Member::Where),
            (4, Member::Where),
        ]
    );
    let place = |at: usize| mistakes[at].offset;
    assert_eq!((place(2), place(6), place(7)), (Some(13), Some(0), Some(28)), "{mistakes:#?}");
}
