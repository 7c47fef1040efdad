//! Answers every POST with its body: what axum does on this machine with nothing behind it. Throughput of
//! hookbox is given as a share of it (`docs/BENCHMARKS.md`).
//!
//! ```sh
//! cargo run --release --example bare_echo -- 127.0.0.1:8090
//! ```

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8090".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    let router = Router::new().route("/v1/webhooks", post(async |body: Bytes| body));
    axum::serve(listener, router).await
}
