//! Runs random sequences of operations on a store and on a simple in-memory model, and compares the two after
//! every operation.

mod compare;
mod moved;
mod operation;
mod reference;
mod starts;
mod transitions;
mod webhooks;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::operation::{Operation, Settings, operations};
use self::reference::Reference;
use crate::store::harness::Harness;
use crate::store::inbox::Inbox;

/// The maximum length of a sequence.
const STEPS: usize = 80;

/// The time after which a sequence is considered to hang.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn no_sequence_of_operations_breaks_the_model<H: Harness>() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut runner = TestRunner::new(Config {
        cases: H::LIVES,
        max_shrink_iters: 2_000,
        // A failing sequence is printed in full, so it does not have to be saved.
        failure_persistence: None,
        ..Config::default()
    });
    let lives = prop::collection::vec(operations(), 1..STEPS);
    let outcome = runner.run(&lives, |life| runtime.block_on(live::<H>(&life)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Returns an inbox on which these operations were run, after checking their results against the model.
async fn lived<H: Harness>(life: &[Operation]) -> Result<Inbox<H>, TestCaseError> {
    let mut inbox = Inbox::<H>::with(reference::MAX_BACKLOG, Settings::FIRST.in_force()).await;
    let mut reference = Reference::new(&inbox);
    for operation in life {
        reference.run(&mut inbox, operation).await?;
    }
    Ok(inbox)
}

async fn live<H: Harness>(life: &[Operation]) -> Result<(), TestCaseError> {
    let life = async {
        let mut inbox = Inbox::<H>::with(reference::MAX_BACKLOG, Settings::FIRST.in_force()).await;
        let mut reference = Reference::new(&inbox);
        for operation in life {
            reference.run(&mut inbox, operation).await?;
            reference.compare(&inbox).await?;
        }
        reference.compare_everything(&inbox).await?;
        inbox.close().await;
        Ok(())
    };
    tokio::time::timeout(LIMIT, life).await.map_err(|_| TestCaseError::fail("the store hangs"))?
}
