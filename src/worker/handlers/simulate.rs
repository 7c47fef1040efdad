//! Pretends to work: sleeps a while, then completes, or fails as often as it was told to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::domain::policy::Simulate as Options;
use crate::worker::handler::{Attempt, Failure, Handler};

/// See the module. Routes say how long it takes and how often it fails.
#[derive(Debug)]
pub struct Simulate {
    random: Mutex<SmallRng>,
}

impl Simulate {
    /// The name by which routes choose it.
    pub const NAME: &'static str = "simulate";

    /// Sleeps and fails at random from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { random: Mutex::new(SmallRng::seed_from_u64(seed)) }
    }

    fn draw(&self, options: Options) -> (Duration, bool) {
        let Options { min, max, failure_rate } = options;
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let share: f64 = random.random();
        (min + max.saturating_sub(min).mul_f64(share), random.random_bool(failure_rate))
    }
}

impl Handler for Simulate {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        let (time, fails) = self.draw(attempt.policy.simulate);
        if !time.is_zero() {
            attempt.sleep(time)?;
        }
        if fails {
            return Err(Failure::Retry {
                error: "a failure was simulated, as the failure rate of `simulate` asks".into(),
                after: None,
            });
        }
        Ok(json!({ "simulated_ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }))
    }
}
