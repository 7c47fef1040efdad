//! `--preset` and `--secret`: with what a command signs as a sender does.

use clap::Args;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::server::usage;
use crate::cli::Failure;
use crate::cli::settings::secret_of;
use crate::domain::secret::Secret;
use crate::sources::{Keys, Presets, Rules, SignError, check_signs};

/// As which sender a command signs.
#[derive(Clone, Debug, Args)]
pub(super) struct Signing {
    /// Sign as the sender of this preset does. `hookbox presets` lists them
    #[arg(long, add = ArgValueCandidates::new(presets))]
    pub(super) preset: Option<String>,
    /// The secret to sign with: env:NAME, file:PATH, or the secret itself
    #[arg(long, requires = "preset", value_parser = secret)]
    secret: Option<Secret>,
}

impl Signing {
    /// The name of the preset, and its rules with the secret; none if no preset is named.
    pub(super) fn rules(&self) -> Result<Option<(&str, Rules)>, Failure> {
        let Some(preset) = self.preset.as_deref() else { return Ok(None) };
        let found = Presets::built_in().get(preset).ok_or_else(|| {
            usage(format!("there is no preset {preset:?}; `hookbox presets` lists all of them"))
        })?;
        check_signs(&found.settings).map_err(|error| cannot_sign(preset, error))?;
        let secret = self.secret.as_ref().map(secret_of).transpose();
        let secret = secret.map_err(|missing| usage(format!("--secret names a secret, but {missing}")))?;
        if secret.is_none() && found.settings.needs().contains(&"secrets") {
            let text = format!("{preset} signs: give the secret with --secret, such as --secret env:NAME");
            return Err(usage(text));
        }
        let keys = Keys {
            secrets: secret.into_iter().collect(),
            // Only handshakes use it.
            verify_token: Some(Secret::from("unused".to_owned())),
            ..Keys::default()
        };
        let rules = Rules::new(found.settings.clone(), keys, true).map_err(|mistakes| {
            let texts = mistakes.into_iter().map(|mistake| match mistake.at {
                Some(_) => format!("the {} must be {}", mistake.member.trim_end_matches('s'), mistake.text),
                None => mistake.text,
            });
            usage(texts.collect::<Vec<_>>().join("; "))
        });
        Ok(Some((preset, rules?)))
    }
}

/// The failure of a command that cannot sign as a sender does.
pub(super) fn cannot_sign(preset: &str, error: SignError) -> Failure {
    usage(format!("cannot sign as {preset} does: {error}"))
}

fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(Secret::from(text.to_owned())) }
}

/// The names of the presets.
fn presets() -> Vec<CompletionCandidate> {
    Presets::built_in().iter().map(|(name, _)| CompletionCandidate::new(name)).collect()
}
