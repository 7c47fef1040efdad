//! Which replays began the current runs of jobs, and why.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use crate::page::context::Context;
use crate::page::parts::cut;
use crate::service::Replay;
use crate::service::view::{JobView, WebhookView};

/// How many characters of a reason are shown. The view of the replay has all of them.
const REASON_CHARS: usize = 400;

/// The replays that began the current runs of the jobs, by their numbers. Those that the caller does not see are missing.
pub(super) async fn replays(context: &Context, webhook: &WebhookView) -> BTreeMap<u64, Replay> {
    let numbers = webhook.jobs.iter().filter_map(|job| job.replay).collect::<BTreeSet<_>>();
    let mut found = BTreeMap::new();
    for number in numbers {
        if let Ok(replay) = context.service.replay(number).await {
            found.insert(number, replay);
        }
    }
    found
}

/// The replay that began the current run of a job. Of one that the caller does not see, only its number.
pub(super) fn began(context: &Context, job: &JobView, replays: &BTreeMap<u64, Replay>) -> Markup {
    html! {
        @if let Some(number) = job.replay {
            p.muted {
                @match replays.get(&number) {
                    Some(replay) => {
                        a href=(context.path(&format!("/replays/{number}"))) { "Replay " (number) }
                        " began run " (job.run)
                        @if let Some(reason) = &replay.reason { ": " (cut(reason, REASON_CHARS)) }
                    },
                    None => { "Replay " (number) " began run " (job.run) },
                }
            }
        }
    }
}
