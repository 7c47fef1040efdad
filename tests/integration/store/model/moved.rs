//! Moves a store after random operations, with random batch sizes and interruptions, and checks that both stores give
//! the same results.

use std::sync::Arc;

use hookbox::internals::domain::policy::Policy;
use hookbox::internals::store::transfer::Limits;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{Operation, Settings, lived, operations};
use crate::store::inbox::Inbox;
use crate::store::postgres::EmptiedPostgres;
use crate::store::sqlite::SqliteHarness;
use crate::store::transfer::equal::{assert_equal, assert_go_on_alike};
use crate::store::transfer::{begin, complete, ready};

/// The number of random sequences of operations, and the maximum length of each.
const LIVES: u32 = 12;
const STEPS: usize = 60;

#[test]
fn after_any_operations_and_stops_both_stores_give_the_same_results() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut runner = TestRunner::new(Config {
        cases: LIVES,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let lives = prop::collection::vec(operations(), 1..STEPS);
    let stops = prop::collection::vec(0_usize..4, 0..3);
    let limits = (1_usize..4, prop::sample::select(vec![1_usize, 300, 1_000_000]))
        .prop_map(|(webhooks, bytes)| Limits { webhooks, bytes });
    let outcome = runner
        .run(&(lives, stops, limits), |(life, stops, limits)| runtime.block_on(moved(&life, &stops, limits)));
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Runs the operations, moves the store and compares both. `stops` has the number of batches that each interrupted
/// process moves; one more process moves the rest.
async fn moved(life: &[Operation], stops: &[usize], limits: Limits) -> Result<(), TestCaseError> {
    let mut source = lived::<SqliteHarness>(life).await?;
    let mut target = Inbox::<EmptiedPostgres>::new().await;
    target.close().await;

    // PostgreSQL takes over leases of removed routes later than SQLite, so all routes exist until the leases are
    // taken over.
    let policies = Arc::clone(source.policies());
    let all = policies.and_missing(&Settings::FIRST.in_force());
    source.reload(all.iter().map(|policy| Policy::clone(policy))).await;
    // The comparison uses a copy, because the moved file can no longer be opened.
    let file = source.harness().path();
    source.crash_and_reopen().await;
    let url = target.harness().url();
    for batches in stops {
        let mut transfer = ready(begin(&file, &url, limits, &source.clock).await);
        for _ in 0..*batches {
            transfer.step().await.expect("moves");
        }
        transfer.close().await;
    }
    complete(ready(begin(&file, &url, limits, &source.clock).await)).await;
    target.reopen_like(&source).await;
    target.take_over_expired(Vec::new()).await.expect("takes over");
    source.reload(policies.iter().map(|policy| Policy::clone(policy))).await;
    target.reload(policies.iter().map(|policy| Policy::clone(policy))).await;

    assert_equal(&source, &target).await;
    // If a route is near its limit, it may start any of the jobs that are due at the same time.
    let unlimited =
        source.policies().iter().map(|policy| Policy { concurrency: None, ..Policy::clone(policy) });
    let unlimited = unlimited.collect::<Vec<_>>();
    source.reload(unlimited.clone()).await;
    target.reload(unlimited).await;
    assert_go_on_alike(&source, &target).await;
    source.close().await;
    target.close().await;
    Ok(())
}
