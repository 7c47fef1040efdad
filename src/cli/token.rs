//! `hookbox token`: makes a token. hookbox itself keeps only its digest.

use std::process::ExitCode;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Args;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::Failure;
use super::output::print;
use crate::access::{Digest, Role};
use crate::config::{ADMIN, wrong_token_name};

/// What tokens begin with, so that people and scanners for leaked secrets recognise them.
const PREFIX: &str = "hbx_";

/// The random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The options of `hookbox token`.
#[derive(Clone, Debug, Args)]
pub(super) struct Make {
    /// The name of the token in the settings and in logs: 1 to 63 of a-z, 0-9, - and _
    #[arg(long, value_parser = name, default_value = "me")]
    name: String,
    /// The roles of the token, separated by commas: submit, read, work, operate
    #[arg(long, value_delimiter = ',', value_parser = role, default_value = "submit,read,work,operate")]
    roles: Vec<Role>,
}

impl Make {
    /// Prints a new token, and what to add to the settings.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let mut bytes = [0; TOKEN_BYTES];
        SysRng.try_fill_bytes(&mut bytes).map_err(Box::new)?;
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let digest = Digest::of(token.as_bytes()).to_hex();
        let roles = self.roles.iter().map(|role| format!("\"{role}\"")).collect::<Vec<_>>().join(", ");
        let name = self.name;
        let hint = if name == ADMIN {
            "# Where admin_token is set, this name is taken, because logs use it for that token: choose another --name.\n"
        } else {
            ""
        };
        print(format_args!(
            "{token}\n\n\
             # Keep the token above: it is not shown again. Add these lines to hookbox.toml, then `hookbox reload`:\n\
             {hint}\n\
             [tokens.{name}]\nsha256 = \"{digest}\"\nroles = [{roles}]\n"
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn name(name: &str) -> Result<String, String> {
    match wrong_token_name(name) {
        None => Ok(name.to_owned()),
        Some(problem) => Err(problem.to_owned()),
    }
}

fn role(word: &str) -> Result<Role, String> {
    let wrong = "it must be submit, read, work or operate; several are separated by commas";
    Role::named(word).ok_or_else(|| wrong.to_owned())
}
