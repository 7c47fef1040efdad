//! Files of settings, read as `hookbox config` reads them, and those that documents show. Unlike `hookbox config check`,
//! nothing refuses addresses that clients on other machines could use.

use hookbox::internals::config::{Config, HANDLERS, Layers};
use tempfile::TempDir;

/// Keys in all forms in which senders write them, and a URL. A source or a route takes those that it can use.
const KEYS: [&str; 7] = [
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "0123456789abcdef",
    "user:password",
    "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",
    "https://hooks.example/services/T0/B0",
];

/// The blocks of TOML in a text, without their indentation.
pub(crate) fn blocks(text: &str) -> Vec<String> {
    let (mut lines, mut blocks) = (text.lines(), Vec::new());
    while let Some(fence) = lines.find(|line| line.trim_start() == "```toml") {
        let indent = fence.len() - fence.trim_start().len();
        let block = lines.by_ref().take_while(|line| line.trim_start() != "```");
        blocks.push(block.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect());
    }
    blocks
}

/// The settings in a file whose variables all have the first key that suits them. Errors: the mistakes with each key.
pub(crate) fn checked(file: &str, public_url: Option<&str>) -> Result<Config, String> {
    let mut refused = String::new();
    for key in KEYS {
        match with_key(file, key, public_url) {
            Ok(config) => return Ok(config),
            Err(mistakes) => refused.push_str(&format!("\nwith {key}: {mistakes}")),
        }
    }
    Err(refused)
}

fn with_key(file: &str, key: &str, public_url: Option<&str>) -> Result<Config, String> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("hookbox.toml");
    std::fs::write(&path, file).unwrap();
    let variables = file.split("env:").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
    // That of a program, which gets no more than one in the documents.
    let passed = file.lines().filter_map(|line| line.strip_prefix("env = [\"")?.split('"').next());
    let variables = variables.chain(passed.map(ToOwned::to_owned));
    let environment = variables.map(|name| (name, key.to_owned())).collect::<Vec<_>>();
    let flags = public_url.map(|url| ("public_url", url.to_owned()));
    let layers = Layers::read(Some(&path), environment, flags).map_err(|mistakes| mistakes.to_string())?;
    Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string())
}
