//! The messages of a call that are arriving, within limits on their memory and time.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

use super::status::{another_message, not_ended, status, too_slow, trace_id_of};
use super::webhooks::PIPELINE_CALL;
use crate::connections::{Arrival, Arriving};

/// How many messages a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// One, behind which the client ends its stream.
    One,
    /// A stream of them, which may last.
    Stream,
}

impl Takes {
    /// Of the method of a call, whose path is `/<service>/<method>`.
    pub(super) fn of(path: &str) -> Self {
        let is_pipeline = path.strip_prefix('/') == Some(PIPELINE_CALL);
        if is_pipeline || path.starts_with("/grpc.reflection.") { Self::Stream } else { Self::One }
    }
}

/// The head of a message, so far as it has arrived: a byte that says whether it is compressed, and its length.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 5],
    arrived: usize,
}

/// The body of a request: messages that are arriving.
///
/// tonic decodes a message once it has its bytes, and calls the handler of a method that takes one message once the client
/// has ended its stream. A decoded message can hold a hundred times as much memory. So the bytes that complete the only
/// message are kept back until the stream has ended, and until then its memory stays reserved.
pub(super) struct Messages {
    inner: Body,
    takes: Takes,
    /// The call of a method that takes one message, or else the message that is arriving.
    arrival: Arrival,
    /// Ends when the next bytes, or the end of the stream, have to be here.
    due: Option<Pin<Box<Sleep>>>,
    head: Head,
    /// How many bytes of the message are not here yet.
    left: usize,
    /// Whether the only message is here.
    is_complete: bool,
    /// The frame that completes the only message.
    last: Option<Frame<Bytes>>,
    has_ended: bool,
    arriving: Arriving,
}

impl Messages {
    /// Those in a body. `arriving` is dropped with them.
    pub(super) fn new(inner: Body, takes: Takes, arrival: Arrival, arriving: Arriving) -> Self {
        Self {
            inner,
            takes,
            arrival,
            due: None,
            head: Head::default(),
            left: 0,
            is_complete: false,
            last: None,
            has_ended: false,
            arriving,
        }
    }

    /// Follows the messages in these bytes. Errors: there is no memory for them, or they are behind the only message.
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            if self.is_complete {
                return Err(another_message());
            }
            if self.left == 0 {
                let Head { bytes: head, arrived } = &mut self.head;
                head[*arrived] = bytes.get_u8();
                *arrived += 1;
                if *arrived == 1 && self.takes == Takes::Stream {
                    self.arrival.restart();
                }
                if *arrived < head.len() {
                    continue;
                }
                *arrived = 0;
                self.left = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            } else {
                let some = self.left.min(bytes.len());
                self.arrival.add(some).map_err(|error| status(&error, &trace_id_of(None)))?;
                bytes.advance(some);
                self.left -= some;
            }
            if self.left == 0 {
                match self.takes {
                    Takes::One => self.is_complete = true,
                    Takes::Stream => {
                        // The handler of the message reserves memory for it.
                        self.arrival.restart();
                        self.arriving.message_arrived();
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether the client has to send more in time. Between the messages of a stream it has not.
    fn is_timed(&self) -> bool {
        self.takes == Takes::One || self.left > 0 || self.head.arrived > 0
    }

    fn overdue(&self) -> Status {
        if self.is_complete { not_ended() } else { too_slow(self.arrival.bytes()) }
    }
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        while !this.has_ended {
            match Pin::new(&mut this.inner).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => {
                    this.due = None;
                    if let Some(bytes) = frame.data_ref() {
                        this.follow(bytes)?;
                    }
                    if !this.is_complete {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    // Frames behind it have no bytes. A request of gRPC has no trailers.
                    if this.last.is_none() {
                        this.last = Some(frame);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => this.has_ended = true,
                Poll::Pending if this.is_timed() => {
                    let due = this.arrival.due();
                    let due = this.due.get_or_insert_with(|| Box::pin(sleep_until(due)));
                    return due.as_mut().poll(context).map(|()| Some(Err(this.overdue())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(this.last.take().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.inner.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::FutureExt as _;
    use futures::channel::mpsc::{UnboundedSender, unbounded};
    use http_body_util::{BodyExt as _, StreamBody};
    use prost::Message as _;
    use tokio::net::{TcpListener, TcpStream};
    use tonic::Code;

    use super::*;
    use crate::connections::{Bodies, Connection, Connections};
    use crate::grpc::proto;

    /// A message without bytes.
    const EMPTY: [u8; 5] = [0; 5];

    type Client = UnboundedSender<Result<Frame<Bytes>, Status>>;

    /// Messages, the client that sends them, and its connection.
    async fn call(takes: Takes, bodies: &Bodies) -> (Client, Messages, Connection) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let _socket = TcpStream::connect(address).await.expect("connects");
        let stream = Connections::new(1).accept(&listener).await;
        let connection = stream.connection().clone();
        let (_in_progress, arriving) = connection.begin();
        let (client, frames) = unbounded();
        let body = Body::new(StreamBody::new(frames));
        (client, Messages::new(body, takes, bodies.arrival(), arriving), connection)
    }

    fn send(client: &Client, bytes: Vec<u8>) {
        client.unbounded_send(Ok(Frame::data(bytes.into()))).expect("is open");
    }

    #[tokio::test]
    async fn a_unary_message_waits_in_reserved_memory_until_its_stream_ends() {
        let bodies = Bodies::new(1);
        let length = 100 * 1024 * 1024_u32;
        let (client, mut messages, _connection) = call(Takes::One, &bodies).await;
        send(&client, [[0].as_slice(), length.to_be_bytes().as_slice()].concat());
        send(&client, vec![0; length as usize]);
        let head = messages.frame().now_or_never().flatten().expect("is here").expect("has arrived");
        assert_eq!(head.data_ref().map(Bytes::len), Some(EMPTY.len()));
        assert!(messages.frame().now_or_never().is_none(), "the stream is open");
        assert!(bodies.try_room(length as usize).is_err());
        drop(client);
        let last = messages.frame().now_or_never().flatten().expect("is here").expect("has arrived");
        assert_eq!(last.data_ref().map(Bytes::len), Some(length as usize));
        assert!(messages.frame().now_or_never().expect("has ended").is_none());
        drop(messages);
        bodies.try_room(length as usize).expect("free again");
    }

    #[tokio::test]
    async fn a_unary_call_refuses_a_second_message_and_a_streaming_call_accepts_one() {
        for (takes, code) in [(Takes::One, Some(Code::InvalidArgument)), (Takes::Stream, None)] {
            let (client, mut messages, _connection) = call(takes, &Bodies::new(1)).await;
            send(&client, [EMPTY, EMPTY].concat());
            let frame = messages.frame().now_or_never().flatten().expect("is here");
            assert_eq!(frame.err().map(|status| status.code()), code, "{takes:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_makes_progress_with_each_whole_message_and_not_with_its_parts() {
        let (client, mut messages, connection) = call(Takes::Stream, &Bodies::new(1)).await;
        let message = b"\0\0\0\0\x02{}";
        for _ in 0..2 {
            for (number, byte) in message.iter().enumerate() {
                let before = connection.progress();
                send(&client, vec![*byte]);
                messages.frame().now_or_never().flatten().expect("is here").expect("has arrived");
                assert_eq!(connection.progress() != before, number + 1 == message.len(), "byte {number}");
            }
        }
    }

    #[test]
    fn the_methods_that_take_a_stream_are_those_of_the_protos() {
        let sets = [
            proto::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods = 0;
        for set in sets {
            for file in prost_types::FileDescriptorSet::decode(set).expect("is valid").file {
                for service in &file.service {
                    for method in &service.method {
                        let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        let takes = if method.client_streaming() { Takes::Stream } else { Takes::One };
                        assert_eq!(Takes::of(&path), takes, "{path}");
                        methods += 1;
                    }
                }
            }
        }
        assert!(methods > crate::access::OPERATIONS.iter().filter(|known| !known.call.is_empty()).count());
    }
}
