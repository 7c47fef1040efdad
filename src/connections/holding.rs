//! A body that holds something for as long as it lives.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// The body `B`, and what is dropped with it, right before it.
#[derive(Debug)]
pub struct Holding<B, G> {
    _held: G,
    body: B,
}

impl<B, G> Holding<B, G> {
    /// Drops `held` with the body.
    pub fn new(body: B, held: G) -> Self {
        Self { _held: held, body }
    }
}

impl<B: Body + Unpin, G: Unpin> Body for Holding<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
