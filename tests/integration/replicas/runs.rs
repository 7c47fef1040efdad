//! The runs of handlers, taken from the traces of the replicas. Only runs that ended are known.

use std::collections::HashMap;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::support::collector::{Collector, attributes_of};

/// At most one run in this number may be unknown because its process was killed before it exported the trace.
const UNTOLD: usize = 4;

/// The runs of all attempts. The key is the webhook's id and the attempt's number; the value is the span's id and the
/// status with which the run ended.
pub(crate) struct Runs(HashMap<(String, u64), (Vec<u8>, String)>);

impl Runs {
    /// Reads the runs that the replicas have exported. Panics if an attempt ran twice.
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
            // A replica exports a span again if the export was not confirmed.
            assert!(before.is_none_or(|before| before == run), "{attempt:?} has run twice");
        }
        Self(runs)
    }

    /// Compares the runs with the recorded attempts:
    ///
    /// - Every completed attempt has a run, unless its process was killed before it exported the trace.
    /// - Every run is recorded as an attempt.
    /// - At most `interruptions` attempts were interrupted.
    pub(crate) fn reckon(mut self, webhooks: &[Value], killed: &[u32], interruptions: usize) {
        let (mut untold, mut interrupted) = (0, 0);
        for webhook in webhooks {
            let id = webhook["id"].as_str().expect("is text");
            for attempt in webhook["attempts"].as_array().expect("is a list") {
                let number = attempt["number"].as_u64().expect("is a number");
                let run = self.0.remove(&(id.to_owned(), number));
                if attempt["outcome"] != "completed" {
                    // The attempt was interrupted, or its run ended after the lease was lost.
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
        assert!(self.0.is_empty(), "these runs are not recorded: {:?}", self.0);
        assert!(interrupted <= interruptions, "{interrupted} attempts were interrupted");
        assert!(untold * UNTOLD < webhooks.len(), "{untold} of {} runs are unknown", webhooks.len());
    }
}

/// Whether the worker of an attempt, named `host process-random`, is this process.
fn is_of(worker: &str, process: u32) -> bool {
    worker.contains(&format!(" {process}-"))
}
