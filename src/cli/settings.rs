//! A flag for every setting, made of the table in `config`.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Layers, Mistakes, SETTINGS};

/// The flags that were given, and the file that was named.
#[derive(Clone, Debug)]
pub(super) struct SettingFlags {
    file: Option<PathBuf>,
    flags: Vec<(&'static str, String)>,
}

impl SettingFlags {
    /// No flags: the settings of the environment and of `hookbox.toml`.
    pub(super) fn none() -> Self {
        Self { file: None, flags: Vec::new() }
    }

    /// The settings in force.
    #[expect(clippy::disallowed_methods, reason = "the environment is read here, and nowhere else")]
    pub(super) fn layers(&self) -> Result<Layers, Mistakes> {
        // What is no UTF-8 is no setting's name, and its value is refused like any other wrong one.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        Layers::read(self.file.as_deref(), environment, self.flags.iter().cloned())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A file of settings; hookbox.toml in the working folder if it is there");
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
            .filter_map(|setting| Some((setting.name, matches.get_one::<String>(setting.name)?.clone())))
            .collect();
        Ok(Self { file: matches.get_one("config").cloned(), flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
