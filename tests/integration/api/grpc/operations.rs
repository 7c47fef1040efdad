//! `OperationService`: its calls where all is well, and what they refuse.

use hookbox::internals::grpc::proto;
use hookbox::internals::grpc::proto::operation_service_client::OperationServiceClient;
use rstest::rstest;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{named, submission};
use crate::api::harness::{Hookbox, Postgres, Sqlite, Store};

const ORDERS: &str = r#"
    [[routes]]
    name = "orders"
    handler = "simulate"
    rate = "1000/m"
    on_interrupt = "dead_letter"
"#;
const OTHERS: &str = r#"
    [[routes]]
    name = "others"
    match = { event_type = "other.*" }
    handler = "simulate"
"#;

#[rstest]
#[tokio::test]
async fn a_pause_is_listed_until_it_is_resumed(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = operations(&hookbox);
    let since = Some(prost_types::Timestamp { seconds: 1_772_366_400, nanos: 0 });
    for (route, source) in [(None, None), (Some("default"), None), (None, Some("shop"))] {
        let (route, source) = (route.map(str::to_owned), source.map(str::to_owned));
        let expected = proto::Pause {
            route: route.clone(),
            source: source.clone(),
            since,
            actor: "anonymous".to_owned(),
            reason: Some("the shop moves".to_owned()),
        };
        let reason = expected.reason.clone();
        let pause = proto::PauseRequest { route: route.clone(), source: source.clone(), reason };
        let paused = client.pause(pause).await.unwrap().into_inner();
        assert_eq!(paused, expected);
        let pauses = client.list_pauses(proto::ListPausesRequest {}).await.unwrap().into_inner().pauses;
        assert_eq!(pauses, [paused]);
        let resume = proto::ResumeRequest { route, source, reason: None };
        for was_paused in [true, false] {
            let resumed = client.resume(resume.clone()).await.unwrap().into_inner();
            assert_eq!(resumed, proto::ResumeResponse { was_paused });
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_wrong_target_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::start(store);
    let mut client = operations(&hookbox);
    for (route, source, field) in
        [(Some(""), None, "route"), (None, Some("No"), "source"), (Some("a"), Some("b"), "source")]
    {
        let (route, source) = (route.map(str::to_owned), source.map(str::to_owned));
        let pause = proto::PauseRequest { route: route.clone(), source: source.clone(), reason: None };
        let status = client.pause(pause).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        let status = client.resume(proto::ResumeRequest { route, source, reason: None }).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
    }
    let unknown = proto::PauseRequest { route: Some("other".into()), ..Default::default() };
    refused(&client.pause(unknown).await.unwrap_err(), Code::NotFound, "ROUTE_NOT_FOUND");
    let unknown = proto::ResumeRequest { route: Some("other".into()), ..Default::default() };
    refused(&client.resume(unknown).await.unwrap_err(), Code::NotFound, "ROUTE_NOT_FOUND");
}

#[rstest]
#[tokio::test]
async fn routes_are_listed_with_their_policy(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let mut client = operations(&hookbox);
    let routes = client.list_routes(proto::ListRoutesRequest {}).await.unwrap().into_inner().routes;
    let [orders] = &routes[..] else { panic!("one route: {routes:?}") };
    assert_eq!((orders.route.as_str(), orders.handler.as_deref()), ("orders", Some("simulate")));
    assert_eq!((orders.in_settings, orders.paused, orders.paused_since), (true, false, None));
    assert_eq!((&orders.paused_by, &orders.pause_reason), (&None, &None));
    let policy = proto::Policy {
        timeout: None,
        concurrency: None,
        rate: Some("1000/m".into()),
        max_attempts: 3,
        retry_base: "2s".into(),
        retry_cap: "1m".into(),
        on_dead_letter: "block".into(),
        on_interrupt: "dead_letter".into(),
        breaker_failures: None,
        breaker_base: None,
        breaker_cap: None,
    };
    assert_eq!(orders.policy, Some(policy));
}

#[rstest]
#[tokio::test]
async fn routes_are_listed_with_what_they_match_until_they_are_gone(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let large = r#"
        [[routes]]
        name = "large"
        match = { source = "default", event_type = ["order.*", "refund.?"] }
        where = 'body.total > 100 && key != "test"'
        handler = "simulate"
        order_by = "/order_id"

        [[routes]]
        name = "rest"
        handler = "simulate"
        fallback = true
    "#;
    let hookbox = Hookbox::with_routes(store, large);
    let mut client = operations(&hookbox);
    client.pause(proto::PauseRequest::default()).await.unwrap();
    for (key, payload) in [("evt-001", r#"{"total":101}"#), ("evt-002", r#"{"total":1}"#)] {
        hookbox.grpc().submit_webhook(submission(key, payload)).await.unwrap();
    }
    let routes = client.list_routes(proto::ListRoutesRequest {}).await.unwrap().into_inner().routes;
    let [large, rest] = &routes[..] else { panic!("two routes: {routes:?}") };
    let globs = proto::Match {
        source: vec!["default".into()],
        event_type: vec!["order.*".into(), "refund.?".into()],
    };
    assert_eq!((large.r#match.as_ref(), large.fallback), (Some(&globs), false));
    assert_eq!(large.r#where.as_deref(), Some(r#"body.total > 100 && key != "test""#));
    assert_eq!(large.order_by.as_deref(), Some("/order_id"));
    assert_eq!((&rest.r#match, &rest.r#where, &rest.order_by, rest.fallback), (&None, &None, &None, true));

    hookbox.set_routes(OTHERS);
    client.reload_settings(proto::ReloadSettingsRequest::default()).await.unwrap();
    let routes = client.list_routes(proto::ListRoutesRequest {}).await.unwrap().into_inner().routes;
    let names: Vec<_> = routes.iter().map(|route| route.route.as_str()).collect();
    assert_eq!(names, ["others", "large", "rest"]);
    for gone in &routes[1..] {
        assert!(!gone.in_settings, "{gone:?}");
        assert_eq!(
            (&gone.r#match, &gone.r#where, &gone.order_by, gone.fallback),
            (&None, &None, &None, false)
        );
    }
}

#[rstest]
#[tokio::test]
async fn jobs_of_a_route_that_is_gone_are_moved_or_cancelled(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, &[ORDERS, OTHERS].concat());
    let mut client = operations(&hookbox);
    client.pause(proto::PauseRequest::default()).await.unwrap();
    let mut id = String::new();
    for (key, event_type) in [("evt-001", "order.created"), ("evt-002", "other.created")] {
        let request = proto::SubmitWebhookRequest { event_type: event_type.into(), ..submission(key, "1") };
        id = hookbox.grpc().submit_webhook(request).await.unwrap().into_inner().id;
    }
    let to_others = proto::MoveJobsRequest { from: "orders".into(), to: "others".into(), reason: None };
    let cancel = proto::CancelJobsRequest { route: "orders".into(), reason: None };
    let in_force = client.move_jobs(to_others.clone()).await.unwrap_err();
    refused(&in_force, Code::FailedPrecondition, "ROUTE_IN_FORCE");
    let in_force = client.cancel_jobs(cancel.clone()).await.unwrap_err();
    refused(&in_force, Code::FailedPrecondition, "ROUTE_IN_FORCE");

    hookbox.set_routes(OTHERS);
    let reload = proto::ReloadSettingsRequest::default();
    let reloaded = client.reload_settings(reload).await.unwrap().into_inner();
    assert_eq!(reloaded, proto::ReloadSettingsResponse { routes: 1, needs_restart: Vec::new() });
    // The second webhook has a job of either route.
    let moved = client.move_jobs(to_others).await.unwrap().into_inner();
    assert_eq!(moved, proto::MoveJobsResponse { moved: 1, cancelled: 1 });
    let cancelled = client.cancel_jobs(cancel).await.unwrap().into_inner();
    assert_eq!(cancelled.cancelled, 0);
    client.resume(proto::ResumeRequest::default()).await.unwrap();
    let done = hookbox.grpc().get_webhook(named(&id)).await.unwrap().into_inner();
    assert_eq!(done.jobs.len(), 2);
}

#[rstest]
#[tokio::test]
async fn a_route_that_is_unknown_or_wrong_is_refused(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(store, ORDERS);
    let mut client = operations(&hookbox);
    let move_jobs =
        |from: &str, to: &str| proto::MoveJobsRequest { from: from.into(), to: to.into(), reason: None };
    for (request, field) in [(move_jobs("", "orders"), "from"), (move_jobs("other", "A"), "to")] {
        let status = client.move_jobs(request).await.unwrap_err();
        refused(&status, Code::InvalidArgument, "INVALID_FIELD");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    }
    let unknown = client.move_jobs(move_jobs("other", "orders")).await.unwrap_err();
    refused(&unknown, Code::NotFound, "ROUTE_NOT_FOUND");
    let cancel = proto::CancelJobsRequest { route: "other".into(), reason: None };
    let unknown = client.cancel_jobs(cancel).await.unwrap_err();
    refused(&unknown, Code::NotFound, "ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn settings_with_mistakes_are_refused() {
    let hookbox = Hookbox::with_routes(Sqlite, ORDERS);
    hookbox.set_routes("[[routes]]\nname = \"No Route\"\nhandler = \"simulate\"\n");
    let reload = proto::ReloadSettingsRequest::default();
    let status = operations(&hookbox).reload_settings(reload).await.unwrap_err();
    refused(&status, Code::FailedPrecondition, "SETTINGS_INVALID");
    assert!(status.message().contains("No Route"), "{status}");
}

#[rstest]
#[tokio::test]
async fn routes_see_metadata_but_no_credentials(#[values(Sqlite, Postgres)] store: Store) {
    let hookbox = Hookbox::with_routes(
        store,
        r#"
        [[routes]]
        name = "region"
        where = 'headers["x-region"] == "eu"'
        handler = "simulate"

        [[routes]]
        name = "credentials"
        where = '"authorization" in headers'
        handler = "simulate"
        "#,
    );
    let mut request = tonic::Request::new(submission("evt-001", "1"));
    request.metadata_mut().insert("x-region", "eu".parse().unwrap());
    request.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
    let mut client = hookbox.grpc();
    let id = client.submit_webhook(request).await.unwrap().into_inner().id;
    let webhook = client.get_webhook(named(&id)).await.unwrap().into_inner();
    let routes: Vec<_> = webhook.jobs.iter().map(|job| job.route.as_str()).collect();
    assert_eq!(routes, ["region"]);
}

fn operations(hookbox: &Hookbox) -> OperationServiceClient<Channel> {
    OperationServiceClient::new(hookbox.channel())
}

#[track_caller]
fn refused(status: &Status, code: Code, reason: &str) {
    assert_eq!(status.code(), code, "{status}");
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "hookbox"), "{status}");
}
