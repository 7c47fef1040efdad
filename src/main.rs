//! The `hookbox` program. It decides nothing: see `hookbox::cli`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    hookbox::cli::main()
}
