//! Schemes that no settings can describe. Each is that of one sender, and a file.

mod adyen;
mod aws_sns;
mod google_pubsub;
mod hook0;
mod jws;
mod members;
mod paypal;
mod pinned;
mod plaid;

use std::fmt;

pub use self::aws_sns::Visit;
pub(super) use self::aws_sns::subscription;
pub(super) use self::jws::Jws;
pub(super) use self::members::{Environment, Member, SenderMembers, SenderName, Topic};
pub(super) use self::pinned::pinned;
use super::fetched::KnownKeys;
use super::request::Request;
use super::verify::Unproved;

/// A compiled scheme of one sender.
pub(super) trait SenderScheme: fmt::Debug + Send + Sync {
    /// Whether the sender signed the request.
    fn verify(&self, request: &Request<'_>, keys: &dyn KnownKeys) -> Result<(), Unproved>;

    /// Whether the signature proves every byte of the body.
    fn covers_body(&self) -> bool;

    /// The headers that prove who sent a request.
    fn proving_headers(&self) -> &'static [&'static str];
}

#[cfg(test)]
mod tests;
