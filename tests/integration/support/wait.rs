//! Waiting for another program.

use std::time::Duration;

/// How often it is looked whether something has come true.
const INTERVAL: Duration = Duration::from_millis(20);

/// Blocks until a condition is true. False if it is not after about `limit`.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let looks = limit.as_millis() / INTERVAL.as_millis();
    for _ in 0..looks {
        if condition() {
            return true;
        }
        #[expect(clippy::disallowed_methods, reason = "no clock of a test moves another program")]
        std::thread::sleep(INTERVAL);
    }
    condition()
}
