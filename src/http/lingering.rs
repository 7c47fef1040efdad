//! Reads on after an early answer, so that the client can read that answer.
//!
//! A client may send the whole body before it reads. If the server closed the connection meanwhile, the client would see
//! a broken connection in place of the answer. Over HTTP/2 the server would reset the stream, and common clients then
//! drop the answer that came before. So the rest of a body that is dropped unread is read and discarded, within limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;

use crate::connections::Exchange;

/// How long the rest of a body is read.
const LINGER_TIME: Duration = Duration::from_secs(30);

/// How long to wait for the next bytes of it.
const SILENCE_TIME: Duration = Duration::from_secs(5);

/// The body of a request. When dropped before its end, reads the rest in a task of its own.
#[derive(Debug)]
pub(super) struct Lingering<B: Body + Send + Unpin + 'static> {
    /// `None` at the end of the body.
    body: Option<B>,
    /// Of a request over HTTP/2.
    exchange: Option<Exchange>,
    stopping: Arc<CancellationToken>,
}

impl<B: Body + Send + Unpin + 'static> Lingering<B> {
    /// The body of a request over HTTP/1, which sends one at a time. Stops to read when `stopping` is cancelled.
    pub(super) fn over_http1(body: B, stopping: Arc<CancellationToken>) -> Self {
        Self { body: Some(body), exchange: None, stopping }
    }

    /// The same over HTTP/2. A connection can have many of these requests, so what is left of one counts as a request with
    /// which hookbox waits for the client.
    pub(super) fn over_http2(body: B, exchange: Exchange, stopping: Arc<CancellationToken>) -> Self {
        Self { body: Some(body), exchange: Some(exchange), stopping }
    }
}

impl<B: Body + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            let stopping = self.stopping.clone();
            let counted = self.exchange.take().map(|exchange| exchange.connection().begin());
            runtime.spawn(async move {
                let _counted = counted;
                let discarding = tokio::time::timeout(LINGER_TIME, discard(body));
                stopping.run_until_cancelled(discarding).await
            });
        }
    }
}

/// Reads a body until it ends, fails, or stops to arrive.
async fn discard(mut body: impl Body + Unpin) {
    while let Ok(Some(Ok(_))) = tokio::time::timeout(SILENCE_TIME, body.frame()).await {}
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::stream;
    use http_body_util::StreamBody;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::connections::Connections;

    /// More than the 4,096 requests with which hookbox waits for clients at most, beside the first of a connection.
    const BODIES: usize = 4_098;

    #[tokio::test]
    async fn a_connection_with_too_many_bodies_of_http_2_that_do_not_end_is_closed() {
        let connections = Connections::new(1);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let connecting = TcpStream::connect(listener.local_addr().expect("has an address"));
        let _client = connecting.await.expect("connects");
        let accepted = connections.accept(&listener).await;
        let stopping = Arc::new(CancellationToken::new());
        for _ in 0..BODIES {
            let (answer, _arriving) = accepted.connection().begin();
            let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
            drop(Lingering::over_http2(body, answer.exchange().clone(), Arc::clone(&stopping)));
        }
        tokio::spawn(connections.limit_waiting());
        let closed = tokio::time::timeout(Duration::from_secs(30), accepted.begun()).await;
        assert!(closed.expect("in time").is_err());
    }
}
