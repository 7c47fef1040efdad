//! A body whose first frame is read early, to know its size.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::answer::with_bytes;

/// The body `B`, and its first frame if that was there at once.
pub struct Peeked<B: Body> {
    body: B,
    first: Option<Result<Frame<Bytes>, B::Error>>,
}

impl<B: Body<Data = Bytes> + Unpin> Peeked<B> {
    /// Reads the first frame, unless it is not there yet.
    pub fn new(mut body: B) -> Self {
        let first = body.frame().now_or_never().flatten();
        Self { body, first }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Peeked<B>
where
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut this.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().and_then(|first| first.as_ref().ok()).and_then(Frame::data_ref);
        with_bytes(self.body.size_hint(), first.map_or(0, Bytes::len))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn the_size_of_the_first_frame_is_known_and_no_frame_is_lost() {
        let frames = ["12", "345"].map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from(text))));
        let body = Peeked::new(StreamBody::new(stream::iter(frames)));
        assert_eq!(body.size_hint().lower(), 2);
        assert_eq!(body.collect().await.expect("cannot fail").to_bytes(), "12345");

        let pending = Peeked::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
        assert!(pending.size_hint().lower() == 0 && !pending.is_end_stream());
    }
}
