//! The body of an answer, in parts. The memory of the answer is reserved until the last part is written.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::rounds::{Due, LARGE_ROUNDS, SMALL_ROUNDS};
use super::{AnswerRoom, InProgress, Waiting};

/// The most bytes of an answer that are handed out at once, so that it shows whether the client takes them.
const PART_BYTES: usize = 64 * 1024;

/// The body `B` of an answer, handed out in parts. Until the last part is dropped, which is when it is written, the
/// request is in progress and its memory is reserved. While a part is not written, hookbox waits for the client.
#[derive(Debug)]
pub struct Answer<B> {
    body: B,
    /// What is left of the last frame of the body.
    rest: Bytes,
    kept: Arc<Kept>,
}

#[derive(Debug)]
struct Kept {
    in_progress: InProgress,
    room: Arc<AnswerRoom>,
}

impl<B> Answer<B> {
    /// Keeps both values until the body is written.
    pub fn new(body: B, in_progress: InProgress, room: Arc<AnswerRoom>) -> Self {
        Self { body, rest: Bytes::new(), kept: Arc::new(Kept { in_progress, room }) }
    }

    fn hand_out(&self, bytes: Bytes) -> Bytes {
        let kept = Arc::clone(&self.kept);
        let rounds = if kept.room.is_reserved() { LARGE_ROUNDS } else { SMALL_ROUNDS };
        let due = kept.in_progress.rounds().hand_out(rounds);
        let waiting = kept.in_progress.exchange().wait();
        waiting.goes_on();
        Bytes::from_owner(Part { bytes, due, _waiting: waiting, kept })
    }
}

/// The owner of bytes that were handed out.
struct Part {
    bytes: Bytes,
    due: Due,
    _waiting: Waiting,
    kept: Arc<Kept>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kept.in_progress.rounds().taken(self.due);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let bytes = this.rest.split_to(this.rest.len().min(PART_BYTES));
        Poll::Ready(Some(Ok(Frame::data(this.hand_out(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        with_bytes(self.body.size_hint(), self.rest.len())
    }
}

/// The hint of a body of which `bytes` are already here.
pub(super) fn with_bytes(mut hint: SizeHint, bytes: usize) -> SizeHint {
    let bytes = bytes as u64;
    if let Some(upper) = hint.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint.set_lower(hint.lower().saturating_add(bytes));
    hint
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use tokio::time::Instant;

    use super::*;
    use crate::connections::{Connections, Turn};

    const CLIENT: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn an_answer_is_split_and_stays_in_progress_until_it_is_written() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (in_progress, _arriving) = connection.begin();
        let bytes: Vec<u8> = (0_u8..=255).cycle().take(2 * PART_BYTES + 1).collect();
        let room = connection.room(bytes.len() as u64, Turn::default()).await.expect("room");
        let mut answer = Answer::new(Full::new(Bytes::from(bytes.clone())), in_progress, Arc::new(room));
        let mut parts = Vec::new();
        while !answer.is_end_stream() {
            let written: usize = parts.iter().map(Bytes::len).sum();
            assert_eq!(answer.size_hint().exact(), Some((bytes.len() - written) as u64));
            let frame = answer.frame().await.expect("a frame").expect("cannot fail");
            parts.push(frame.into_data().expect("data"));
        }
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [PART_BYTES, PART_BYTES, 1]);
        assert_eq!(parts.iter().flatten().copied().collect::<Vec<u8>>(), bytes);
        assert!(answer.frame().await.is_none());

        drop(answer);
        drop(parts.split_off(1));
        assert!(connection.is_busy());
        let rounds = (0..SMALL_ROUNDS).take_while(|_| connection.next_round()).count();
        assert_eq!(rounds + 1, LARGE_ROUNDS, "the client did not take the first part");
        drop(parts);
        assert!(!connection.is_busy() && connection.next_round());
    }

    #[tokio::test]
    async fn a_connection_gives_way_while_a_part_is_not_written() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (in_progress, arriving) = connection.begin();
        drop(arriving);
        let bytes = Bytes::from(vec![0; PART_BYTES + 1]);
        let mut answer = Answer::new(Full::new(bytes), in_progress, Arc::default());
        drop(answer.frame().await.expect("a frame").expect("cannot fail"));
        assert!(connections.admit(CLIENT, Instant::now()).is_none(), "no part waits for the client");
        let _part = answer.frame().await.expect("a frame").expect("cannot fail");
        assert!(connections.admit(CLIENT, Instant::now()).is_some());
    }

    #[tokio::test]
    async fn a_small_answer_may_wait_longer() {
        let connections = Connections::new(1);
        let (_place, connection, _closed) = connections.admit(CLIENT, Instant::now()).expect("a place");
        let (in_progress, _arriving) = connection.begin();
        let room = connection.room(1, Turn::default()).await.expect("room");
        let mut answer = Answer::new(Full::new(Bytes::from_static(b"1")), in_progress, Arc::new(room));
        let _part = answer.frame().await.expect("a frame").expect("cannot fail");
        let rounds = (0..100).take_while(|_| connection.next_round()).count();
        assert_eq!(rounds + 1, SMALL_ROUNDS);
    }
}
