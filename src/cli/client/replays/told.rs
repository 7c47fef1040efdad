//! A replay as REST answers it, and its texts for people.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::Failure;
use crate::cli::client::dates::relative;
use crate::cli::client::facts::Facts;
use crate::cli::client::safe::{json_line, safe};
use crate::cli::client::table::{Cell, Column, Table};
use crate::cli::client::tell::Format;
use crate::cli::client::terminal::{Terminal, Tint, tint_of};
use crate::cli::output::print;
use crate::client::{Client, ClientError};
use crate::clock::SystemClock;
use crate::domain::clock::Clock as _;

/// A replay.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Replay {
    pub(super) number: u64,
    state: String,
    filter: Map<String, Value>,
    reason: Option<String>,
    actor: String,
    rate: Option<String>,
    dry_run: bool,
    counts: Counts,
    progress: f64,
    waiting_for: Option<String>,
    pub(super) started_at: String,
    ended_at: Option<String>,
    /// All of it, as it was answered.
    #[serde(skip)]
    json: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Counts {
    webhooks: u64,
    jobs: u64,
    unfinished: u64,
    payload_gone: u64,
    route_gone: u64,
    without_jobs: u64,
}

impl Replay {
    /// Reads the answer of a call.
    pub(super) fn read(client: &Client, answer: String) -> Result<Self, ClientError> {
        let replay = serde_json::from_str::<Self>(&answer);
        let replay = replay.map_err(|error| client.unexpected(error.to_string()))?;
        Ok(Self { json: answer, ..replay })
    }

    /// Asks for the replay with a number.
    pub(super) async fn get(client: &Client, number: u64) -> Result<Self, ClientError> {
        Self::read(client, client.get(&["v1", "replays", &number.to_string()], &[]).await?)
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Whether it has looked at every webhook, and was not cancelled.
    pub(super) fn is_completed(&self) -> bool {
        self.state == "completed"
    }

    /// How many jobs run again, or would.
    pub(super) fn jobs(&self) -> u64 {
        self.counts.jobs
    }

    /// How far it is, in percent: of this many jobs, or else of the time in which its webhooks were accepted. A replay
    /// that is running has not all of it.
    pub(super) fn percent(&self, of_jobs: Option<u64>) -> u64 {
        let share = of_jobs.map_or(self.progress, |all| self.counts.jobs as f64 / all.max(1) as f64);
        (share * 100.0).clamp(0.0, 99.0) as u64
    }

    /// What it does, for people who watch it.
    pub(super) fn doing(&self) -> String {
        let waiting = self.waiting_for.as_deref().map(|what| format!("; waits for {}", safe(what)));
        format!("{}{}", self.counted(), waiting.unwrap_or_default())
    }

    /// Prints that it is started.
    pub(super) fn print_start(&self, format: Format) -> Result<(), Failure> {
        self.print(format, &format!("{} is started", self.name()))
    }

    /// Prints how it has ended.
    pub(super) fn print_end(&self, format: Format) -> Result<(), Failure> {
        self.print(format, &self.ended())
    }

    /// Prints everything.
    pub(super) fn print_facts(&self, format: Format) -> Result<(), Failure> {
        self.print(format, self.facts(SystemClock.now()).text(0, Terminal::stdout()).trim_end())
    }

    fn print(&self, format: Format, text: &str) -> Result<(), Failure> {
        if format.json { print(json_line(&self.json) + "\n") } else { print(format_args!("{text}\n")) }
    }

    /// How it has ended.
    pub(super) fn ended(&self) -> String {
        format!("{} is {}: {}", self.name(), safe(&self.state), self.counted())
    }

    fn name(&self) -> String {
        format!("replay {}{}", self.number, if self.dry_run { " (dry run)" } else { "" })
    }

    /// Its counts so far, in words; of a dry run, what would run.
    fn counted(&self) -> String {
        let Counts { webhooks, jobs, unfinished, payload_gone, route_gone, without_jobs } = self.counts;
        let again = match (self.dry_run, jobs) {
            (true, _) => "would run again",
            (false, 1) => "runs again",
            (false, _) => "run again",
        };
        let left = [
            (unfinished, "job that is not finished", "jobs that are not finished"),
            (payload_gone, "job whose payload is gone", "jobs whose payload is gone"),
            (route_gone, "job whose route is gone", "jobs whose route is gone"),
            (without_jobs, "webhook without jobs", "webhooks without jobs"),
        ];
        let left = left.into_iter().filter(|(number, ..)| *number > 0);
        let left = left.map(|(number, one, many)| count(number, one, many)).collect::<Vec<_>>().join(", ");
        let left = if left.is_empty() { left } else { format!("; left as they are: {left}") };
        let (jobs, webhooks) = (count(jobs, "job", "jobs"), count(webhooks, "webhook", "webhooks"));
        format!("{jobs} of {webhooks} {again}{left}")
    }

    /// Where it stands.
    fn standing(&self) -> Cell {
        let progress = if self.is_running() { format!(" {} %", self.percent(None)) } else { String::new() };
        let dry_run = if self.dry_run { ", dry run" } else { "" };
        Cell::tinted(format!("{}{progress}{dry_run}", self.state), tint_of(&self.state))
    }

    /// Which webhooks and jobs it is about.
    fn filter(&self) -> String {
        let word = |(name, value): (&String, &Value)| match value {
            Value::Array(words) => {
                let words = words.iter().filter_map(Value::as_str).collect::<Vec<_>>();
                format!("{name}={}", words.join(","))
            }
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        };
        self.filter.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    fn facts(&self, now: Timestamp) -> Facts {
        let mut facts = Facts::default();
        let time = |time: &str| Cell::new(format!("{time} ({})", relative(time, now)));
        facts.add("replay", Cell::new(self.number.to_string()));
        facts.add("state", self.standing());
        facts.add("filter", Cell::new(self.filter()));
        facts.add("counts", Cell::new(self.counted()));
        if let Some(what) = &self.waiting_for {
            facts.add("waits for", Cell::new(what));
        }
        if let Some(rate) = &self.rate {
            facts.add("rate", Cell::new(rate));
        }
        if let Some(reason) = &self.reason {
            facts.add("reason", Cell::new(reason));
        }
        facts.add("by", Cell::new(&self.actor));
        facts.add("started", time(&self.started_at));
        if let Some(at) = &self.ended_at {
            facts.add("ended", time(at));
        }
        facts
    }
}

/// A table for replays.
pub(super) fn table() -> Table {
    Table::new([
        Column::number("NUMBER"),
        Column::whole("STATE"),
        Column::number("JOBS"),
        Column::number("WEBHOOKS"),
        Column::whole("STARTED"),
        Column::cut("BY", 8),
        Column::cut("FILTER", 20),
        Column::cut("REASON", 10),
    ])
    .dropping(&["REASON", "BY", "WEBHOOKS", "FILTER", "STARTED", "JOBS"])
}

/// Adds a replay to such a table.
pub(super) fn add(table: &mut Table, replay: &Replay, now: Timestamp) {
    table.add([
        Cell::new(replay.number.to_string()),
        replay.standing(),
        Cell::count(replay.counts.jobs, Tint::Plain),
        Cell::count(replay.counts.webhooks, Tint::Plain),
        Cell::tinted(relative(&replay.started_at, now), Tint::Dim),
        Cell::new(&replay.actor),
        Cell::new(replay.filter()),
        Cell::new(replay.reason.as_deref().unwrap_or_default()),
    ]);
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replay(changes: Value) -> Replay {
        let mut replay = json!({
            "number": 7, "state": "running", "filter": { "route": "orders", "status": ["completed", "cancelled"] },
            "reason": null, "actor": "anna", "rate": null, "dry_run": false, "progress": 0.999,
            "counts": {
                "webhooks": 2, "jobs": 2, "unfinished": 0, "payload_gone": 0, "route_gone": 0, "without_jobs": 0,
            },
            "looked_to": "2026-03-01T12:00:00.000Z", "waiting_for": null, "ended_at": null,
            "started_at": "2026-03-01T12:00:00.000Z", "updated_at": "2026-03-01T12:00:00.000Z",
        });
        let members = replay.as_object_mut().expect("an object");
        let Value::Object(changes) = changes else { panic!("an object") };
        members.extend(changes);
        serde_json::from_value(replay).expect("a replay")
    }

    #[test]
    fn it_says_how_many_jobs_run_again_and_what_was_left() {
        let completed = json!({ "state": "completed" });
        assert_eq!(replay(completed).ended(), "replay 7 is completed: 2 jobs of 2 webhooks run again");
        let left = json!({
            "state": "cancelled",
            "counts": {
                "webhooks": 5, "jobs": 1, "unfinished": 1, "payload_gone": 18, "route_gone": 2, "without_jobs": 1,
            },
        });
        let expected = "replay 7 is cancelled: 1 job of 5 webhooks runs again; left as they are: 1 job that is not \
                        finished, 18 jobs whose payload is gone, 2 jobs whose route is gone, 1 webhook without jobs";
        assert_eq!(replay(left).ended(), expected);
        let dry_run = replay(json!({ "state": "completed", "dry_run": true }));
        assert_eq!(dry_run.ended(), "replay 7 (dry run) is completed: 2 jobs of 2 webhooks would run again");
    }

    #[test]
    fn a_replay_that_is_running_has_not_all_of_it() {
        let running = replay(json!({ "waiting_for": "the due jobs\u{1b} of the route orders to start" }));
        assert_eq!((running.percent(None), running.is_running()), (99, true));
        let of_jobs = [8, 2, 1, 0].map(|jobs| running.percent(Some(jobs)));
        assert_eq!(of_jobs, [25, 99, 99, 99]);
        let doing =
            "2 jobs of 2 webhooks run again; waits for the due jobs\\u{1b} of the route orders to start";
        assert_eq!(running.doing(), doing);
        assert_eq!(running.filter(), "route=orders status=completed,cancelled");
    }
}
