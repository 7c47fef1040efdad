//! Examples of errors for the OpenAPI document: each documented error has the problem document that its call
//! answers with this status. The documents and most texts come from the code that answers them.

use axum::http::StatusCode;
use serde_json::Value;
use utoipa::openapi::{OpenApi, RefOr};

use super::by_key::of_key;
use super::problem::{MEDIA_TYPE, Refused};
use super::queries::takes_none;
use super::reason::RestReason;
use super::replays::number_of;
use crate::domain::action::ActionReason;
use crate::domain::error::{Error, Reason, all_of};
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::verdict::Cause;
use crate::domain::webhook::{EventType, IdempotencyKey, Source};
use crate::service::arrivals::ArrivalQuery;
use crate::service::replays::rate;
use crate::service::work::check_worker;
use crate::service::{number_of_token, pause_target};
use crate::store::replay_not_found;

/// The webhook, route, source and trace of the examples.
const ID: &str = "01934c3e-7b00-7000-8000-000000000000";
const ROUTE: &str = "orders";
const SOURCE: &str = "shop";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The operations that name a webhook by its key.
const BY_KEY: [&str; 6] = [
    "GetStatus",
    "GetWebhookByKey",
    "WatchStatusByKey",
    "RetryWebhookByKey",
    "ReplayWebhookByKey",
    "CancelWebhookByKey",
];

/// Adds an example to every documented error.
pub(super) fn add_examples(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let instance = path.replace("{id}", ID).replace("{from}", ROUTE).replace("{route}", ROUTE);
        let instance = instance.replace("{source}", SOURCE).replace("{number}", "7");
        for operation in [&mut item.get, &mut item.post, &mut item.options].into_iter().flatten() {
            let name = operation.operation_id.as_deref().unwrap_or_default();
            for (status, response) in &mut operation.responses.responses {
                let RefOr::T(response) = response else { continue };
                let Some(RefOr::T(content)) = response.content.get_mut(MEDIA_TYPE) else { continue };
                content.example = error_of(name, status).and_then(|error| example(&error, &instance));
            }
        }
    }
}

fn example(error: &Refused, instance: &str) -> Option<Value> {
    // Strings and a number always serialize.
    serde_json::to_value(error.problem(instance, TRACE_ID)).ok()
}

/// An error that an operation answers with a status; none if it answers none.
fn error_of(operation: &str, status: &str) -> Option<Refused> {
    let (reason, detail) = match (status, operation) {
        ("400", "ReceiveWebhooks") => (
            Reason::MalformedWebhook,
            "item 3 of the batch: the JSON value `/id` is missing, empty, or no string, number or boolean; the \
             idempotency key is made of it; nothing of the request is stored",
        ),
        ("400", "AnswerHandshake" | "AnswerHandshakeByOptions") => (
            Reason::MalformedWebhook,
            "the request is not a handshake of the source `shop`: it does not meet the conditions in `handshakes` of the \
             source; webhooks come by POST",
        ),
        ("401", "ReceiveWebhooks") => {
            let cause = Cause::SignatureMissing;
            let detail = format!("the request is not verified: {}", cause.advice().told);
            return Some(Error::not_verified(cause, detail).into());
        }
        ("403", "ReceiveWebhooks") => (
            Reason::Forbidden,
            "the token `ci` does not have the role `submit`; add it to `roles` of the token in the settings and reload, or \
             use another token",
        ),
        ("403", "AnswerHandshake" | "AnswerHandshakeByOptions") => {
            let detail = "the token of the handshake is missing, or is not the `verify_token` of the source `shop`; enter \
                          the same text at the sender";
            let error = Error::not_verified(Cause::CredentialsWrong, detail);
            return Some(Refused::WithStatus(error, StatusCode::FORBIDDEN));
        }
        ("404", "ReceiveWebhooks" | "AnswerHandshake" | "AnswerHandshakeByOptions") => (
            Reason::SourceNotFound,
            "the settings have no source `shop`; add [sources.NAME] to hookbox.toml and reload, or correct the URL",
        ),
        ("405", _) => {
            let detail = "the source `shop` takes nothing by GET; its sender sends webhooks by POST, and the header \
                          Allow lists the methods";
            return Some(Refused::Request(RestReason::MethodNotAllowed, detail.to_owned()));
        }
        ("415", "ReceiveWebhooks") => {
            let detail = "the Content-Encoding is \"gzip\"; send the body as it is".to_owned();
            return Some(Refused::Request(RestReason::UnsupportedMediaType, detail));
        }
        ("400", _) => return wrong_field(operation).map(Refused::from),
        ("404", "GetReplay" | "CancelReplay") => return Some(replay_not_found(7).into()),
        ("404", "Pause" | "Resume" | "MoveJobs" | "CancelJobs" | "StartReplay") => (
            Reason::RouteNotFound,
            "there is no route `orders`, neither in the settings nor with jobs; GET /v1/routes, in gRPC ListRoutes, lists them",
        ),
        ("404", "LeaseJobs") => (
            Reason::RouteNotFound,
            "there is no route `orders` in the settings; GET /v1/routes, in gRPC ListRoutes, lists them",
        ),
        ("404", "GetSource" | "ListRejections") => (
            Reason::SourceNotFound,
            "there is no source `shop` in the settings; GET /v1/sources, in gRPC ListSources, lists them",
        ),
        ("404", operation) if BY_KEY.contains(&operation) => {
            return Some(Error::not_found("with the key \"evt-001\" from `default`").into());
        }
        ("404", _) => return Some(Error::not_found(ID).into()),
        ("408", _) => {
            let detail = "the body arrived too slowly: 512 bytes of it; send it again".to_owned();
            return Some(Refused::Request(RestReason::BodyTimeout, detail));
        }
        ("409", "MoveJobs" | "CancelJobs") => (
            Reason::RouteInForce,
            "the route `orders` is in the settings; jobs can be moved all at once only if their route is gone. \
             Pause the route, or take it out of the settings and reload every replica first",
        ),
        ("409", "LeaseJobs") => (
            Reason::RouteNotPulled,
            "the route `orders` has the handler http, which hookbox runs itself; workers can only lease jobs of routes \
             with the handler pull",
        ),
        ("409", "RetryWebhook" | "RetryWebhookByKey") => {
            (Reason::WrongStatus, "the job of the route `orders` is completed and cannot be retried")
        }
        ("409", "ReplayWebhook" | "ReplayWebhookByKey") => {
            (Reason::WrongStatus, "the job of the route `orders` is pending and cannot be replayed")
        }
        ("409", "StartReplay") => (
            Reason::ReplayRunning,
            "replay 7 is running, and replays run one at a time; wait for its end, or cancel it",
        ),
        ("409", "CancelReplay") => {
            (Reason::WrongStatus, "replay 7 is completed; only a running replay can be cancelled")
        }
        ("409", "ReleaseWebhook" | "DiscardWebhook") => (
            Reason::WrongStatus,
            "the webhook is completed; only a webhook in quarantine can be released or discarded",
        ),
        ("409", _) => {
            (Reason::WrongStatus, "the job of the route `orders` is completed and cannot be cancelled")
        }
        ("413", "LeaseJobs" | "ExtendLeases" | "FinishJobs") => {
            (Reason::BodyTooLarge, "the body has more than 8388608 bytes; send a smaller one")
        }
        ("413", "StartReplay") => {
            (Reason::BodyTooLarge, "the body has more than 16384 bytes; send a smaller one")
        }
        ("413", _) => (Reason::BodyTooLarge, "the body has more than 1048576 bytes; send a smaller one"),
        ("415", _) => {
            let detail = "the Content-Type is \"text/plain\"; send the body as application/json".to_owned();
            return Some(Refused::Request(RestReason::UnsupportedMediaType, detail));
        }
        ("422", "ReloadSettings") => (
            Reason::SettingsInvalid,
            "the settings have mistakes; the settings in force stay:\n\
             hookbox.toml:4:9: lease = \"soon\" is not allowed: it must be a duration from 1s to 24h, such as \
             30s",
        ),
        ("422", "ReleaseWebhook") => {
            let detail = "webhook 01934c3e-7b00-7000-8000-000000000000 already has this idempotency key with a \
                          different payload; the quarantined webhook stays as it is. Discard it, or keep it until its \
                          retention is over";
            return Some(Error::new(Reason::KeyReused, detail).because_of(ID.parse().ok()?).into());
        }
        ("422", _) => {
            let detail = "webhook 01934c3e-7b00-7000-8000-000000000000 already has this idempotency key with a \
                          different payload, and was not changed; send a new webhook under a new key";
            return Some(Error::new(Reason::KeyReused, detail).because_of(ID.parse().ok()?).into());
        }
        ("429", _) => (
            Reason::RateLimited,
            "the source `default` has used up its limit of 1000 webhooks in 60 seconds; nothing was stored, try \
             again later",
        ),
        ("503", "SubmitWebhook" | "ReceiveWebhooks") => (
            Reason::BacklogFull,
            "at least 1000000 jobs are unfinished, which is the limit `max_backlog`; nothing was stored, try \
             again later",
        ),
        ("503", _) => (Reason::StoreUnavailable, "the store cannot be read at the moment; try again"),
        _ => return None,
    };
    Some(Error::new(reason, detail).into())
}

/// What the validation of an operation says about wrong fields.
fn wrong_field(operation: &str) -> Option<Error> {
    let refused = match operation {
        "SubmitWebhook" => all_of(IdempotencyKey::new(""), EventType::new(""), Ok(())).map(drop),
        "ListWebhooks" => "done".parse::<Status>().map(drop),
        "WatchWebhooks" => {
            let nothing = String::new;
            ArrivalQuery::from_fields("7", nothing(), nothing(), nothing()).map(drop)
        }
        operation if BY_KEY.contains(&operation) => of_key("", "").map(drop),
        "Pause" | "Resume" => pause_target(Some(ROUTE.to_owned()), Some("default".to_owned())).map(drop),
        "LeaseJobs" | "ExtendLeases" | "FinishJobs" => check_worker("").map(drop),
        "MoveJobs" => RouteName::from_field("to", "Orders").map(drop),
        "CancelJobs" => RouteName::new("Orders").map(drop),
        "GetSource" | "ListRejections" => Source::new("Shop").map(drop),
        "StartReplay" => rate(Some("50".to_owned())).map(drop),
        "GetReplay" | "CancelReplay" => number_of("seven").map(drop),
        "ListReplays" | "ListActions" => number_of_token("next").map(drop),
        "ReloadSettings" => ActionReason::of_field(Some("two\nlines".to_owned())).map(drop),
        "ListRoutes" | "ListPauses" | "ListSources" | "GetStats" => Err(takes_none("route")),
        _ => "7".parse::<WebhookId>().map(drop),
    };
    refused.err()
}
