//! The proto is the source of truth: the REST twin never drifts from it.
//!
//! Fields of messages are compared with members of schemas, by name, type and presence. A field
//! that holds JSON as text (`payload_json`) is the JSON itself in REST (`payload`). A field of bytes (`body`, or
//! `payload_bytes`) is one of two members in REST: `body_text` if it is UTF-8, else `body_base64`.

mod described;
mod live;

use std::collections::BTreeSet;

use hookbox::internals::domain::attempt::Outcome;
use hookbox::internals::domain::job::Status;
use hookbox::internals::domain::verdict::{Cause, Verdict};
use prost_types::field_descriptor_proto::Type;

use self::described::{
    contract, document, fields_of, member_names, members_of, message, parameters, required_of, schema,
    schemas,
};

/// Messages whose schema has the same name.
const MESSAGES: [&str; 54] = [
    "SubmitWebhookRequest",
    "SubmitWebhookResponse",
    "WebhookStatus",
    "Webhook",
    "Job",
    "Attempt",
    "Delivery",
    "Answer",
    "Header",
    "ListWebhooksResponse",
    "DiscardWebhookResponse",
    "WatchWebhooksResponse",
    "GetStatsResponse",
    "StatusCounts",
    "RouteStats",
    "Pause",
    "WorkerCounts",
    "Rates",
    "ListRoutesResponse",
    "Route",
    "Policy",
    "Breaker",
    "Match",
    "ListSourcesResponse",
    "Source",
    "SourceCounts",
    "GetSourceResponse",
    "HandshakeToken",
    "ListRejectionsResponse",
    "Rejection",
    "ResumeResponse",
    "ListPausesResponse",
    "MoveJobsResponse",
    "CancelJobsResponse",
    "ReloadSettingsResponse",
    "StartReplayRequest",
    "ReplayFilter",
    "Replay",
    "ReplayCounts",
    "ListReplaysResponse",
    "Action",
    "ListActionsResponse",
    "LeaseJobsRequest",
    "LeaseJobsResponse",
    "LeasedJob",
    "ExtendLeasesRequest",
    "ExtendLeasesResponse",
    "ExtendedLease",
    "FinishJobsRequest",
    "JobOutcome",
    "CompletedJob",
    "FailedJob",
    "FinishJobsResponse",
    "FinishedJob",
];

/// Requests that are the body in REST. Those of other calls are in the path and the query string.
const BODIES: [&str; 5] = [
    "SubmitWebhookRequest",
    "StartReplayRequest",
    "LeaseJobsRequest",
    "ExtendLeasesRequest",
    "FinishJobsRequest",
];

/// Parts of requests. Also a part of an answer is `ReplayFilter`, of which only the filters that were given are there.
const PARTS_OF_REQUESTS: [&str; 4] = ["ReplayFilter", "JobOutcome", "CompletedJob", "FailedJob"];

/// Calls that name a webhook by its key or by its id: the paths of both in REST, their method, and the request.
const BY_KEY_AND_BY_ID: [(&str, &str, &str, &str); 6] = [
    ("/v1/status", "/v1/webhooks/{id}/status", "get", "GetStatusRequest"),
    ("/v1/webhook", "/v1/webhooks/{id}", "get", "GetWebhookRequest"),
    ("/v1/watch", "/v1/webhooks/{id}/watch", "get", "WatchStatusRequest"),
    ("/v1/retry", "/v1/webhooks/{id}/retry", "post", "RetryWebhookRequest"),
    ("/v1/replay", "/v1/webhooks/{id}/replay", "post", "ReplayWebhookRequest"),
    ("/v1/cancel", "/v1/webhooks/{id}/cancel", "post", "CancelWebhookRequest"),
];

#[test]
fn each_message_has_the_members_and_types_of_its_schema() {
    let contract = contract();
    for name in MESSAGES {
        let message = message(&contract, name);
        let schema = schema(name);
        assert_eq!(fields_of(message), members_of(&schema), "{name}");
    }
}

#[test]
fn each_message_that_is_answered_has_a_schema() {
    let schemas: BTreeSet<_> = schemas().keys().cloned().collect();
    for message in contract().message_type {
        // Pipelines have no twin in REST.
        let is_request = message.name().ends_with("Request") && !BODIES.contains(&message.name());
        let is_of_pipeline = ["SubmitWebhooksResponse", "SubmitError"].contains(&message.name());
        let expected = !is_request && !is_of_pipeline;
        assert_eq!(schemas.contains(message.name()), expected, "{}", message.name());
        assert_eq!(MESSAGES.contains(&message.name()), expected, "{} is compared", message.name());
    }
}

#[test]
fn a_member_is_always_there_unless_its_field_may_be_absent() {
    let contract = contract();
    let is_answered = |name: &&str| !name.ends_with("Request") && !PARTS_OF_REQUESTS.contains(name);
    for name in MESSAGES.into_iter().filter(is_answered) {
        let optional: BTreeSet<_> = message(&contract, name)
            .field
            .iter()
            .filter(|field| field.proto3_optional() || field.r#type() == Type::Bytes)
            .flat_map(member_names)
            .collect();
        let members: BTreeSet<_> = members_of(&schema(name)).into_keys().collect();
        let expected: BTreeSet<_> = members.difference(&optional).cloned().collect();
        assert_eq!(required_of(&schema(name)), expected, "{name}");
    }
}

#[test]
fn the_schema_of_a_submission_says_what_has_to_be_there() {
    let schema = schema("SubmitWebhookRequest");
    let required = BTreeSet::from(["event_type".to_owned(), "payload".to_owned()]);
    assert_eq!(required_of(&schema), required, "the key may come in the header");
    assert_eq!(schema["properties"]["idempotency_key"]["type"], "string", "null is refused");
    assert_eq!(schema["additionalProperties"], false);
    for member in ["idempotency_key", "event_type"] {
        let limits = &schema["properties"][member];
        assert_eq!((&limits["minLength"], &limits["maxLength"]), (&1.into(), &255.into()));
    }
}

#[test]
fn the_schemas_of_what_workers_and_operators_send_say_what_has_to_be_there() {
    for (name, expected) in [
        ("StartReplayRequest", &["filter"][..]),
        ("ReplayFilter", &[]),
        ("LeaseJobsRequest", &["routes", "worker"]),
        ("ExtendLeasesRequest", &["leases", "worker"]),
        ("FinishJobsRequest", &["outcomes", "worker"]),
        ("JobOutcome", &["lease"]),
        ("CompletedJob", &[]),
        ("FailedJob", &[]),
    ] {
        let schema = schema(name);
        let required = required_of(&schema).into_iter().collect::<Vec<_>>();
        assert_eq!(required, expected, "{name}");
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
}

#[test]
fn the_words_of_an_enum_are_its_values_in_lower_case() {
    let contract = contract();
    let words = |name: &str| -> Vec<String> {
        let found = contract.enum_type.iter().find(|candidate| candidate.name() == name).unwrap();
        let prefix = format!("{}_", name.to_uppercase());
        found
            .value
            .iter()
            .skip(1)
            .map(|value| value.name().strip_prefix(&prefix).unwrap().to_lowercase())
            .collect()
    };
    for (name, domain) in [
        ("Status", Status::ALL.map(Status::as_str).to_vec()),
        (
            "Outcome",
            [Outcome::Completed, Outcome::Failed, Outcome::Interrupted].map(Outcome::as_str).to_vec(),
        ),
        (
            "Verdict",
            [Verdict::None, Verdict::Verified, Verdict::Unverified(Cause::SignatureMissing)]
                .map(Verdict::as_str)
                .to_vec(),
        ),
        ("Cause", Cause::ALL.map(Cause::as_str).to_vec()),
    ] {
        assert_eq!(words(name), domain, "{name}");
        assert_eq!(schema(name)["enum"], serde_json::json!(domain), "{name}");
    }
}

#[test]
fn the_parameters_of_a_query_are_the_fields_of_its_request() {
    let contract = contract();
    for (path, method, request) in [
        ("/v1/webhooks", "get", "ListWebhooksRequest"),
        ("/v1/webhooks/{id}/release", "post", "ReleaseWebhookRequest"),
        ("/v1/webhooks/{id}/discard", "post", "DiscardWebhookRequest"),
        ("/v1/webhooks/watch", "get", "WatchWebhooksRequest"),
        ("/v1/stats", "get", "GetStatsRequest"),
        ("/v1/routes", "get", "ListRoutesRequest"),
        ("/v1/sources", "get", "ListSourcesRequest"),
        ("/v1/sources/{source}", "get", "GetSourceRequest"),
        ("/v1/sources/{source}/rejections", "get", "ListRejectionsRequest"),
        ("/v1/pause", "post", "PauseRequest"),
        ("/v1/resume", "post", "ResumeRequest"),
        ("/v1/pauses", "get", "ListPausesRequest"),
        ("/v1/routes/{from}/move", "post", "MoveJobsRequest"),
        ("/v1/routes/{route}/cancel", "post", "CancelJobsRequest"),
        ("/v1/settings/reload", "post", "ReloadSettingsRequest"),
        ("/v1/replays", "get", "ListReplaysRequest"),
        ("/v1/replays/{number}", "get", "GetReplayRequest"),
        ("/v1/replays/{number}/cancel", "post", "CancelReplayRequest"),
        ("/v1/actions", "get", "ListActionsRequest"),
    ] {
        assert_eq!(parameters(path, method), fields_of(message(&contract, request)), "{request}");
    }
    for (by_key, by_id, method, request) in BY_KEY_AND_BY_ID {
        let mut both = parameters(by_key, method);
        both.extend(parameters(by_id, method));
        assert_eq!(both, fields_of(message(&contract, request)), "{request}");
    }
}

#[test]
fn the_key_is_a_required_parameter_of_a_call_by_key() {
    let document = document();
    for (path, _, method, _) in BY_KEY_AND_BY_ID {
        let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
        let key = parameters.iter().find(|parameter| parameter["name"] == "idempotency_key").unwrap();
        assert_eq!(key["required"], true, "{path}");
    }
}

#[test]
fn every_call_has_a_twin_of_the_same_name_except_the_pipeline() {
    let document = document();
    let operations: BTreeSet<_> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let services = contract().service;
    assert_eq!(services.len(), 3);
    for method in services.iter().flat_map(|service| &service.method) {
        let has_twin = operations.contains(method.name());
        assert_eq!(has_twin, method.name() != "SubmitWebhooks", "{}", method.name());
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document();
    let text = document.to_string();
    for reference in text.split(r##""$ref":"#"##).skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}
