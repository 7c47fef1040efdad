//! The `hookbox` program. It decides nothing: see `hookbox::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookbox::cli::main()
}
