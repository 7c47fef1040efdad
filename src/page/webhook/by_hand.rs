//! What operators do with a webhook: retry, replay, cancel, release, discard.

use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::{InPath, id_of};
use crate::domain::error::Result;
use crate::domain::id::WebhookId;
use crate::domain::job::Status;
use crate::domain::route::RouteName;
use crate::domain::webhook::{WebhookName, WebhookStatus};
use crate::page::action::Action;
use crate::page::because::because;
use crate::page::context::Context;
use crate::page::parts::{self, Button, Tone, confirmed};
use crate::service::view::{JobView, WebhookView};

/// The fields of a form that acts on a webhook.
#[derive(Debug, Deserialize)]
pub(super) struct ByHand {
    /// The route of the only job to act on.
    route: Option<String>,
    reason: Option<String>,
    /// The path of the list that has the form.
    back: Option<String>,
}

/// What is done with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Retry,
    Replay,
    Cancel,
}

impl What {
    const ALL: [Self; 3] = [Self::Retry, Self::Replay, Self::Cancel];

    /// The last part of the path of its form.
    const fn path(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Cancel => "cancel",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Replay => "Replay",
            Self::Cancel => "Cancel",
        }
    }

    const fn tone(self) -> Tone {
        match self {
            Self::Retry => Tone::Good,
            Self::Replay => Tone::Plain,
            Self::Cancel => Tone::Bad,
        }
    }

    /// What to ask before it is done with the job of a route, or with all jobs.
    fn question(self, route: Option<&RouteName>) -> String {
        match (self, route) {
            (Self::Retry, Some(route)) => format!(
                "The job of {route} starts a new run, with all its attempts. What its handler did before may be done \
                 again."
            ),
            (Self::Retry, None) => {
                "Dead letters and cancelled jobs start a new run, with all their attempts. What the handler did before \
                 may be done again."
                    .to_owned()
            }
            (Self::Replay, Some(route)) => {
                format!("The job of {route} starts a new run. What its handler did is done again.")
            }
            (Self::Replay, None) => {
                "All finished jobs start a new run, also those that are completed. What their handlers did is done \
                 again."
                    .to_owned()
            }
            (Self::Cancel, Some(route)) => format!(
                "The job of {route} does not start again by itself. You can retry it later, as long as the body is \
                 kept."
            ),
            (Self::Cancel, None) => {
                "Waiting jobs do not start, and dead letters are given up. You can retry them later, as long as the \
                 body is kept."
                    .to_owned()
            }
        }
    }

    /// Whether a button for it is shown for a job. Dead letters can be replayed too, but are retried.
    fn fits(self, status: Status) -> bool {
        match self {
            Self::Retry => matches!(status, Status::DeadLettered | Status::Cancelled),
            Self::Replay => status == Status::Completed,
            Self::Cancel => status.is_waiting() || status == Status::DeadLettered,
        }
    }

    /// A job without the body of its webhook cannot run again.
    fn needs_body(self) -> bool {
        self != Self::Cancel
    }

    /// What is told once it is done.
    fn done(self, route: Option<&RouteName>) -> String {
        match (self, route) {
            (Self::Retry | Self::Replay, Some(route)) => format!("The job of {route} starts a new run."),
            (Self::Retry, None) => "Dead letters and cancelled jobs start a new run.".to_owned(),
            (Self::Replay, None) => "All finished jobs start a new run.".to_owned(),
            (Self::Cancel, Some(route)) => format!("The job of {route} is cancelled."),
            (Self::Cancel, None) => "Waiting jobs and dead letters are cancelled.".to_owned(),
        }
    }
}

/// The buttons for all jobs of a webhook, or for a webhook in quarantine.
pub(super) fn buttons(context: &Context, webhook: &WebhookView) -> Markup {
    let id = webhook.status.id;
    if webhook.status.is_quarantined {
        let release = "The webhook is accepted, and gets a job of each route that matches it.";
        let discard = "The webhook is removed for good, with its body.";
        return html! {
            (asking(context, id, "release", "Release", Tone::Good, release))
            (asking(context, id, "discard", "Discard", Tone::Bad, discard))
        };
    }
    let fits = |what: &What| {
        webhook.jobs.iter().any(|job| what.fits(job.status))
            && (webhook.payload.is_some() || !what.needs_body())
    };
    html! { @for what in What::ALL.into_iter().filter(fits) { (asking_of_jobs(context, id, what, None, None)) } }
}

/// The buttons for one job of several.
pub(super) fn buttons_of_job(context: &Context, webhook: &WebhookView, job: &JobView) -> Markup {
    let fits = |what: &What| what.fits(job.status) && (webhook.payload.is_some() || !what.needs_body());
    html! {
        @for what in What::ALL.into_iter().filter(fits) {
            (asking_of_jobs(context, webhook.status.id, what, Some(&job.route), None))
        }
    }
}

/// The button that retries a webhook from its row in a list, if there is something to retry. The list does not know
/// whether the body is kept.
pub(in crate::page) fn retry_in_list(context: &Context, webhook: &WebhookStatus) -> Markup {
    let mut routes = webhook.jobs.iter().filter(|job| What::Retry.fits(job.status)).map(|job| &job.route);
    let (Some(route), second) = (routes.next(), routes.next()) else { return parts::nothing() };
    // A caller who does not see all jobs of the webhook has to name the one to retry.
    let route = second.is_none().then_some(route);
    asking_of_jobs(context, webhook.id, What::Retry, route, Some(&context.here()))
}

/// A button that does something with the job of a route, or with all jobs. `back` is the list to go back to, if the button
/// is in one.
fn asking_of_jobs(
    context: &Context,
    id: WebhookId,
    what: What,
    route: Option<&RouteName>,
    back: Option<&str>,
) -> Markup {
    let action = format!("/webhooks/{id}/{}", what.path());
    let fields = html! {
        @if let Some(route) = route { input type="hidden" name="route" value=(route.as_str()); }
        @if let Some(back) = back { input type="hidden" name="back" value=(back); }
        (parts::reason())
    };
    let button = Button::new(&action, what.label()).tone(what.tone()).fields(fields);
    confirmed(context, &button, &what.question(route))
}

/// A button that opens a question and a field for the reason.
fn asking(context: &Context, id: WebhookId, path: &str, label: &str, tone: Tone, question: &str) -> Markup {
    let action = format!("/webhooks/{id}/{path}");
    let button = Button::new(&action, label).tone(tone).fields(parts::reason());
    confirmed(context, &button, question)
}

/// `POST /webhooks/{id}/retry`
pub(super) async fn retry(id: InPath, Action(context, form): Action<ByHand>) -> Response {
    answer(What::Retry, &context, id, form).await
}

/// `POST /webhooks/{id}/replay`
pub(super) async fn replay(id: InPath, Action(context, form): Action<ByHand>) -> Response {
    answer(What::Replay, &context, id, form).await
}

/// `POST /webhooks/{id}/cancel`
pub(super) async fn cancel(id: InPath, Action(context, form): Action<ByHand>) -> Response {
    answer(What::Cancel, &context, id, form).await
}

async fn answer(what: What, context: &Context, id: InPath, mut form: ByHand) -> Response {
    // No form leads out of this page.
    let back = form.back.take().filter(|back| back.starts_with("/webhooks"));
    match on_jobs(what, context, id, form).await {
        Ok((id, notice)) => context.done(&back.unwrap_or_else(|| format!("/webhooks/{id}")), &notice),
        Err(error) => context.failed(&error),
    }
}

async fn on_jobs(what: What, context: &Context, id: InPath, form: ByHand) -> Result<(WebhookId, String)> {
    let id = id_of(id)?;
    let route = form.route.filter(|route| !route.is_empty()).map(RouteName::new).transpose()?;
    let service = because(context, form.reason)?;
    let name = WebhookName::Id(id);
    match what {
        What::Retry => service.retry(name, route.clone()).await?,
        What::Replay => service.replay_webhook(name, route.clone()).await?,
        What::Cancel => service.cancel(name, route.clone()).await?,
    };
    Ok((id, what.done(route.as_ref())))
}

/// `POST /webhooks/{id}/release`
pub(super) async fn release(id: InPath, Action(context, form): Action<ByHand>) -> Response {
    match released(&context, id, form.reason).await {
        Ok((id, notice)) => context.done(&format!("/webhooks/{id}"), notice),
        Err(error) => context.failed(&error),
    }
}

async fn released(
    context: &Context,
    id: InPath,
    reason: Option<String>,
) -> Result<(WebhookId, &'static str)> {
    let accepted = because(context, reason)?.release(id_of(id)?).await?;
    let webhook = accepted.webhook;
    let notice = if accepted.duplicate {
        "Another webhook with this key was accepted meanwhile, and the released one counts as its duplicate. The other \
         one is shown here; the one in quarantine is removed."
    } else if webhook.jobs.is_empty() {
        "The webhook is released. No route matches it, so nothing runs."
    } else {
        "The webhook is released, and its jobs are due."
    };
    Ok((webhook.id, notice))
}

/// `POST /webhooks/{id}/discard`
pub(super) async fn discard(id: InPath, Action(context, form): Action<ByHand>) -> Response {
    match discarded(&context, id, form.reason).await {
        Ok(id) => {
            context.done("/webhooks?status=quarantined", &format!("Webhook {id} is removed from quarantine."))
        }
        Err(error) => context.failed(&error),
    }
}

async fn discarded(context: &Context, id: InPath, reason: Option<String>) -> Result<WebhookId> {
    let webhook = because(context, reason)?.discard(id_of(id)?).await?;
    Ok(webhook.id)
}
