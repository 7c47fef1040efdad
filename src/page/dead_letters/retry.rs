//! Retries the dead letters of a group.

use std::time::Duration;

use axum::response::Response;
use futures::future::join_all;
use serde::Deserialize;

use super::Asked;
use super::groups::{Group, groups};
use crate::domain::error::{Error, Reason, Result};
use crate::domain::id::WebhookId;
use crate::domain::route::RouteName;
use crate::domain::webhook::WebhookName;
use crate::page::action::Action;
use crate::page::because::because;
use crate::page::context::Context;
use crate::page::parts::count;
use crate::service::Service;

/// How many webhooks are retried at once.
const AT_ONCE: usize = 8;

/// For how long webhooks of a group are retried. Those that are left are retried when it is asked for again.
const RETRY_TIME: Duration = Duration::from_secs(10);

/// The form that retries a group.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Retry {
    group: String,
    route: String,
    source: String,
    page_token: String,
    reason: Option<String>,
}

/// `POST /dead-letters/retry`
pub(super) async fn retry(Action(context, form): Action<Retry>) -> Response {
    let Retry { group, route, source, page_token, reason } = form;
    let asked = Asked { route, source, page_token };
    match retried(&context, &asked, &group, reason).await {
        Ok(notice) => context.done(&asked.path(), &notice),
        Err(error) => context.failed(&error),
    }
}

/// Retries the dead letters of a group, as it is now. Errors: `InvalidField`; those of the store if nothing was retried.
async fn retried(context: &Context, asked: &Asked, group: &str, reason: Option<String>) -> Result<String> {
    if group.is_empty() {
        return Err(Error::invalid("group", "is missing; retry a group of the page of dead letters"));
    }
    let service = because(context, reason)?;
    let query = asked.query()?;
    let only = query.route.clone();
    let page = service.list(query).await?;
    let found = groups(&page.webhooks, only.as_ref()).into_iter().find(|found| found.name == group);
    let Some(Group { route, mut webhooks, .. }) = found else {
        return Ok("Nothing was retried: this group has no dead letters any more.".to_owned());
    };
    // The oldest first, as they came.
    webhooks.reverse();
    let counts = retry_all(context, &service, &route, &webhooks).await?;
    Ok(counts.told(&route, webhooks.len()))
}

/// The results of retrying a group, in numbers.
#[derive(Debug, Default)]
struct Counts {
    retried: usize,
    /// Those that are no dead letters any more, or whose body is gone.
    refused: usize,
    /// Why the others were not retried.
    error: Option<Error>,
}

async fn retry_all(
    context: &Context,
    service: &Service,
    route: &RouteName,
    webhooks: &[WebhookId],
) -> Result<Counts> {
    let clock = &context.shared.pages.clock;
    let (begin, mut counts) = (clock.monotonic(), Counts::default());
    for some in webhooks.chunks(AT_ONCE) {
        let retries = some.iter().map(|id| service.retry(WebhookName::Id(*id), Some(route.clone())));
        for result in join_all(retries).await {
            match result {
                Ok(_) => counts.retried += 1,
                Err(error) if is_refusal(error.reason()) => counts.refused += 1,
                Err(error) => counts.error = Some(error),
            }
        }
        if counts.error.is_some() || clock.monotonic().saturating_sub(begin) > RETRY_TIME {
            break;
        }
    }
    match counts.error.take() {
        Some(error) if counts.retried == 0 => Err(error),
        error => Ok(Counts { error, ..counts }),
    }
}

/// Whether a webhook cannot be retried, while others of its group can.
fn is_refusal(reason: Reason) -> bool {
    matches!(reason, Reason::WrongStatus | Reason::WebhookNotFound | Reason::RouteNotFound)
}

impl Counts {
    /// The text about a group with this number of dead letters.
    fn told(&self, route: &RouteName, all: usize) -> String {
        let Self { retried, refused, error } = self;
        let mut text =
            format!("{} of {route} run again.", count(*retried as u64, "dead letter", "dead letters"));
        if *refused > 0 {
            text.push_str(&format!(
                " {refused} cannot be retried: they changed meanwhile, or their body is gone."
            ));
        }
        let left = all - retried - refused;
        if left > 0 {
            let why = error.as_ref().map_or("it took too long", |error| error.reason().title());
            text.push_str(&format!(" {left} are left ({why}): retry the group again."));
        }
        text
    }
}
