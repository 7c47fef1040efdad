//! Generates one test of each behaviour, with a limit on its time.

use std::time::Duration;

/// The time after which a behaviour is considered to hang.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a behaviour and fails if it does not end within [`LIMIT`].
pub(crate) async fn within_limit(behaviour: impl Future<Output = ()>) {
    tokio::time::timeout(LIMIT, behaviour).await.expect("the behaviour ends within the limit");
}

/// Generates one module of tests for each topic.
#[macro_export]
macro_rules! behaviours {
    ($harness:ty; $($topic:ident: [$($behaviour:ident)*])*) => {
        $(mod $topic {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    $crate::store::generate::within_limit(
                        $crate::store::behaviours::$topic::$behaviour::<$harness>(),
                    )
                    .await;
                }
            )*
        })*
    };
}
