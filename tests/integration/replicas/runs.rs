//! What was run, told by the replicas' traces: every run of a handler that came to its end.

use std::collections::HashMap;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::support::collector::{Collector, attributes_of};

/// How much of what was run may be unknown, because its process was killed before it told: 1 in ...
const UNTOLD: usize = 4;

/// The runs of the attempts of all webhooks: by the webhook's id and the attempt's number, the span
/// and the status that it ended with, before that was recorded.
pub(crate) struct Runs(HashMap<(String, u64), (Vec<u8>, String)>);

impl Runs {
    /// What the replicas have told. No attempt has run twice.
    pub(crate) fn told(collector: &Collector) -> Self {
        let mut runs = HashMap::new();
        for (_, span) in collector.spans() {
            if span.kind != SpanKind::Consumer as i32 {
                continue;
            }
            let mut attributes = attributes_of(&span.attributes);
            let mut take = |name| attributes.remove(name).expect(name);
            let number = take("hookbox.attempt.number").parse().expect("is a number");
            let attempt = (take("hookbox.webhook.id"), number);
            let run = (span.span_id, take("hookbox.status"));
            let before = runs.insert(attempt.clone(), run.clone());
            // What was not confirmed may be told again.
            assert!(before.is_none_or(|before| before == run), "{attempt:?} has run twice");
        }
        Self(runs)
    }

    /// Compares with what was recorded. Every completed attempt was run, as far as its process
    /// lived to tell; nothing was run that is not recorded as an attempt; and no more attempts were
    /// interrupted than faults can explain.
    pub(crate) fn reckon(mut self, webhooks: &[Value], killed: &[u32], interruptions: usize) {
        let (mut untold, mut interrupted) = (0, 0);
        for webhook in webhooks {
            let id = webhook["id"].as_str().expect("is text");
            for attempt in webhook["attempts"].as_array().expect("is a list") {
                let number = attempt["number"].as_u64().expect("is a number");
                let run = self.0.remove(&(id.to_owned(), number));
                if attempt["outcome"] != "completed" {
                    // It was cut off, or ended too late.
                    interrupted += 1;
                    continue;
                }
                let worker = attempt["worker"].as_str().expect("is text");
                match run {
                    Some((_, status)) => assert_eq!(status, "completed", "{webhook}"),
                    None => {
                        assert!(killed.iter().any(|process| is_of(worker, *process)), "not run: {webhook}");
                        untold += 1;
                    }
                }
            }
        }
        assert!(self.0.is_empty(), "was run, and is not recorded: {:?}", self.0);
        assert!(interrupted <= interruptions, "{interrupted} attempts were interrupted");
        assert!(untold * UNTOLD < webhooks.len(), "{untold} runs of {} are not known", webhooks.len());
    }
}

/// Whether a worker, as the history of attempts calls it, is this process: `host-process-random`.
fn is_of(worker: &str, process: u32) -> bool {
    worker.rsplit('-').nth(1) == Some(&process.to_string())
}
