//! Installing PostgreSQL where a test may do that.

use std::process::{Command, Stdio};

use nix::unistd::geteuid;

use super::programs::run;

/// Installs PostgreSQL on a Debian of which we are root, as in a container that runs the tests.
pub(super) fn install() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("only root could install it".to_owned());
    }
    // Nothing that is installed is upgraded: that would restart a server that is in use.
    let packages = ["install", "-y", "--no-upgrade", "--no-install-recommends", "postgresql"];
    apt_get(&packages).or_else(|_| {
        // The lists of packages may be missing or old.
        apt_get(&["update"])?;
        apt_get(&packages)
    })
}

fn apt_get(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    // Another test process may be installing, too.
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    run(&mut command)
}
