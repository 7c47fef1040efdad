//! Reads bodies of REST and forms of the page, within the limits of [`Arrival`].

use std::error::Error as StdError;

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::{Arrival, Bodies};
use crate::domain::error::Error;

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
            let frame = tokio::time::timeout_at(arrival.due(), body.frame()).await;
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
