//! `hookbox presets` lists the presets of sources; `hookbox presets show` prints one as TOML to start from.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Failure;
use super::client::usage;
use super::output::print;
use crate::config::suggestion;
use crate::sources::{INSTEAD, LATER, Preset, Presets, example_of};

/// The options of `hookbox presets`.
#[derive(Clone, Debug, Args)]
pub(super) struct List {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Print a preset as TOML, to paste into hookbox.toml and to change
    Show {
        /// The name of the preset
        name: String,
    },
}

impl List {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            None => print(listed(Presets::built_in()))?,
            Some(Command::Show { name }) => {
                let preset = Presets::built_in().get(&name).ok_or_else(|| usage(no_preset(&name)))?;
                print(shown(&name, preset))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The sentence about a name that no preset has.
pub(super) fn no_preset(name: &str) -> String {
    let nearest = suggestion(name, Presets::built_in().iter().map(|(known, _)| known));
    format!("there is no preset {name:?}; `hookbox presets` lists all of them{nearest}")
}

/// One line for each preset: its name, what it is, and which members it needs.
fn listed(presets: &Presets) -> String {
    let width = presets.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines = presets.iter().map(|(name, Preset { settings, .. })| {
        let mut needs = settings.needs();
        if settings.takes_either_key() {
            needs.retain(|member| !["secrets", "public_keys"].contains(member));
            needs.insert(0, "secrets or public_keys");
        }
        if settings.shows_token() {
            let later = needs.iter_mut().filter(|member| **member == "secrets");
            later.for_each(|member| *member = "secrets once the sender has sent its token");
        }
        let needs = if needs.is_empty() { String::new() } else { format!(" [needs {}]", needs.join(", ")) };
        format!("{name:<width$}  {}{needs}\n", settings.description())
    });
    lines.collect()
}

/// The preset as a source of the settings file.
fn shown(name: &str, preset: &Preset) -> String {
    let needs = preset.settings.needs();
    let keys = needs.iter().filter_map(|member| match *member {
        "public_keys" if preset.settings.takes_either_key() => {
            Some(format!("{INSTEAD}public_keys = [\"env:NAME_OF_A_VARIABLE\"]\n"))
        }
        "secrets" if preset.settings.shows_token() => {
            Some(format!("{LATER}secrets = [\"env:NAME_OF_A_VARIABLE\"]\n"))
        }
        "secrets" | "public_keys" => Some(format!("{member} = [\"env:NAME_OF_A_VARIABLE\"]\n")),
        "verify_token" => Some(format!("{member} = \"env:NAME_OF_A_VARIABLE\"\n")),
        member => example_of(member).map(|example| format!("# Add to `verify`: {example}\n")),
    });
    let url = if needs.contains(&"public_url") {
        "# The sender signs the URL to which it sends: set `public_url` at the top of the file.\n"
    } else {
        ""
    };
    format!("[sources.{name}]\n{url}{}{}", keys.collect::<String>(), preset.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_listed_with_what_they_need() {
        let listed = listed(Presets::built_in());
        let stripe = listed.lines().find(|line| line.starts_with("stripe ")).expect("is listed");
        assert!(stripe.ends_with("[needs secrets]"), "{stripe}");
        let plaid = listed.lines().find(|line| line.starts_with("plaid ")).expect("is listed");
        assert!(plaid.ends_with("[needs secrets, verify.client_id]"), "{plaid}");
        let svix = listed.lines().find(|line| line.starts_with("svix ")).expect("is listed");
        assert!(svix.ends_with("[needs secrets or public_keys]"), "{svix}");
        let notion = listed.lines().find(|line| line.starts_with("notion ")).expect("is listed");
        assert!(notion.ends_with("[needs secrets once the sender has sent its token]"), "{notion}");
    }

    #[test]
    fn secrets_that_come_by_a_handshake_are_a_comment() {
        let shown = shown("notion", Presets::built_in().get("notion").expect("is there"));
        let first = "[sources.notion]\n# Once the sender has sent its token: secrets = [\"env:NAME_OF_A_VARIABLE\"]\n";
        assert!(shown.starts_with(first), "{shown}");
    }

    #[test]
    fn only_one_of_two_alternative_keys_is_not_a_comment() {
        for (name, preset) in Presets::built_in().iter() {
            let file = toml::from_str::<toml::Table>(&shown(name, preset)).expect(name);
            let has = |member: &str| file["sources"][name].get(member).is_some();
            assert!(!(has("secrets") && has("public_keys")), "{name}");
        }
    }

    #[test]
    fn a_preset_is_shown_with_every_member_that_it_needs() {
        for (name, preset) in Presets::built_in().iter() {
            let text = shown(name, preset);
            for member in preset.settings.needs() {
                let member = member.strip_prefix("verify.").unwrap_or(member);
                assert!(text.contains(&format!("{member} = ")) || member == "public_url", "{name}: {member}");
            }
        }
        let shown = shown("paypal", Presets::built_in().get("paypal").expect("is there"));
        assert!(shown.starts_with("[sources.paypal]\n# Add to `verify`: webhook_id = \"ID\"\n"), "{shown}");
    }

    #[test]
    fn a_preset_is_shown_as_a_source_that_the_settings_can_have() {
        for (name, preset) in Presets::built_in().iter() {
            let text = shown(name, preset);
            let file = toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(file["sources"][name].get("verify").is_some(), "{text}");
        }
    }
}
