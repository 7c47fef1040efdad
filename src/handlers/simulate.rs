//! The handler `simulate` does no work: it sleeps for a random time, then completes or fails at random.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::domain::handler::{HandlerSettings, Simulate as Options};
use crate::worker::handler::{Attempt, Failure, Handler};

/// The handler `simulate`. The settings of a route say how long it sleeps and how often it fails.
#[derive(Debug)]
pub struct Simulate {
    random: Mutex<SmallRng>,
}

impl Simulate {
    /// The name of the handler in the settings of routes.
    pub const NAME: &'static str = "simulate";

    /// A handler that takes its random numbers from `seed`.
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
    fn handle(&self, attempt: &Attempt<'_>) -> Result<Value, Failure> {
        let HandlerSettings::Simulate(options) = attempt.policy().handler else {
            return Err(Failure::Permanent {
                error: "the route has no settings of the handler `simulate`".into(),
            });
        };
        let (time, fails) = self.draw(options);
        if !time.is_zero() {
            attempt.sleep(time)?;
        }
        if fails {
            return Err(Failure::Retry {
                error: "this failure was simulated, because `simulate` has a failure rate".into(),
                after: None,
            });
        }
        Ok(json!({ "simulated_ms": u64::try_from(time.as_millis()).unwrap_or(u64::MAX) }))
    }
}
