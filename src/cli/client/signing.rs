//! `--preset` and `--secret`: with what a command signs as a sender does.

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use serde_json::json;

use super::server::usage;
use crate::cli::Failure;
use crate::cli::presets::no_preset;
use crate::cli::settings::secret_of;
use crate::domain::secret::Secret;
use crate::sources::{Keys, Presets, Rules, Settings, SignError, check_signs};

/// As which sender a command signs.
#[derive(Clone, Debug, Args)]
pub(super) struct Signing {
    /// Sign as the sender of this preset does. `hookbox presets` lists them
    #[arg(long, add = ArgValueCandidates::new(presets))]
    pub(super) preset: Option<String>,
    /// The secret to sign with: env:NAME, file:PATH, or the secret itself
    #[arg(long, requires = "preset", value_parser = secret)]
    secret: Option<Secret>,
    /// The audience of the token, for senders of JSON Web Tokens: what `verify.audience` of the source says
    #[arg(long, requires = "preset", value_parser = NonEmptyStringValueParser::new())]
    audience: Option<String>,
}

impl Signing {
    /// The name of the preset, and its rules with the secret; none if no preset is named.
    pub(super) fn rules(&self) -> Result<Option<(&str, Rules)>, Failure> {
        let Some(preset) = self.preset.as_deref() else { return Ok(None) };
        let found = Presets::built_in().get(preset).ok_or_else(|| usage(no_preset(preset)))?;
        check_signs(&found.settings).map_err(|error| cannot_sign(preset, error))?;
        let secret = self.secret.as_ref().map(secret_of).transpose();
        let secret = secret.map_err(|missing| usage(format!("--secret names a secret, but {missing}")))?;
        if secret.is_none() && found.settings.needs().contains(&"secrets") {
            let text = format!("{preset} signs: give the secret with --secret, such as --secret env:NAME");
            return Err(usage(text));
        }
        let settings = self.settings_of(preset, &found.settings)?;
        let keys = Keys {
            secrets: secret.into_iter().collect(),
            // Only handshakes use it.
            verify_token: Some(Secret::from("unused".to_owned())),
            ..Keys::default()
        };
        let rules = Rules::new(settings, keys, true).map_err(|mistakes| {
            let texts = mistakes.into_iter().map(|mistake| match mistake.at {
                Some(_) => format!("the {} must be {}", mistake.member.trim_end_matches('s'), mistake.text),
                None => mistake.text,
            });
            usage(texts.collect::<Vec<_>>().join("; "))
        });
        Ok(Some((preset, rules?)))
    }

    /// The settings of the preset, with the audience of its tokens.
    fn settings_of(&self, preset: &str, settings: &Settings) -> Result<Settings, Failure> {
        let Some(audience) = &self.audience else { return Ok(settings.clone()) };
        if !settings.sends_jwt() {
            return Err(usage(format!("{preset} sends no token with an audience; leave --audience out")));
        }
        let mut own = Settings::default();
        own.set("verify", json!({ "audience": audience })).map_err(|error| usage(error.to_string()))?;
        Ok(own.over(settings))
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
