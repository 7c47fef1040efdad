//! hookbox as a library: a program adds its own handlers to those that come with hookbox.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::app::{Program, ServeError, known_handlers};
use crate::cli;
use crate::config::{Config, EXIT_USAGE, HANDLERS, Listening};
use crate::domain::route::RouteName;
use crate::handlers::exec::{self, Launcher};
use crate::worker::handler::{Handler, Registry};

/// A hookbox with the handlers of a program, for a program that has its own `main`. Programs that have not are shorter
/// with [`HookboxBuilder::run`].
#[derive(Clone, Debug)]
pub struct Hookbox {
    own: Registry,
    settings_file: Option<PathBuf>,
}

/// Takes the handlers of a program.
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing before `run` or `build`"]
pub struct HookboxBuilder {
    own: Registry,
    mistake: Option<BuildError>,
}

/// A handler that cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The name has other characters than the names of handlers have, or too many.
    #[error("a handler cannot have the name {name:?}: it must be 1 to 63 of a-z, 0-9 and -")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// A handler that comes with hookbox has the name.
    #[error("the handler `{name}` comes with hookbox; give yours another name")]
    BuiltIn {
        /// The name.
        name: String,
    },
    /// The program has given the name to another handler already.
    #[error("two handlers have the name `{name}`; give one of them another name")]
    Duplicate {
        /// The name.
        name: String,
    },
}

impl Hookbox {
    /// Begins with the handlers that come with hookbox.
    pub fn builder() -> HookboxBuilder {
        HookboxBuilder::default()
    }

    /// The file with the settings, in place of `hookbox.toml` in the working folder. Unlike that one, it has to exist.
    #[must_use]
    pub fn settings_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings_file = Some(path.into());
        self
    }

    /// Reads the settings, listens, and runs jobs until `shutdown` is ready. Then stops in order: takes no new
    /// requests, lets open requests finish, gives running attempts `shutdown_grace`, and closes the store last. Await it
    /// to its end: if this future is dropped, nothing stops before the runtime does.
    ///
    /// Settings come from the file and from the environment, as for the program `hookbox`. The runtime is tokio's, with
    /// I/O and time. What belongs to the whole process is left to the program:
    ///
    /// - Logs go to the `tracing` subscriber of the program; `log`, `log_format` and `OTEL_*` have no effect.
    /// - Signals are not caught: `shutdown` decides when to stop, and `POST /v1/settings/reload` reloads.
    /// - The limit on open files is not raised. It limits the connections.
    /// - The handler `exec` starts programs without its launcher. If the process is killed, they go on.
    /// - The runtime is left as it is. Calls that block, such as look-ups of names, may still run in it. End it with tokio's
    ///   `Runtime::shutdown_background`, because its drop waits for them.
    ///
    /// Errors: see [`ServeError`].
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        let Self { own, settings_file } = self;
        let read = cli::settings_reader(settings_file);
        let layers = read().map_err(ServeError::Settings)?;
        let config = Config::protected(&layers, &known_handlers(&own), Listening::from_start(&layers))
            .map_err(ServeError::Settings)?;
        let (launcher, reload) = (Launcher::none(), Arc::new(Notify::new()));
        let program = Program { own, launcher, read, reload, bound: Box::new(|_, _| {}) };
        program.serve(layers, config, shutdown).await
    }
}

impl HookboxBuilder {
    /// Adds a handler. Routes name it in `handler`; the name has 1 to 63 of `a-z`, `0-9` and `-`, and no other handler
    /// has it. [`build`](Self::build) and [`run`](Self::run) report a name that is not allowed.
    pub fn handler(mut self, name: impl Into<String>, handler: impl Handler + 'static) -> Self {
        let name = name.into();
        match refusal(&self.own, &name) {
            None => self.own = self.own.with(name, handler),
            mistake => self.mistake = self.mistake.or(mistake),
        }
        self
    }

    /// A hookbox to [`serve`](Hookbox::serve). Errors: the first name of a handler that is not allowed.
    pub fn build(self) -> Result<Hookbox, BuildError> {
        match self.mistake {
            None => Ok(Hookbox { own: self.own, settings_file: None }),
            Some(mistake) => Err(mistake),
        }
    }

    /// Is the program `hookbox`, with these handlers besides: reads the command line, runs the command, such as
    /// `serve`, and returns the exit code of the process. A name that is not allowed is exit code 64, like a wrong
    /// setting.
    ///
    /// The handler `exec` starts the program again, as the launcher of the programs of routes. So `main` should do
    /// nothing before this that takes long or writes to standard output or error.
    pub fn run(self) -> ExitCode {
        if let Some(code) = exec::launch() {
            return code;
        }
        match self.build() {
            Ok(hookbox) => cli::main(&hookbox.own),
            Err(mistake) => {
                cli::complain(&mistake);
                ExitCode::from(EXIT_USAGE)
            }
        }
    }
}

/// Why a handler cannot have this name; none if it can.
fn refusal(own: &Registry, name: &str) -> Option<BuildError> {
    let name = name.to_owned();
    // The rule for the names of routes.
    if RouteName::new(name.as_str()).is_err() {
        Some(BuildError::InvalidName { name })
    } else if HANDLERS.contains(&name.as_str()) {
        Some(BuildError::BuiltIn { name })
    } else if own.get(&name).is_some() {
        Some(BuildError::Duplicate { name })
    } else {
        None
    }
}
