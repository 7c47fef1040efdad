//! gRPC, as a client of the contract sees it.

mod calls;
mod large_answers;
mod late;
mod operations;
mod payloads;
mod pipeline;
mod refusals;
mod tools;

use hookbox::internals::grpc::proto;

/// A submission whose payload is this JSON text.
fn submission(key: &str, payload_json: &str) -> proto::SubmitWebhookRequest {
    proto::SubmitWebhookRequest {
        idempotency_key: key.into(),
        event_type: "order.created".into(),
        content: Some(proto::submit_webhook_request::Content::PayloadJson(payload_json.into())),
    }
}

/// Names a webhook by its id.
fn named(id: &str) -> proto::GetWebhookRequest {
    proto::GetWebhookRequest { id: id.to_owned(), ..Default::default() }
}

/// A submission whose payload is this value.
fn submission_of_value(key: &str, value: prost_types::Value) -> proto::SubmitWebhookRequest {
    proto::SubmitWebhookRequest {
        content: Some(proto::submit_webhook_request::Content::Payload(value)),
        ..submission(key, "")
    }
}
