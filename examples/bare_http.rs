//! Sends the body of `bench/load.lua` again and again by the client of the handler `http`, and does nothing else: what
//! that client can do on this machine. Deliveries of hookbox are given as a share of it (`docs/BENCHMARKS.md`). The
//! target counts the requests.
//!
//! ```sh
//! cargo run --release --example bare_http -- http://127.0.0.1:8090/hooks 4 64 threads
//! ```
//!
//! The arguments are the URL, for how many seconds to send, how many requests to have under way at once, and what sends
//! them: `threads`, which wait for their answers as those of hookbox do, or `tasks` of the runtime.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hookbox::internals::telemetry::metrics::Stopwatch;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, Method, Request, Url};
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "usage: bare_http URL SECONDS SENDERS threads|tasks";

/// A payload of `bench/load.lua`.
const BODY: &str = r#"{"order":12345,"customer":"customer-012345","currency":"EUR","total":129.9,"items":3,"note":"thanks"}"#;

/// The headers of a delivery, but for those that the client adds.
const HEADERS: [(&str, &str); 7] = [
    ("idempotency-key", "01a20f9c-0785-7000-9dcd-eb59cbf7543a_orders"),
    ("webhook-id", "01a20f9c-0785-7000-9dcd-eb59cbf7543a_orders"),
    ("webhook-timestamp", "1764338400"),
    ("traceparent", "00-6f7f59322addb5a6da211a60bb90276d-00f067aa0ba902b7-01"),
    ("hookbox-webhook", "01a20f9c-0785-7000-9dcd-eb59cbf7543a"),
    ("hookbox-source", "default"),
    ("hookbox-event-type", "order.paid"),
];

fn main() -> Result<()> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let [url, seconds, senders, how] = arguments.as_slice() else { return Err(USAGE.into()) };
    let time = Duration::from_secs(seconds.parse()?);
    let senders = senders.parse()?;
    let sender = Sender { client: client()?, url: url.parse()?, headers: headers() };
    let runtime = Runtime::new()?;
    match how.as_str() {
        "threads" => by_threads(&runtime, &sender, senders, time),
        "tasks" => by_tasks(&runtime, &sender, senders, time),
        _ => Err(USAGE.into()),
    }
}

/// What is the same in all requests.
#[derive(Clone)]
struct Sender {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

impl Sender {
    /// Sends a request, and reads the answer.
    async fn send(&self) -> Result<()> {
        let mut request = Request::new(Method::POST, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.body_mut() = Some(BODY.to_owned().into());
        let answer = self.client.execute(request).await?.error_for_status()?;
        answer.bytes().await?;
        Ok(())
    }
}

fn by_threads(runtime: &Runtime, sender: &Sender, senders: usize, time: Duration) -> Result<()> {
    let began = Stopwatch::start();
    let start = |_| {
        let (runtime, sender) = (runtime.handle().clone(), sender.clone());
        std::thread::spawn(move || -> Result<()> {
            while began.elapsed() < time {
                runtime.block_on(sender.send())?;
            }
            Ok(())
        })
    };
    let threads = (0..senders).map(start).collect::<Vec<_>>();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(())
}

fn by_tasks(runtime: &Runtime, sender: &Sender, senders: usize, time: Duration) -> Result<()> {
    let began = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for _ in 0..senders {
        let sender = sender.clone();
        let sending = async move {
            while began.elapsed() < time {
                sender.send().await?;
            }
            Result::Ok(())
        };
        tasks.spawn_on(sending, runtime.handle());
    }
    runtime.block_on(async {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Result::Ok(())
    })
}

/// A client like that of the handler `http` (`src/handlers/http/client.rs`).
fn client() -> Result<Client> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .pool_max_idle_per_host(256)
        .pool_idle_timeout(Duration::from_secs(30))
        .build()?;
    Ok(client)
}

fn headers() -> HeaderMap {
    let named =
        HEADERS.iter().map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let mut headers = named.collect::<HeaderMap>();
    headers.insert(USER_AGENT, HeaderValue::from_static("hookbox"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers
}
