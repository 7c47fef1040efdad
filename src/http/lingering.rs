//! Reads on after an early answer, so that the client can read that answer.
//!
//! An HTTP/1 client may send the whole body before it reads. If the server closed the connection meanwhile, the
//! client would see a broken connection in place of the answer. So the rest of a body that is dropped unread is
//! read and discarded, within limits.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;

/// How long the rest of a body is read.
const LINGER_TIME: Duration = Duration::from_secs(30);

/// How long to wait for the next bytes of it.
const SILENCE_TIME: Duration = Duration::from_secs(5);

/// The body of an HTTP/1 request. When dropped before its end, reads the rest in a task of its own.
#[derive(Debug)]
pub(super) struct Lingering<B: Body + Send + Unpin + 'static> {
    /// `None` at the end of the body.
    body: Option<B>,
    stopping: Arc<CancellationToken>,
}

impl<B: Body + Send + Unpin + 'static> Lingering<B> {
    /// Stops to read when `stopping` is cancelled.
    pub(super) fn new(body: B, stopping: Arc<CancellationToken>) -> Self {
        Self { body: Some(body), stopping }
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
            runtime.spawn(async move {
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
