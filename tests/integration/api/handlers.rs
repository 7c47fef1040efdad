//! The handlers that come with hookbox, through a whole server.

mod documented;
// It looks at processes in /proc.
#[cfg(target_os = "linux")]
mod exec;
pub(crate) mod http;
