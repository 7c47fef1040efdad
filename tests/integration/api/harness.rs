//! Runs hookbox inside of a test, on either store: two listeners on free ports, a home of its own,
//! time that stands still until the test moves it, and a handler that does as it is told. The handlers that call others,
//! `http` and `exec`, are those of the program.

pub(crate) mod client;
pub(crate) mod gate;
pub(crate) mod handler;
pub(crate) mod home;
mod outside;
pub(crate) mod process;
pub(crate) mod settings;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::sqlite::SqliteConnection;
use hookbox::internals::app::{self, Environment, Listeners, RunError};
use hookbox::internals::domain::clock::{Clock, ManualClock, Signal};
use hookbox::internals::grpc::proto::webhook_service_client::WebhookServiceClient;
use hookbox::internals::handlers::exec::{Exec, Launcher};
use hookbox::internals::handlers::http::Http;
use hookbox::internals::keys::Network;
use hookbox::internals::service::reload::Reloaded;
use hookbox::internals::worker::handler::Registry;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tonic::transport::{Channel, Endpoint};

use self::client::Rest;
use self::handler::Script;
use self::home::Home;
pub(crate) use self::home::Store::{self, Postgres, Sqlite};
use self::outside::Outside;
use crate::support::postgres::Session;

/// When driven time begins.
pub(crate) const START: &str = "2026-03-01T12:00:00Z";

/// Longer than any delay between two attempts.
pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// How long something on another thread may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Between the first two looks at it.
const PAUSE: Duration = Duration::from_millis(5);

/// Between two later looks, which would otherwise take time from what they wait for.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A hookbox at work. It stops when it is dropped.
pub(crate) struct Hookbox {
    pub(crate) rest: Rest,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) handler: Script,
    grpc: SocketAddr,
    runtime: tokio::runtime::Handle,
    home: Option<Home>,
    reload: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), RunError>>>,
}

impl Hookbox {
    /// With the settings of the harness.
    pub(crate) fn start(store: Store) -> Self {
        Self::with(store, &[])
    }

    /// With these settings besides.
    pub(crate) fn with(store: Store, settings: &[(&'static str, &str)]) -> Self {
        Self::at(Home::new(store, ""), START, settings)
    }

    /// With these `[[routes]]` besides.
    pub(crate) fn with_routes(store: Store, routes: &str) -> Self {
        Self::at(Home::new(store, routes), START, &[])
    }

    /// Writes other `[[routes]]` into the settings file. They take effect when it is read again.
    pub(crate) fn set_routes(&self, routes: &str) {
        self.home.as_ref().unwrap().set_routes(routes);
    }

    /// Keeps hookbox from writing to its SQLite file until the connection is dropped.
    pub(crate) fn lock_store(&self) -> SqliteConnection {
        self.home.as_ref().unwrap().lock()
    }

    /// A session with its PostgreSQL database.
    pub(crate) fn session(&self) -> Session {
        self.home.as_ref().unwrap().session()
    }

    /// Keeps hookbox from reading webhooks in its PostgreSQL database until the session commits, or is dropped.
    pub(crate) fn lock_webhooks(&self) -> Session {
        self.home.as_ref().unwrap().lock_webhooks()
    }

    /// Removes the queues from the PostgreSQL database, as a failover can.
    pub(crate) fn lose_queues(&self) {
        self.home.as_ref().unwrap().lose_queues();
    }

    /// Asks for the settings to be read again, as SIGHUP does.
    pub(crate) fn hang_up(&self) {
        self.reload.notify_one();
    }

    /// On what an earlier one left in its home, at a time of day.
    pub(crate) fn at(home: Home, now: &str, settings: &[(&'static str, &str)]) -> Self {
        Self::at_in(home, now, settings, Network::system())
    }

    /// The same, by a clock that goes by the one of the test.
    pub(crate) fn by(
        home: Home,
        clock: Arc<ManualClock>,
        its_clock: Arc<dyn Clock>,
        settings: &[(&'static str, &str)],
        outside: impl Into<Outside>,
    ) -> Self {
        let outside: Outside = outside.into();
        let read = home.settings_reader(settings);
        let config = read().unwrap();
        home.set_time(clock.now());
        let handler = Script::default();
        let reload = Arc::new(Notify::new());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let environment = Environment {
            clock: its_clock,
            seed: 7,
            form_key: [7; 32],
            network: outside.network.clone(),
            handlers: Registry::default()
                // The handler that the default route has.
                .with("simulate", handler.clone())
                .with(Http::NAME, outside.http(handle.clone()))
                .with(Exec::NAME, Exec::new(Launcher::at(env!("CARGO_BIN_EXE_hookbox")))),
            settings: Arc::new(move || {
                let config = read()?;
                let (sources, tls) = (config.sources.map(), config.tls.map(|tls| tls.loaded));
                let (routes, tokens, text) = (config.routes, config.tokens, config.text);
                Ok(Reloaded { routes, sources, tokens, tls, text, needs_restart: Vec::new() })
            }),
            reload: Arc::clone(&reload),
        };
        let (http, grpc) = (listen(), listen());
        let rest = Rest::new(http.local_addr().unwrap());
        let grpc_address = grpc.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
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
            home: Some(home),
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

    /// The address of gRPC.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// A connection for any gRPC client.
    pub(crate) fn channel(&self) -> Channel {
        self.channel_with(|endpoint| endpoint)
    }

    /// The same, with other settings.
    pub(crate) fn channel_with(&self, set: impl FnOnce(Endpoint) -> Endpoint) -> Channel {
        let _entered = self.runtime.enter();
        set(Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap()).connect_lazy()
    }

    /// Moves the time on: first that of the database, so that whatever wakes up sees one time.
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.home.as_ref().unwrap().set_time(self.clock.now() + by);
        self.clock.advance(by);
    }

    /// Sets the process's time of day forward or back. No time passes, and the database's clock stays.
    pub(crate) fn set_clock_by(&self, by: SignedDuration) {
        self.clock.set_by(by);
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
        let look = || {
            self.advance(SignedDuration::from_mins(1));
            look()
        };
        // What is seen may need many steps of time.
        seen(what, PAUSE, look).await
    }

    /// Asks it to stop, as a signal would. Running attempts go on.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until it has stopped, and answers its home for a successor.
    pub(crate) fn stop(mut self) -> Home {
        self.end();
        self.home.take().unwrap()
    }

    /// Waits until it has ended by itself, and answers why.
    pub(crate) async fn failed(&mut self) -> RunError {
        let running = self.running.take().unwrap();
        eventually("the end of hookbox", || async { running.is_finished().then_some(()) }).await;
        running.join().unwrap().unwrap_err()
    }

    #[expect(clippy::print_stderr, reason = "perhaps it is the reason for what a test has found")]
    fn end(&mut self) {
        self.begin_to_stop();
        let Some(running) = self.running.take() else { return };
        // Long after the deadline of everything that a test waits for.
        let (step, mut left) = (Duration::from_millis(5), 12_000);
        while !running.is_finished() && left > 0 {
            Signal::default().wait(Some(step));
            left -= 1;
        }
        if !running.is_finished() {
            // Panicking twice would hide why the test failed.
            assert!(std::thread::panicking(), "hookbox does not stop");
            return;
        }
        let ended = running.join();
        if std::thread::panicking() {
            eprintln!("hookbox ended: {ended:?}");
        } else {
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
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    seen(what, LONGEST_PAUSE, look).await
}

async fn seen<T, F: Future<Output = Option<T>>>(
    what: &str,
    longest_pause: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let seen = tokio::time::timeout(DEADLINE, async {
        let mut pause = PAUSE;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(longest_pause);
        }
    });
    seen.await.unwrap_or_else(|_| panic!("waited for {what} longer than {DEADLINE:?}"))
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}
