//! Runs hookbox inside of a test: two listeners on free ports, a folder of its own, time that
//! stands still until the test moves it, and a handler that does as it is told.

pub(crate) mod client;
pub(crate) mod handler;
pub(crate) mod process;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hookbox::app::{self, Environment, Listeners, RunError};
use hookbox::config::{Config, HANDLERS, Layers};
use hookbox::domain::clock::ManualClock;
use hookbox::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::service::reload::Reloaded;
use hookbox::worker::handler::Registry;
use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use tonic::transport::{Channel, Endpoint};

use self::client::Rest;
use self::handler::Script;

/// What every test begins with; `HOUR` is more than any delay between two attempts.
const SETTINGS: &str = r#"
    workers = 2
    max_attempts = 3
    retry_base = "2s"
    retry_cap = "1m"
    max_body = "1MiB"
"#;

/// The settings file of a hookbox, in its folder.
const FILE: &str = "hookbox.toml";

/// When driven time begins.
pub(crate) const START: &str = "2026-03-01T12:00:00Z";

/// Longer than any delay between two attempts.
pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// How long something on another thread may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(5);

/// A hookbox at work. It stops when it is dropped.
pub(crate) struct Hookbox {
    pub(crate) rest: Rest,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) handler: Script,
    grpc: SocketAddr,
    runtime: tokio::runtime::Handle,
    folder: Option<TempDir>,
    reload: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

impl Hookbox {
    /// With the settings of the harness.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With these settings besides.
    pub(crate) fn with(settings: &[(&'static str, &str)]) -> Self {
        Self::at(TempDir::new().unwrap(), START, settings)
    }

    /// With these `[[routes]]` besides.
    pub(crate) fn with_routes(routes: &str) -> Self {
        let folder = TempDir::new().unwrap();
        write_settings(folder.path(), routes);
        Self::at(folder, START, &[])
    }

    /// Writes other `[[routes]]` into the settings file. They take effect when it is read again.
    pub(crate) fn set_routes(&self, routes: &str) {
        write_settings(self.folder.as_ref().unwrap().path(), routes);
    }

    /// Asks for the settings to be read again, as SIGHUP does.
    pub(crate) fn hang_up(&self) {
        self.reload.notify_one();
    }

    /// On what an earlier one left in its folder, at a time of day.
    pub(crate) fn at(folder: TempDir, now: &str, settings: &[(&'static str, &str)]) -> Self {
        if !folder.path().join(FILE).exists() {
            write_settings(folder.path(), "");
        }
        let read = settings_reader(folder.path(), settings);
        let config = read().unwrap();
        let clock = Arc::new(ManualClock::new(now.parse().unwrap()));
        let handler = Script::default();
        let reload = Arc::new(Notify::new());
        let environment = Environment {
            clock: Arc::clone(&clock) as _,
            seed: 7,
            handlers: Registry::default().with(handler.clone()),
            settings: Arc::new(move || {
                let config = read()?;
                Ok(Reloaded { routes: config.routes, needs_restart: Vec::new() })
            }),
            reload: Arc::clone(&reload),
        };
        let (http, grpc) = (listen(), listen());
        let rest = Rest::new(http.local_addr().unwrap());
        let grpc_address = grpc.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let running = std::thread::spawn(move || {
            runtime.block_on(async {
                let listeners = Listeners {
                    http: tokio::net::TcpListener::from_std(http).unwrap(),
                    grpc: tokio::net::TcpListener::from_std(grpc).unwrap(),
                };
                app::run(config, listeners, environment, async {
                    let _ = stopped.await;
                })
                .await
            })
        });
        Self {
            rest,
            clock,
            handler,
            grpc: grpc_address,
            runtime: handle,
            folder: Some(folder),
            reload,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// A client of the contract. It lives on the server's runtime, so that it answers the
    /// server's goodbye while the test waits for the server to stop.
    pub(crate) fn grpc(&self) -> WebhookServiceClient<Channel> {
        WebhookServiceClient::new(self.channel())
    }

    /// A connection for any gRPC client.
    pub(crate) fn channel(&self) -> Channel {
        let _entered = self.runtime.enter();
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap().connect_lazy()
    }

    /// Moves the time on.
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
    }

    /// Waits until a webhook has a status, and answers all of the webhook.
    pub(crate) async fn wait_for(&self, id: &str, status: &str) -> Value {
        eventually(&format!("webhook {id} becoming {status}"), || async {
            let webhook = self.rest.get(&format!("/v1/webhooks/{id}")).await.json();
            (webhook["status"] == status).then_some(webhook)
        })
        .await
    }

    /// Waits until so many attempts have begun in all. A webhook is `processing` a moment earlier.
    pub(crate) async fn wait_for_runs(&self, runs: usize) {
        eventually("an attempt", || async { (self.handler.runs().len() >= runs).then_some(()) }).await;
    }

    /// Moves the time on, again and again, until there is something to see: what works at
    /// intervals begins each when it is done with its work, not when the test moves the time.
    pub(crate) async fn as_time_passes<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
    ) -> T {
        eventually(what, || {
            self.advance(SignedDuration::from_mins(1));
            look()
        })
        .await
    }

    /// Asks it to stop, as a signal would. Running attempts go on.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped, and answers its folder for a successor.
    pub(crate) fn stop(mut self) -> TempDir {
        self.end();
        self.folder.take().unwrap()
    }

    fn end(&mut self) {
        self.begin_to_stop();
        let Some(running) = self.running.take() else { return };
        let ended = running.join();
        if !std::thread::panicking() {
            ended.expect("hookbox does not panic").expect("hookbox stops without an error");
        }
    }
}

impl Drop for Hookbox {
    fn drop(&mut self) {
        // Time stands still, so the grace of attempts that are held would never be over.
        self.handler.let_go();
        self.end();
    }
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let seen = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    seen.await.unwrap_or_else(|_| panic!("waited for {what} longer than {DEADLINE:?}"))
}

fn write_settings(folder: &Path, routes: &str) {
    std::fs::write(folder.join(FILE), format!("{SETTINGS}\n{routes}")).unwrap();
}

/// Reads the settings file of a folder, with these settings besides.
fn settings_reader(
    folder: &Path,
    settings: &[(&'static str, &str)],
) -> impl Fn() -> Result<Config, String> + Send + Sync + 'static {
    let (file, database) = (folder.join(FILE), format!("sqlite://{}", folder.join("hookbox.db").display()));
    let flags = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let flags = [("database_url", database)].into_iter().chain(flags).collect::<Vec<_>>();
    move || {
        let layers = Layers::read(Some(&file), [], flags.clone()).map_err(|mistakes| mistakes.to_string())?;
        Config::new(&layers, HANDLERS).map_err(|mistakes| mistakes.to_string())
    }
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
