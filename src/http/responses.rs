//! Responses for the OpenAPI document that the attributes of the handlers do not say.

use utoipa::openapi::{ContentBuilder, OneOfBuilder, OpenApi, Ref, RefOr, ResponseBuilder};

use super::problem::MEDIA_TYPE;

/// Where senders send.
const RECEIVE: &str = "/v1/sources/{source}/webhooks";

/// Adds them.
pub(super) fn add_responses(document: &mut OpenApi) {
    add_timeouts(document);
    add_one_or_several(document);
}

/// A call that takes no body waits for the one that a request announces, to see whether it is empty.
fn add_timeouts(document: &mut OpenApi) {
    let posts = document.paths.paths.values_mut().filter_map(|item| item.post.as_mut());
    for post in posts.filter(|post| post.request_body.is_none()) {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new()
            .description(
                "A body that the request announces arrived too slowly, or did not arrive within 30 seconds",
            )
            .content(MEDIA_TYPE, content);
        post.responses.responses.insert("408".to_owned(), response.into());
    }
}

/// The number of webhooks decides the schema of the answer to a sender. Whether one of them is new decides the status.
fn add_one_or_several(document: &mut OpenApi) {
    let post = document.paths.paths.get_mut(RECEIVE).and_then(|item| item.post.as_mut());
    let Some(post) = post else { return };
    for status in ["200", "202"] {
        if let Some(RefOr::T(response)) = post.responses.responses.get_mut(status)
            && let Some(RefOr::T(content)) = response.content.get_mut("application/json")
        {
            let schemas = ["SubmitWebhookResponse", "ReceiveWebhooksResponse"];
            let either =
                schemas.into_iter().map(Ref::from_schema_name).fold(OneOfBuilder::new(), OneOfBuilder::item);
            content.schema = Some(either.into());
        }
    }
}
