//! A random life of a store, step by step beside a model in memory that is too simple to be wrong.

mod compare;
mod operation;
mod reference;
mod starts;
mod transitions;
mod webhooks;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub(crate) use self::operation::{Operation, Settings, operations};
use self::reference::Reference;
use crate::store::harness::Harness;
use crate::store::inbox::Inbox;

/// The steps of the longest life.
const STEPS: usize = 80;

/// No life takes longer, unless something hangs.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn no_sequence_of_operations_breaks_the_model<H: Harness>() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut runner = TestRunner::new(Config {
        cases: H::LIVES,
        max_shrink_iters: 2_000,
        // A life that fails is printed in full.
        failure_persistence: None,
        ..Config::default()
    });
    let lives = prop::collection::vec(operations(), 1..STEPS);
    let outcome = runner.run(&lives, |life| runtime.block_on(live::<H>(&life)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// An inbox that has lived through a life, as the model would have it.
pub(crate) async fn lived<H: Harness>(life: &[Operation]) -> Result<Inbox<H>, TestCaseError> {
    let mut inbox = Inbox::<H>::with(reference::MAX_BACKLOG, operation::Settings::FIRST.in_force()).await;
    let mut reference = Reference::new(&inbox);
    for operation in life {
        reference.run(&mut inbox, operation).await?;
    }
    Ok(inbox)
}

async fn live<H: Harness>(life: &[Operation]) -> Result<(), TestCaseError> {
    let life = async {
        let mut inbox = Inbox::<H>::with(reference::MAX_BACKLOG, operation::Settings::FIRST.in_force()).await;
        let mut reference = Reference::new(&inbox);
        for operation in life {
            reference.run(&mut inbox, operation).await?;
            reference.compare(&inbox).await?;
        }
        inbox.close().await;
        Ok(())
    };
    tokio::time::timeout(LIMIT, life).await.map_err(|_| TestCaseError::fail("the store hangs"))?
}
