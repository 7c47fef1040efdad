//! Which arguments of a program are scripts: senders of webhooks must not write them.
//!
//! Knows common shells and interpreters, and the programs through which they are often run. Others exist.

/// Shells and interpreters, and the letters of their options that take the next argument as their value. Their first
/// argument that is neither an option nor such a value is a script, or the file of one.
const INTERPRETERS: [(&[&str], &str); 9] = [
    (&["ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "yash", "zsh"], "oO"),
    (&["awk", "gawk", "mawk", "nawk"], "Fv"),
    (&["bun", "node", "nodejs"], "Cr"),
    (&["lua", "luajit"], "l"),
    (&["perl"], "I"),
    (&["php"], "cd"),
    (&["pypy", "python"], "WX"),
    (&["ruby"], "CIr"),
    (&["osascript", "pwsh", "Rscript", "tclsh"], "l"),
];

/// Options of interpreters whose value is a script. With these, the script may come after other values.
const SCRIPT_OPTIONS: [&str; 4] = ["--command", "--eval", "--print", "-Command"];

/// Programs that run another one, which is among their arguments.
const WRAPPERS: [&str; 16] = [
    "busybox",
    "chroot",
    "doas",
    "env",
    "flock",
    "ionice",
    "nice",
    "nohup",
    "setpriv",
    "setsid",
    "stdbuf",
    "sudo",
    "systemd-run",
    "time",
    "timeout",
    "toybox",
];

/// Whether the argument that follows these is a script or the file of one. The first of them is the program. After `-c`,
/// also behind other letters, every program takes a script.
pub fn takes_script(before: &[impl AsRef<str>]) -> bool {
    let words = before.iter().map(AsRef::as_ref).collect::<Vec<&str>>();
    let (Some(program), Some(last)) = (words.first(), words.last()) else { return false };
    let is_wrapper = WRAPPERS.contains(&name(program));
    // `env` splits the value of this option into a command.
    let is_split = is_wrapper && (ends_with_letter(last, "S") || *last == "--split-string");
    if is_split || ends_with_letter(last, "c") {
        return true;
    }
    let candidates = if is_wrapper { words.len() } else { 1 };
    let mut interpreters = words.iter().enumerate().take(candidates);
    let found = interpreters.find_map(|(at, word)| Some((at, letters_with_value(name(word))?)));
    found.is_some_and(|(at, letters)| {
        SCRIPT_OPTIONS.contains(last) || has_no_script(&words[at + 1..], letters)
    })
}

/// The name of a program without its folder and version, such as `python` of `/usr/bin/python3.13`.
fn name(program: &str) -> &str {
    let file = program.rsplit('/').next().unwrap_or(program);
    file.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.')
}

/// The letters of the options that have a value, if this is the name of an interpreter.
fn letters_with_value(name: &str) -> Option<&'static str> {
    INTERPRETERS.iter().find(|(names, _)| names.contains(&name)).map(|(_, letters)| *letters)
}

/// Whether these arguments of an interpreter are all options and their values.
fn has_no_script(arguments: &[&str], letters_with_value: &str) -> bool {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if *argument == "--" {
            return arguments.next().is_none();
        }
        if !argument.starts_with(['-', '+']) {
            return false;
        }
        if ends_with_letter(argument, letters_with_value) {
            arguments.next();
        }
    }
    true
}

/// Whether an argument is an option of letters, such as `-lc`, of which the last is one of these.
fn ends_with_letter(argument: &str, letters: &str) -> bool {
    let option = argument.strip_prefix(['-', '+']).unwrap_or_default();
    option.bytes().all(|byte| byte.is_ascii_alphabetic())
        && option.ends_with(|last: char| letters.contains(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<&str> {
        command.split(' ').collect()
    }

    #[test]
    fn the_argument_after_c_is_a_script_of_every_program() {
        for before in ["sh -c", "/bin/bash -lc", "bash -euxc", "python3 -c", "su -c", "deploy -c"] {
            assert!(takes_script(&words(before)), "{before}");
        }
        for before in ["deploy", "deploy c", "deploy -", "deploy --c", "deploy -C", "deploy -c2", "deploy -e"]
        {
            assert!(!takes_script(&words(before)), "{before}");
        }
    }

    #[test]
    fn shells_and_interpreters_take_a_script_after_their_options() {
        for before in [
            "sh",
            "sh -ce",
            "/bin/bash -c --",
            "bash -c -e",
            "bash -c -x",
            "bash -c -o errexit",
            "bash -ceo pipefail",
            "bash +c -x",
            "awk",
            "awk -F : -v a=1",
            "perl -ne",
            "perl -I lib -E",
            "node -e",
            "node -p",
            "node --require x.js --eval",
            "ruby -e",
            "php -r",
            "python3.13 -X dev",
            "pwsh -ExecutionPolicy Bypass -Command",
            "env -S",
            "env -vS",
            "/usr/bin/env --split-string",
            "env A=1 bash -c -e",
            "sudo -u deploy timeout 4m sh -ce",
            "busybox sh -ce",
        ] {
            assert!(takes_script(&words(before)), "{before}");
        }
    }

    #[test]
    fn what_comes_after_the_script_is_none() {
        for before in [
            "sh -c echo",
            "sh -c echo sh",
            "bash -c -- echo",
            "bash -o errexit deploy.sh",
            "bash deploy.sh -e",
            "awk -f deploy.awk",
            "perl -we print",
            "node deploy.js -e",
            "python3 -u deploy.py",
            "python3 -m deploy",
            "env deploy",
            "sudo -u deploy /srv/deploy -e",
            "timeout 4m sh -c echo sh",
            "/srv/deploy --shell bash",
            "curl -S",
        ] {
            assert!(!takes_script(&words(before)), "{before}");
        }
    }
}
