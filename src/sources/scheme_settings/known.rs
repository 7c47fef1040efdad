//! Which members a scheme can have.

use std::iter;

use serde::Deserialize as _;
use serde::de::value::{Error, MapDeserializer};

use super::SchemeSettings;
use crate::sources::senders::Member;

impl SchemeSettings {
    /// Whether a scheme can have a member of this name. One that belongs to schemes of senders counts only if one of
    /// `schemes` takes it.
    pub(in crate::sources) fn can_have(schemes: &[Self], name: &str) -> bool {
        let of_senders = Member::ALL.into_iter().find(|of| of.path().strip_prefix("verify.") == Some(name));
        match of_senders {
            Some(member) => schemes.iter().any(|scheme| match scheme.scheme {
                Some(sender) => sender.takes(member),
                None => scheme.is_jwt() && member == Member::Audience,
            }),
            None => Self::is_known(name),
        }
    }

    /// Whether there is a member of this name. Every member can be left out, so one without a value is read; an unknown
    /// one is refused.
    fn is_known(name: &str) -> bool {
        let member: MapDeserializer<'_, _, Error> = MapDeserializer::new(iter::once((name, ())));
        Self::deserialize(member).is_ok()
    }
}
