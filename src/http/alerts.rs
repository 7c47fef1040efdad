//! The webhooks that hookbox makes itself, for the OpenAPI document: the payload of each, with an example.

use std::time::Duration;

use jiff::Timestamp;
use utoipa::ToSchema;
use utoipa::openapi::path::OperationBuilder;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::{ContentBuilder, HttpMethod, OpenApi, PathItem, PathsBuilder, Ref, Response};

use crate::domain::alert::Alert;
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::verdict::Cause;
use crate::domain::webhook::Source;

/// The payload of `hookbox.dead_lettered`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct DeadLetteredAlert {
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// How many jobs of the route became dead letters since the last such webhook. The other members are those of the
    /// last one.
    count: u64,
    /// A sentence for people.
    text: String,
    /// The route.
    route: String,
    /// The id of the webhook whose job became a dead letter.
    webhook_id: String,
    /// The source of that webhook.
    source: String,
    /// How many attempts of the job have started, over all runs.
    attempts: u32,
    /// Why the last attempt failed or was interrupted.
    #[schema(required = true)]
    error: Option<String>,
}

/// The payload of `hookbox.breaker_opened`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct BreakerOpenedAlert {
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// How often the breaker of the route opened since the last such webhook. The other members are those of the last
    /// time.
    count: u64,
    /// A sentence for people.
    text: String,
    /// The route.
    route: String,
    /// How many attempts had failed when the breaker opened.
    failures: u32,
    /// Why the last of them failed.
    error: String,
    /// Until when nothing is sent.
    #[schema(value_type = String, format = DateTime)]
    until: String,
}

/// The payload of `hookbox.backlog_high`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct BacklogHighAlert {
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// How often the backlog became high since the last such webhook.
    count: u64,
    /// A sentence for people.
    text: String,
    /// How many jobs are unfinished.
    backlog: u64,
    /// The setting `max_backlog`: with this many unfinished jobs, further webhooks are refused.
    max_backlog: u64,
    /// For how long the oldest waiting job has been due, as in `GET /v1/stats`.
    oldest_due_seconds: f64,
}

/// The payload of `hookbox.source_silent`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct SourceSilentAlert {
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// How often the source fell silent since the last such webhook.
    count: u64,
    /// A sentence for people.
    text: String,
    /// The source.
    source: String,
    /// When the last request came that was verified, or that the source does not verify; null if nothing is known to
    /// have come.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    last_seen: Option<String>,
    /// For how many whole seconds nothing has come. Without `last_seen`, for how long hookbox has waited.
    silent_seconds: u64,
    /// The member `silent_after` of the source.
    silent_after_seconds: u64,
}

/// The payload of `hookbox.verification_failing`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct VerificationFailingAlert {
    /// When the webhook was made.
    #[schema(value_type = String, format = DateTime)]
    at: String,
    /// How many such alerts about the source there were since the last such webhook. The other members are those of the
    /// last one.
    count: u64,
    /// A sentence for people.
    text: String,
    /// The source.
    source: String,
    /// The most frequent cause, as in `cause` of a webhook.
    cause: String,
    /// How many requests were not verified within `window_seconds`.
    unverified: u64,
    /// How many requests were verified or not verified within `window_seconds`.
    requests: u64,
    /// The time over which requests are counted.
    window_seconds: u64,
}

/// Adds the webhooks that hookbox makes itself.
pub(super) fn add_webhooks(document: &mut OpenApi) {
    let mut webhooks = PathsBuilder::new();
    for (schema, summary, alert) in examples().into_iter().flatten() {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema)))
            .example(Some(alert.payload(1, AT)))
            .build();
        let operation = OperationBuilder::new()
            .summary(Some(summary))
            .description(Some(
                "Made only if a route names the source `hookbox` in its `match` and takes this event type; at most \
                 once a minute of each kind and of each route or source. The handler `http` sends this body. \
                 `docs/ALERTS.md` says more.",
            ))
            .request_body(Some(RequestBodyBuilder::new().content("application/json", content).build()))
            .response("2XX", Response::new("The alert is delivered"))
            .build();
        webhooks = webhooks.path(alert.topic().event_type, PathItem::new(HttpMethod::Post, operation));
    }
    document.webhooks = Some(webhooks.build());
}

/// The time of the examples.
const AT: Timestamp = Timestamp::constant(1_772_366_400, 0);

/// An alert of each kind, with the name of the schema of its payload, and a summary. Never none: the names are valid.
fn examples() -> Option<[(&'static str, &'static str, Alert); 5]> {
    let route = RouteName::new("orders").ok()?;
    let webhook = "01934c3e-7b00-7000-8000-000000000000".parse::<WebhookId>().ok()?;
    let error = "the target answered 503 Service Unavailable";
    let until = Timestamp::constant(1_772_366_460, 0);
    let high = Alert::BacklogHigh { backlog: 800_012, max_backlog: 1_000_000, oldest_due_seconds: 42.5 };
    let source = Source::new("shop").ok()?;
    let silent = Alert::SourceSilent {
        source: source.clone(),
        last_seen: Some(Timestamp::constant(1_772_362_797, 0)),
        silent_for: Duration::from_secs(3_603),
        silent_after: Duration::from_secs(3_600),
    };
    let failing = Alert::VerificationFailing {
        source,
        cause: Cause::SignatureMismatch,
        unverified: 12,
        requests: 14,
        window: Duration::from_secs(300),
    };
    Some([
        (
            "DeadLetteredAlert",
            "Jobs of a route became dead letters",
            Alert::dead_lettered(&route, webhook, &Source::default(), 10, Some(error)),
        ),
        (
            "BreakerOpenedAlert",
            "The breaker of a route opened",
            Alert::breaker_opened(&route, &Source::default(), 5, error, until),
        ),
        ("BacklogHighAlert", "The backlog is high", high),
        ("SourceSilentAlert", "A source has sent nothing for too long", silent),
        ("VerificationFailingAlert", "Most requests of a source are not verified", failing),
    ])
}
