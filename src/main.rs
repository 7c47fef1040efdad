//! The `hookbox` program. All code is in the library; see `hookbox::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hookbox::cli::main()
}
