//! The reason for an action, as forms have it.

use serde::Deserialize;

use super::context::Context;
use crate::domain::action::ActionReason;
use crate::domain::error::Result;
use crate::service::Service;

/// A form with nothing but a reason.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Why {
    pub(super) reason: Option<String>,
}

/// The use cases for the reason that a form has, which is recorded with what is done. Errors: `InvalidField`.
pub(super) fn because(context: &Context, reason: Option<String>) -> Result<Service> {
    Ok(context.service.because(ActionReason::of_field(reason)?))
}
