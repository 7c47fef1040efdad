//! Pretends to work: sleeps a while, then completes, or fails as often as it was told to.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::config;
use crate::worker::handler::{Attempt, Failure, Handler};

/// See the module.
#[derive(Debug)]
pub struct Simulate {
    settings: config::Simulate,
    random: Mutex<SmallRng>,
}

impl Simulate {
    /// Sleeps and fails as `settings` say, at random from `seed`.
    pub fn new(settings: config::Simulate, seed: u64) -> Self {
        Self { settings, random: Mutex::new(SmallRng::seed_from_u64(seed)) }
    }

    fn draw(&self) -> (Duration, bool) {
        let config::Simulate { min, max, failure_rate } = self.settings;
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let share: f64 = random.random();
        (min + max.saturating_sub(min).mul_f64(share), random.random_bool(failure_rate))
    }
}

impl Handler for Simulate {
    fn name(&self) -> &'static str {
        "simulate"
    }

    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        let (time, fails) = self.draw();
        if !time.is_zero() {
            attempt.sleep(time)?;
        }
        if fails {
            return Err(Failure::Retry {
                error: "a failure was simulated, as simulate_failure_rate asks".into(),
                after: None,
            });
        }
        Ok(json!({ "simulated_ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }))
    }
}
