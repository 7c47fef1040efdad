//! A flag for every setting, generated from the table in `config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Layers, Mistakes, SETTINGS, TOKEN_VARIABLE, read_secret};
use crate::domain::secret::Secret;

/// A variable of the environment; none if it is not there, is empty, or is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "the environment is read only here")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The token of the commands that talk to a running hookbox; none if the environment has none.
pub(super) fn client_token() -> Option<Secret> {
    variable(TOKEN_VARIABLE).map(Secret::from)
}

/// The secret that an argument names: `env:NAME`, `file:PATH`, or the secret itself. The error continues "but ...".
pub(super) fn secret_of(argument: &Secret) -> Result<Secret, String> {
    let named = argument.expose().strip_prefix("env:").unwrap_or_default();
    let value = variable(named).map(|value| (named.to_owned(), Secret::from(value)));
    read_secret(argument.expose(), &value.into_iter().collect())
}

/// The flags of settings on the command line, and the file in `--config`.
#[derive(Clone, Debug)]
pub(super) struct SettingFlags {
    file: Option<PathBuf>,
    flags: Vec<(&'static str, Secret)>,
}

impl SettingFlags {
    /// No flags but that of the file, so that settings come from it, or `hookbox.toml`, and the environment.
    pub(super) fn of_file(file: Option<PathBuf>) -> Self {
        Self { file, flags: Vec::new() }
    }

    /// Reads the settings from the file, the environment and the flags. Errors: the file cannot be read.
    pub(super) fn layers(&self) -> Result<Layers, Mistakes> {
        let (layers, unread) = self.readable_layers();
        unread.map_or(Ok(layers), Err)
    }

    /// Reads the settings without those of a file that cannot be read, and why it cannot.
    #[expect(clippy::disallowed_methods, reason = "the environment is read only here")]
    pub(super) fn readable_layers(&self) -> (Layers, Option<Mistakes>) {
        // A name that is not UTF-8 is not that of a setting. Invalid bytes in a value are replaced, and the
        // value is then checked like any other.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        let flags = self.flags.iter().map(|(name, value)| (*name, value.expose().to_owned()));
        Layers::read_what_is_readable(self.file.as_deref(), environment, flags)
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Settings file [default: hookbox.toml in the working directory, if it exists]");
        let flags = SETTINGS.iter().map(|setting| {
            let default = match setting.default {
                "" => String::new(),
                default => format!(" [default: {default}]"),
            };
            let help = format!("{}{default} [env: {}]", setting.help, setting.environment_name());
            Arg::new(setting.name).long(setting.flag_name()).value_name("VALUE").help(help)
        });
        command.arg(file).args(flags)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let flags = SETTINGS
            .iter()
            .filter_map(|setting| {
                let value = matches.get_one::<String>(setting.name)?;
                Some((setting.name, Secret::from(value.clone())))
            })
            .collect();
        Ok(Self { file: matches.get_one("config").cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
