//! Finds what is wrong now, and says it in words: what, since when or how much, and where to fix it.

mod numbers;
mod sources;

use super::tables::routes_seen;
use crate::domain::error::Result;
use crate::page::context::Context;
use crate::page::parts::Tone;
use crate::service::Stats;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// How bad it is: `Bad` or `Warning`.
    pub(super) tone: Tone,
    /// What it is.
    pub(super) text: String,
    /// The path where it can be fixed, and what the link says.
    pub(super) link: Option<(String, &'static str)>,
}

impl Wrong {
    fn new(tone: Tone, text: String) -> Self {
        Self { tone, text, link: None }
    }

    fn see(self, path: impl Into<String>, label: &'static str) -> Self {
        Self { link: Some((path.into(), label)), ..self }
    }
}

/// What is wrong now, so far as the caller sees it: what is bad first.
pub(super) async fn now(context: &Context, stats: &Result<Stats>) -> Vec<Wrong> {
    let mut wrong = of_store(context).await;
    match stats {
        Ok(stats) => {
            wrong.extend(numbers::of_jobs(context, stats));
            wrong.extend(numbers::in_quarantine(context, stats).await);
            let recent = routes_seen(&context.caller, context.service.metrics().history().routes());
            for route in &stats.routes {
                let recent = recent.iter().find(|(name, _)| *name == route.route);
                let recent = recent.map_or(0, |(_, totals)| totals.dead_lettered);
                wrong.extend(numbers::of_route(context, route));
                wrong.extend(numbers::dead_letters(route, recent));
            }
            wrong.extend(numbers::of_pauses(context, stats));
        }
        Err(error) => {
            let text =
                format!("The store cannot be read: {}. Check what database_url names.", error.detail());
            wrong.push(of_process(context, text));
        }
    }
    wrong.extend(sources::of_sources(context));
    wrong.sort_by_key(|one| one.tone != Tone::Bad);
    wrong
}

/// Whether the process can serve at all.
async fn of_store(context: &Context) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    match context.service.check_store().await {
        Ok(found) if !found.probe.migrations_current => {
            let text = "The tables of the store (database_url) are not those of this version of hookbox. Another \
                version may have changed them: start this version again, or the newer one.";
            wrong.push(of_process(context, text.to_owned()));
        }
        Ok(_) => {}
        Err(error) => {
            let text = format!(
                "The store cannot be written, so nothing is accepted and no job ends: {}. Check what \
                 database_url names.",
                error.detail()
            );
            wrong.push(of_process(context, text));
        }
    }
    if context.shared.pages.stopping.is_cancelled() {
        let text = "This process is shutting down. Running attempts may take shutdown_grace.";
        wrong.push(of_process(context, text.to_owned()));
    } else if context.service.metrics().workers().total == 0 {
        let text = "The worker threads do not run, so no job starts. Restart hookbox; the log has the cause.";
        wrong.push(of_process(context, text.to_owned()));
    }
    wrong
}

/// Something wrong with the whole process, which its settings help to fix. A token that is limited does not see these.
fn of_process(context: &Context, text: String) -> Wrong {
    let wrong = Wrong::new(Tone::Bad, text);
    if context.caller.is_limited() { wrong } else { wrong.see("/settings", "Look at the settings") }
}
