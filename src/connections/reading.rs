//! Reads bodies of REST and forms of the page, within the limits of [`Arrival`].

use std::error::Error as StdError;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::SemaphorePermit;

use super::{Arrival, Bodies};
use crate::domain::error::Error;

/// From this many bytes on, a body takes turns with other large ones. Reading what is there of it takes as long as
/// answering a request.
const LARGE_BYTES: usize = 64 * 1024;

/// By which factor the memory of a body that is arriving grows.
const GROWTH: usize = 2;

/// Why a body was not read.
#[derive(Debug)]
pub enum Unread {
    /// It has, or declares, more bytes than it may.
    TooLarge,
    /// It did not arrive in time.
    TooSlow {
        /// How many bytes of it did.
        bytes: usize,
    },
    /// It ended too early, or its frames are wrong.
    Incomplete(Box<dyn StdError + Send + Sync>),
    /// There is no memory for it.
    NoMemory(Error),
}

impl Bodies {
    /// Reads a body of at most `limit` bytes. Keep the arrival for as long as the body.
    pub async fn read<B>(&self, body: B, limit: usize) -> Result<(Bytes, Arrival), Unread>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if declared > limit {
            return Err(Unread::TooLarge);
        }
        let (mut body, mut read, mut arrival) = (Limited::new(body, limit), Vec::new(), self.arrival());
        loop {
            // Not within the time of the body: the sender is not slow because others are read.
            let turn = self.turn(arrival.bytes()).await;
            let frame = tokio::time::timeout_at(arrival.due(), next_frame(&mut body, turn)).await;
            match frame.map_err(|_| Unread::TooSlow { bytes: arrival.bytes() })? {
                None => return Ok((read.into(), arrival)),
                Some(Ok(frame)) => {
                    // Trailers mean nothing here.
                    let data = frame.into_data().unwrap_or_default();
                    arrival.add(data.len()).map_err(Unread::NoMemory)?;
                    make_room(&mut read, data.len(), declared);
                    read.extend_from_slice(&data);
                }
                Some(Err(error)) if error.is::<LengthLimitError>() => return Err(Unread::TooLarge),
                Some(Err(error)) => return Err(Unread::Incomplete(error)),
            }
        }
    }

    /// Waits for the turn of a body of which `bytes` are here; none if it is a small one. If many large bodies are ready at
    /// the same time, they wait here, and not in the queue of the runtime, where other requests would wait behind all of
    /// them. A turn is over as soon as its task has run twice, so the wait needs no deadline.
    async fn turn(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        if bytes < LARGE_BYTES {
            return None;
        }
        // The semaphore is never closed.
        self.turns.acquire().await.ok()
    }
}

/// Reads the next frame of a body. Gives the turn up if nothing has arrived.
async fn next_frame<B>(
    body: &mut B,
    turn: Option<SemaphorePermit<'_>>,
) -> Option<Result<Frame<B::Data>, B::Error>>
where
    B: Body + Unpin,
{
    if let Some(turn) = turn {
        tokio::select! {
            biased;
            frame = body.frame() => return frame,
            // Its connection has read what is there, and that is nothing.
            () = tokio::task::yield_now() => drop(turn),
        }
    }
    body.frame().await
}

/// Makes room for `more` bytes of a body of at least `declared` bytes. If the length is declared, takes no more than that;
/// never more than `GROWTH` times what has arrived.
fn make_room(read: &mut Vec<u8>, more: usize, declared: usize) {
    let needed = read.len() + more;
    if needed > read.capacity() {
        let wanted = if declared >= needed { declared.min(GROWTH * needed) } else { GROWTH * needed };
        read.reserve_exact(wanted - read.len());
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::{StreamExt as _, stream};
    use http_body_util::{Full, StreamBody};
    use tokio::sync::oneshot;

    use super::super::arrival::TURNS;
    use super::*;

    const BYTES: usize = 3 * LARGE_BYTES;

    /// A body of which no more than the first part arrives, and which tells when the next one is asked for.
    fn stuck() -> (impl Body<Data = Bytes, Error = Infallible> + Send + 'static, oneshot::Receiver<()>) {
        let (asked, is_asked) = oneshot::channel();
        let first = Ok(Frame::data(Bytes::from(vec![0; LARGE_BYTES])));
        let next = async move {
            let _ = asked.send(());
            std::future::pending().await
        };
        (StreamBody::new(stream::iter([first]).chain(stream::once(next))), is_asked)
    }

    #[tokio::test]
    async fn stalled_large_bodies_do_not_block_other_bodies() {
        let bodies = Bodies::new(BYTES);
        let reading = async {
            for _ in 0..2 * TURNS {
                let (bodies, (body, is_asked)) = (bodies.clone(), stuck());
                tokio::spawn(async move { bodies.read(Box::pin(body), BYTES).await.is_ok() });
                is_asked.await.expect("its first part is read");
            }
            let whole = Full::new(Bytes::from(vec![0; BYTES]));
            bodies.read(whole, BYTES).await.map(|(read, _)| read.len())
        };
        let read = tokio::time::timeout(Duration::from_secs(30), reading).await.expect("does not wait");
        assert_eq!(read.expect("is read"), BYTES);
    }
}
