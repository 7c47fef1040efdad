//! A stream that ends early when a future is ready.

use std::future::Future;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

/// Passes on the items of a stream. Once `last` is ready, its value is passed on and the stream ends.
pub fn until<T: Send + 'static>(
    items: impl Stream<Item = T> + Send + 'static,
    last: impl Future<Output = T> + Send + 'static,
) -> BoxStream<'static, T> {
    stream::unfold(Some((items.boxed(), Box::pin(last))), |state| async {
        let (mut items, mut last) = state?;
        tokio::select! {
            biased;
            last = &mut last => Some((last, None)),
            item = items.next() => item.map(|item| (item, Some((items, last)))),
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_is_cut_off_ends_with_the_last_item() {
        let endless = stream::iter([1, 2]).chain(stream::pending());
        let (cut_off, is_cut_off) = tokio::sync::oneshot::channel();
        let mut items = until(endless, async { is_cut_off.await.unwrap_or(0) });
        assert_eq!([items.next().await, items.next().await], [Some(1), Some(2)]);
        cut_off.send(3).expect("the stream waits for it");
        assert_eq!([items.next().await, items.next().await], [Some(3), None]);
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_has_no_further_item() {
        let items = until(stream::iter([1, 2]), std::future::pending());
        assert_eq!(items.collect::<Vec<_>>().await, [1, 2]);
    }
}
