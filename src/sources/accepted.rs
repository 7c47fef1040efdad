//! Remembers which keys of a source its schemes can use.

use super::keys::Keys;
use super::rules::Mistake;
use crate::domain::secret::Secret;

/// Which keys some scheme can use. A key that fits one of several schemes is no mistake.
#[derive(Debug)]
pub(super) struct Accepted {
    secrets: Vec<Result<(), &'static str>>,
    public_keys: Vec<Result<(), &'static str>>,
}

impl Accepted {
    pub(super) fn new(keys: &Keys) -> Self {
        const UNUSED: Result<(), &str> = Err("left out: the source verifies nothing with it");
        Self { secrets: vec![UNUSED; keys.secrets.len()], public_keys: vec![UNUSED; keys.public_keys.len()] }
    }

    /// Reads each secret, and returns those that can be read.
    pub(super) fn secrets<T>(
        &mut self,
        keys: &Keys,
        read: impl Fn(&Secret) -> Result<T, &'static str>,
    ) -> Vec<T> {
        remember(&mut self.secrets, &keys.secrets, read)
    }

    /// Reads each public key, and returns those that can be read.
    pub(super) fn public_keys<T>(
        &mut self,
        keys: &Keys,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        remember(&mut self.public_keys, &keys.public_keys, |key| read(key))
    }

    /// A mistake for each key that no scheme can use.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let of = |member: &'static str, keys: &[Result<(), &'static str>]| {
            let mistakes = keys.iter().enumerate().filter_map(|(at, accepted)| {
                let allowed = accepted.err()?;
                Some(Mistake { at: Some(at), ..Mistake::new(member, allowed) })
            });
            mistakes.collect::<Vec<_>>()
        };
        [of("secrets", &self.secrets), of("public_keys", &self.public_keys)].concat()
    }
}

fn remember<K, T>(
    accepted: &mut [Result<(), &'static str>],
    keys: &[K],
    read: impl Fn(&K) -> Result<T, &'static str>,
) -> Vec<T> {
    let mut found = Vec::with_capacity(keys.len());
    for (accepted, key) in accepted.iter_mut().zip(keys) {
        match read(key) {
            Ok(key) => {
                found.push(key);
                *accepted = Ok(());
            }
            Err(problem) if accepted.is_err() => *accepted = Err(problem),
            Err(_) => {}
        }
    }
    found
}
