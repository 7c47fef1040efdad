//! The presets: sources that are known, as data. They are compiled in from `presets.toml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::settings::Settings;

/// The text of the presets.
const TEXT: &str = include_str!("presets.toml");

static PRESETS: LazyLock<Presets> = LazyLock::new(|| Presets::parse(TEXT).unwrap_or_default());

/// All presets, by name.
#[derive(Clone, Debug, Default)]
pub struct Presets(BTreeMap<String, Preset>);

/// A source that is known, without its keys.
#[derive(Clone, Debug)]
pub struct Preset {
    /// What the source is set to.
    pub settings: Settings,
    /// Its members as `presets.toml` has them, with their comments and without the header of the table.
    pub text: String,
    /// Each member that it sets, with its value as TOML.
    pub members: BTreeMap<String, String>,
}

impl Presets {
    /// The presets that come with hookbox.
    pub fn built_in() -> &'static Self {
        &PRESETS
    }

    /// Reads presets. Errors: the first mistake.
    fn parse(text: &str) -> Result<Self, String> {
        let tables =
            toml::from_str::<BTreeMap<String, toml::Table>>(text).map_err(|error| error.to_string())?;
        let mut presets = BTreeMap::new();
        for (name, table) in tables {
            let mut settings = Settings::default();
            let members = table.iter().map(|(member, value)| (member.clone(), value.to_string())).collect();
            for (member, value) in table {
                settings.set(&member, value).map_err(|error| format!("{name}.{member}: {error}"))?;
            }
            let text =
                text_of(text, &name).ok_or_else(|| format!("{name} does not begin with a line [{name}]"))?;
            presets.insert(name, Preset { settings, text, members });
        }
        Ok(Self(presets))
    }

    /// A preset; none if there is none of this name.
    pub fn get(&self, name: &str) -> Option<&Preset> {
        self.0.get(name)
    }

    /// All presets with their names, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Preset)> {
        self.0.iter().map(|(name, preset)| (name.as_str(), preset))
    }
}

/// The lines below `[name]`, up to the next table.
fn text_of(text: &str, name: &str) -> Option<String> {
    let header = format!("[{name}]");
    let mut lines = text.lines().skip_while(|line| line.trim_end() != header);
    lines.next()?;
    let lines = lines.take_while(|line| !line.starts_with('['));
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    Some(format!("{}\n", text.trim_end()))
}

#[cfg(test)]
mod expected;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::conflict::OnConflict;
    use crate::domain::secret::Secret;
    use crate::sources::fixture::{RSA_PUBLIC_KEY, completed};
    use crate::sources::keys::Keys;
    use crate::sources::part::Part;
    use crate::sources::place::List;
    use crate::sources::rules::Rules;

    #[test]
    fn every_preset_parses_and_says_what_a_source_needs() {
        let presets = Presets::parse(TEXT).unwrap_or_else(|error| panic!("{error}"));
        for (name, preset) in presets.iter() {
            let settings = &preset.settings;
            assert!(!settings.description().is_empty(), "{name} has no description");
            assert!(
                settings.verify.is_some() && settings.key.is_some(),
                "{name} has no `verify` or no `key`"
            );
        }
        assert!(presets.get("stripe").is_some(), "there is a preset for Stripe");
    }

    /// Secrets and public keys in all forms in which senders write them; a preset takes those that it can use.
    #[test]
    fn every_preset_can_be_compiled_with_keys_of_its_form() {
        let ed25519 = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        let ed25519_hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let p256 = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==";
        for (name, preset) in Presets::built_in().iter() {
            let compile = |secret: &str, public_key: Option<&str>| {
                let keys = Keys {
                    secrets: if secret.is_empty() {
                        Vec::new()
                    } else {
                        vec![Secret::from(secret.to_owned())]
                    },
                    public_keys: public_key.map(ToOwned::to_owned).into_iter().collect(),
                    verify_token: Some(Secret::from("token".to_owned())),
                };
                Rules::new(completed(&preset.settings), keys, true)
            };
            let secrets = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "0123456789abcdef", "user:password", ""];
            let public_keys = [None, Some(ed25519), Some(ed25519_hex), Some(p256), Some(RSA_PUBLIC_KEY)];
            let mut tried = Vec::new();
            for secret in secrets {
                for public_key in public_keys {
                    tried.push(compile(secret, public_key));
                }
            }
            let fault = tried.iter().find_map(|rules| rules.as_ref().err());
            assert!(tried.iter().any(Result::is_ok), "{name}: {fault:?}");
        }
    }

    /// Senders that follow Standard Webhooks repeat the same bytes. A retry of any other may have other ones.
    const SAME_BYTES: [&str; 9] = [
        "clerk",
        "openai",
        "polar",
        "render",
        "replicate",
        "resend",
        "standard-webhooks",
        "supabase",
        "svix",
    ];

    #[test]
    fn a_retry_with_other_bytes_is_a_duplicate_but_for_standard_webhooks() {
        for (name, preset) in Presets::built_in().iter() {
            let List(key) = preset.settings.key.as_ref().expect(name);
            // Another body, or another request, is another webhook.
            let is_named_by_it = key.iter().any(|part| matches!(part, Part::Body | Part::Request));
            let keeps_first = !is_named_by_it && !SAME_BYTES.contains(&name);
            let expected = keeps_first.then_some(OnConflict::KeepFirst);
            assert_eq!(preset.settings.on_conflict, expected, "{name}");
        }
    }

    #[test]
    fn a_preset_whose_token_is_in_the_payload_hides_the_payload_on_the_page() {
        for (name, preset) in Presets::built_in().iter() {
            let verify = &preset.members["verify"];
            let is_in_payload = verify.contains("token = ") && verify.contains("json = ");
            assert_eq!(preset.settings.sensitive.unwrap_or_default(), is_in_payload, "{name}: {verify}");
        }
    }

    #[test]
    fn a_preset_is_shown_as_it_is_written() {
        let text = "# A comment.\n\n[one]\n# Facts.\nverify = \"none\"\nkey = [\n    \"body\",\n]\n\n[two]\nverify = \"none\"\n";
        let presets = Presets::parse(text).expect("parses");
        let one = presets.get("one").expect("is there");
        assert_eq!(one.text, "# Facts.\nverify = \"none\"\nkey = [\n    \"body\",\n]\n");
        assert_eq!(one.members["verify"], "\"none\"");
        assert!(Presets::parse("[one]\nverfy = \"none\"\n").is_err());
        assert!(Presets::parse("[ one ]\nverify = \"none\"\n").is_err());
    }
}
