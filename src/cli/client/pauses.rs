//! The pauses in force, as `hookbox routes` and `hookbox sources` show them.

use jiff::Timestamp;
use serde::Deserialize;

use super::dates::relative;
use super::safe::safe;
use super::tell::parse;
use crate::cli::Failure;
use crate::client::Client;

/// A pause. If it names neither a route nor a source, it keeps every job from starting.
#[derive(Debug, Deserialize)]
pub(super) struct Pause {
    pub(super) route: Option<String>,
    pub(super) source: Option<String>,
    since: String,
    actor: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    pauses: Vec<Pause>,
}

/// The pauses in force, so far as the token sees them.
pub(super) async fn in_force(client: &Client) -> Result<Vec<Pause>, Failure> {
    let answer = client.get(&["v1", "pauses"], &[]).await?;
    Ok(parse::<Listed>(client, &answer)?.pauses)
}

impl Pause {
    /// Since when, by whom and why, in the row of what is paused.
    pub(super) fn told(&self, now: Timestamp) -> String {
        let why = self.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("paused {} by {}{why}", relative(&self.since, now), self.actor)
    }

    /// The same where else it is shown.
    pub(super) fn told_with_name(&self, now: Timestamp) -> String {
        let name = match (&self.route, &self.source) {
            (Some(route), _) => format!("route {route}"),
            (None, Some(source)) => format!("source {source}"),
            (None, None) => "everything".to_owned(),
        };
        format!("{name} {}", self.told(now))
    }
}

/// The lines below a table about pauses that no row of it shows.
pub(super) fn lines<'p>(pauses: impl Iterator<Item = &'p Pause>, now: Timestamp) -> String {
    pauses.map(|pause| safe(&pause.told_with_name(now)) + "\n").collect()
}
