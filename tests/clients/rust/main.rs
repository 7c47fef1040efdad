
// What comes before is the example, as it is printed in docs/HANDLERS.md.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let secret = std::env::var("ORDERS_SECRET")?;
    let webhook = Webhook::new(&secret)?;
    let router = axum::Router::new().route("/", axum::routing::post(target)).with_state(Arc::new(webhook));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:9000").await?;
    axum::serve(listener, router).await?;
    Ok(())
}
