//! Sources: how the requests of a sender are verified, read and answered.
//!
//! Pure: knows `domain`, neither transports nor stores. A source is data: the settings of `hookbox.toml`, over those of
//! a preset. [`Rules`] are the settings compiled with their keys. A request goes through three functions: [`verify()`]
//! says whether it is from the sender, [`handshake()`] answers it if it only checks the endpoint, and [`read()`] finds
//! the webhooks in it. [`verify_with()`] also verifies requests of senders whose keys have to be fetched. [`sign()`] makes
//! a request, to test a source, and [`sign_again()`] signs one anew. [`SourceMap`] has the rules of all sources.

mod accepted;
mod fetched;
#[cfg(test)]
mod fixture;
mod handshake;
mod hex;
mod json;
mod jwt;
mod keys;
mod lines;
mod map;
mod missing;
mod mistakes;
mod part;
mod place;
mod presets;
mod read;
mod request;
mod rules;
mod scheme;
mod scheme_settings;
mod senders;
mod settings;
mod sign;
mod split;
mod template;
#[cfg(test)]
mod vectors;
mod verify;

pub use self::fetched::{FetchedKeys, KeyAddress, KeyServer, Known, KnownKeys};
pub use self::handshake::{Handshake, HandshakeAnswer, handshake, lacks_token};
pub use self::keys::Keys;
pub(crate) use self::lines::{INSTEAD, LATER, example_of};
pub use self::map::{SourceMap, SourceRules};
pub use self::presets::{Preset, Presets};
pub use self::read::{Item, MAX_BATCH_ITEMS, ReadError, read};
pub use self::request::Request;
pub use self::rules::{Answers, Mistake, Rules};
pub use self::scheme_settings::MissingKey;
pub use self::senders::Visit;
pub use self::settings::{OnUnverified, Settings};
pub use self::sign::{Draft, SignError, check_signs, check_signs_again, sign, sign_again};
pub use self::verify::{Verification, verify, verify_with};
pub use crate::domain::conflict::OnConflict;
