//! A handler that does as the test says, and remembers what it was given.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookbox::internals::domain::delivery::Delivery;
use hookbox::internals::worker::handler::{Attempt, Failure, Handler};
use serde_json::{Value, json};

/// How often an attempt that is held looks whether it has to stop.
const LOOK: Duration = Duration::from_millis(5);

/// What one attempt does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Completes, with this result.
    Complete(Value),
    /// Fails; another attempt may help.
    Fail(&'static str),
    /// Fails, and asks for another attempt after this time.
    FailFor(&'static str, Duration),
    /// Fails; no other attempt can help.
    FailForGood(&'static str),
    /// Panics.
    Panic(&'static str),
    /// Keeps what was sent and answered, then fails.
    Deliver(Box<Delivery>),
    /// Waits for its gate, then completes.
    Hold(Receiver<()>),
    /// The same, but does not end when the attempt is told to stop.
    Block(Receiver<()>),
}

/// What one attempt was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) webhook: String,
    pub(crate) key: String,
    pub(crate) event_type: String,
    pub(crate) number: u32,
    pub(crate) payload: String,
}

/// Each attempt takes the next step; where none is left it completes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<State>);

#[derive(Debug, Default)]
struct State {
    steps: Mutex<VecDeque<Step>>,
    runs: Mutex<Vec<Run>>,
    over: AtomicBool,
}

/// Holds an attempt until it is dropped.
#[derive(Debug)]
pub(crate) struct Gate(#[expect(dead_code, reason = "held to be dropped")] Sender<()>);

impl Script {
    /// What the next attempts do.
    pub(crate) fn will(&self, steps: impl IntoIterator<Item = Step>) {
        self.0.steps.lock().unwrap().extend(steps);
    }

    /// The next attempt runs until the gate is dropped.
    pub(crate) fn will_hold(&self) -> Gate {
        let (gate, held) = mpsc::channel();
        self.will([Step::Hold(held)]);
        Gate(gate)
    }

    /// The next attempt runs until the gate is dropped, also if it is told to stop.
    pub(crate) fn will_block(&self) -> Gate {
        let (gate, held) = mpsc::channel();
        self.will([Step::Block(held)]);
        Gate(gate)
    }

    /// Every attempt so far, in the order they began.
    pub(crate) fn runs(&self) -> Vec<Run> {
        self.0.runs.lock().unwrap().clone()
    }

    /// Lets held attempts complete.
    pub(crate) fn let_go(&self) {
        self.0.over.store(true, Ordering::SeqCst);
    }

    /// Waits for a gate, or until `is_stopped`.
    fn hold(&self, gate: &Receiver<()>, is_stopped: impl Fn() -> bool) -> Result<(), Failure> {
        while gate.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
            if is_stopped() {
                return Err(Failure::Stopped);
            }
            if self.0.over.load(Ordering::SeqCst) {
                break;
            }
        }
        Ok(())
    }
}

impl Handler for Script {
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        self.0.runs.lock().unwrap().push(Run {
            webhook: attempt.webhook_id(),
            key: attempt.idempotency_key().to_owned(),
            event_type: attempt.event_type().to_owned(),
            number: attempt.number(),
            payload: attempt.payload_text().expect("UTF-8").to_owned(),
        });
        let step = self.0.steps.lock().unwrap().pop_front();
        match step {
            None => Ok(json!({ "handled": attempt.event_type() })),
            Some(Step::Complete(result)) => Ok(result),
            Some(Step::Fail(error)) => Err(Failure::Retry { error: error.into(), after: None }),
            Some(Step::FailFor(error, after)) => {
                Err(Failure::Retry { error: error.into(), after: Some(after) })
            }
            Some(Step::FailForGood(error)) => Err(Failure::Permanent { error: error.into() }),
            Some(Step::Panic(message)) => panic!("{message}"),
            Some(Step::Deliver(delivery)) => {
                attempt.keep(*delivery);
                Err(Failure::Retry { error: "not delivered".into(), after: None })
            }
            Some(Step::Hold(gate)) => {
                self.hold(&gate, || attempt.is_stopped())?;
                Ok(json!({ "handled": attempt.event_type() }))
            }
            Some(Step::Block(gate)) => {
                self.hold(&gate, || false)?;
                Ok(json!({ "handled": attempt.event_type() }))
            }
        }
    }
}
