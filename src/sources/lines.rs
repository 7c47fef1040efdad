//! The lines of `hookbox.toml` for a new source of a preset.

use super::presets::Preset;

/// What names of variables must not begin with: these are settings of hookbox.
const OF_HOOKBOX: &str = "HOOKBOX";

/// Begins the line with public keys of a source that can have secrets instead.
pub(crate) const INSTEAD: &str = "# Instead, with a public key: ";

/// Begins the line with secrets of a source that begins without them.
pub(crate) const LATER: &str = "# Once the sender has sent its token: ";

impl Preset {
    /// The lines of the settings file for a new source of this preset, with every member that the operator has to set.
    /// Keys are read from variables that are named after the source. `preset` is the name of the preset.
    pub fn lines(&self, preset: &str, source: &str) -> String {
        let needs = self.settings.needs();
        let needs_member = |member| needs.contains(&member);
        let variable = variable_of(source);
        let mut lines = vec![format!("[sources.{source}]"), format!("preset = \"{preset}\"")];
        if needs_member("secrets") {
            let line = format!("secrets = [\"env:{variable}_SECRET\"]");
            let comes_later = self.settings.shows_token();
            lines.push(if comes_later { format!("{LATER}{line}") } else { line });
        }
        if needs_member("public_keys") {
            let line = format!("public_keys = [\"env:{variable}_PUBLIC_KEY\"]");
            lines.push(if self.settings.takes_either_key() { format!("{INSTEAD}{line}") } else { line });
        }
        if needs_member("verify_token") {
            lines.push(format!("verify_token = \"env:{variable}_VERIFY_TOKEN\""));
        }
        let members = needs.iter().filter_map(|member| example_of(member)).collect::<Vec<_>>();
        if !members.is_empty() {
            lines.push("# Replace what is in capitals.".to_owned());
            lines.push(format!("verify = {{ {} }}", members.join(", ")));
        }
        if needs_member("public_url") {
            let url =
                "# The sender signs the URL to which it sends: set `public_url` at the top of the file.";
            lines.push(url.to_owned());
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// A member of `verify` that a preset needs, such as `verify.issuer`, with what has to be replaced in capitals; none for
/// any other member.
pub(crate) fn example_of(member: &str) -> Option<&'static str> {
    match member {
        "verify.topics" => Some("topics = [\"arn:aws:sns:REGION:ACCOUNT:TOPIC\"]"),
        "verify.webhook_id" => Some("webhook_id = \"ID\""),
        "verify.issuer" => Some("issuer = \"URL\""),
        "verify.audience" => Some("audience = \"URL\""),
        "verify.email" => Some("email = \"NAME@PROJECT.iam.gserviceaccount.com\""),
        "verify.client_id" => Some("client_id = \"ID\""),
        _ => None,
    }
}

/// The beginning of the names of variables for the keys of a source: a shell can set them, and they are no settings of
/// hookbox.
fn variable_of(source: &str) -> String {
    let name = source.to_ascii_uppercase().replace('-', "_");
    let is_free = !name.starts_with(|c: char| c.is_ascii_digit()) && !name.starts_with(OF_HOOKBOX);
    if is_free { name } else { format!("SOURCE_{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Presets, Settings};

    fn lines(preset: &str, source: &str) -> String {
        Presets::built_in().get(preset).expect(preset).lines(preset, source)
    }

    #[test]
    fn lines_have_every_member_that_the_preset_needs() {
        for (name, preset) in Presets::built_in().iter() {
            let text = lines(name, name);
            let file = toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(file["sources"][name]["preset"].as_str(), Some(name));
            let mut settings = Settings::default();
            if let Some(verify) = file["sources"][name].get("verify") {
                settings.set("verify", verify.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            for member in settings.over(&preset.settings).needs() {
                assert!(text.contains(member), "{name} needs {member}: {text}");
            }
        }
    }

    #[test]
    fn every_member_of_verify_that_a_preset_needs_has_an_example() {
        for (name, preset) in Presets::built_in().iter() {
            for member in preset.settings.needs() {
                if let Some(short) = member.strip_prefix("verify.") {
                    let example = example_of(member).unwrap_or_else(|| panic!("{name}: {member}"));
                    assert!(example.starts_with(&format!("{short} = ")), "{name}: {example}");
                }
            }
        }
    }

    #[test]
    fn keys_come_from_variables_named_after_the_source() {
        let stripe = "[sources.my-shop]\npreset = \"stripe\"\nsecrets = [\"env:MY_SHOP_SECRET\"]\n";
        assert_eq!(lines("stripe", "my-shop"), stripe);
        assert!(lines("discord", "chat").contains("public_keys = [\"env:CHAT_PUBLIC_KEY\"]\n"));
        let either = lines("standard-webhooks", "any");
        assert!(
            either.contains("\n# Instead, with a public key: public_keys = [\"env:ANY_PUBLIC_KEY\"]\n"),
            "{either}"
        );
        let later =
            "preset = \"notion\"\n# Once the sender has sent its token: secrets = [\"env:WORK_SECRET\"]\n";
        assert!(lines("notion", "work").ends_with(later));
        for (source, variable) in [("2nd", "SOURCE_2ND_SECRET"), ("hookbox-2", "SOURCE_HOOKBOX_2_SECRET")] {
            assert!(lines("stripe", source).contains(variable), "{source}");
        }
    }
}
