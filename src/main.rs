//! The `hookbox` program. All code is in the library; see `hookbox::HookboxBuilder::run`.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Requests allocate on one thread and free on another, which the system's allocator does slowly.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hookbox::Hookbox::builder().run()
}
