//! A connection. Fails when the connection has to give way, sends no request, or does not take its answers or
//! what is written to it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep, timeout};

use super::rounds::ROUND_TIME;
use super::slow_lane::PacedSocket;
use super::tls::Socket;
use super::{Connection, Place};
use crate::tls::PortTls;

/// How long a connection may take to send the head of its first request.
const FIRST_REQUEST_TIME: Duration = Duration::from_secs(60);

/// How long a connection may take from its acceptance to the end of the TLS handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// How long a client may take nothing of what is being written to it.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// An open connection.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    connection: Connection,
    _place: Place,
    /// Ready when the connection has to give way; none once it had to.
    closed: Option<oneshot::Receiver<Infallible>>,
    /// Ends [`FIRST_REQUEST_TIME`]; none once there was a request.
    silence: Option<Pin<Box<Sleep>>>,
    /// Ends [`WRITE_TIME`]; none while the client takes what is written.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Ends the round in which parts of answers are counted; none while no request is in progress.
    round: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(super) fn new(
        socket: TcpStream,
        place: Place,
        connection: Connection,
        closed: oneshot::Receiver<Infallible>,
    ) -> Self {
        let silence = Some(Box::pin(sleep(FIRST_REQUEST_TIME)));
        let socket = Socket::Plain(PacedSocket::new(socket, connection.clone()));
        Self { socket, connection, _place: place, closed: Some(closed), silence, stuck: None, round: None }
    }

    /// What the connection does.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The address of this machine that the client connected to; none if the system does not say.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.socket.tcp().local_addr().ok().map(|address| address.ip())
    }

    /// Waits until the client has sent something. Errors: it has sent nothing in time, or the connection has to give
    /// way.
    pub async fn begun(mut self) -> io::Result<Self> {
        poll_fn(|context| {
            self.check(context)?;
            self.check_silence(context)?;
            self.socket.poll_begun(context)
        })
        .await?;
        Ok(self)
    }

    /// Does the TLS handshake, if the port has TLS. Until then the connection counts as one that has sent nothing.
    /// Errors: the handshake failed or took too long, or the connection has to give way.
    pub async fn secured(self, tls: Option<&PortTls>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(self) };
        // Allocated apart, so that its memory is free once it has ended.
        let handshake = Box::pin(timeout(HANDSHAKE_TIME, self.shake_hands(tls)));
        handshake.await.unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake did not end in time"))
        })
    }

    async fn shake_hands(self, tls: &PortTls) -> io::Result<Self> {
        // A client that sends nothing takes no memory for TLS.
        let begun = self.begun().await?;
        let socket = match begun.socket {
            Socket::Plain(socket) => socket,
            Socket::Tls(_) => return Ok(begun),
        };
        let Some(mut closed) = begun.closed else { return Err(gave_way()) };
        let socket = tokio::select! {
            socket = Socket::handshake(socket, tls.config()) => socket?,
            _ = &mut closed => return Err(gave_way()),
        };
        Ok(Self { socket, closed: Some(closed), ..begun })
    }

    /// Fails if the connection has to give way.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(closed) = &mut self.closed {
            if Pin::new(closed).poll(context).is_pending() {
                return Ok(());
            }
            self.closed = None;
        }
        Err(gave_way())
    }

    /// Fails if there was no request in time.
    fn check_silence(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.connection.has_asked() {
            self.silence = None;
        }
        let is_over = self.silence.as_mut().is_some_and(|silence| silence.as_mut().poll(context).is_ready());
        if is_over {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time"));
        }
        Ok(())
    }

    /// Fails if the client did not take a part of an answer in time. With HTTP/2 it can refuse to take answers, and
    /// still take everything else that is written to the socket.
    fn check_answers(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.round.is_some() || self.connection.is_busy() {
            let round = self.round.get_or_insert_with(|| Box::pin(sleep(ROUND_TIME)));
            if round.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.round = None;
            if !self.connection.next_round() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answers"));
            }
        }
        Ok(())
    }

    /// Fails if the client has taken nothing for too long.
    fn written<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(WRITE_TIME)));
        stuck.as_mut().poll(context).map(|()| {
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take what is written to it"))
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(context)?;
        this.check_silence(context)?;
        this.check_answers(context)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.connection.goes_on();
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        this.check_answers(context)?;
        let written = Pin::new(&mut this.socket).poll_write(context, bytes);
        this.written(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check(context)?;
        this.check_answers(context)?;
        let written = Pin::new(&mut this.socket).poll_write_vectored(context, slices);
        this.written(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // With TLS there may be bytes that were written, but not sent.
        let flushed = Pin::new(&mut this.socket).poll_flush(context);
        this.written(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.socket).poll_shutdown(context);
        this.written(closed, context)
    }
}

fn gave_way() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the connection gave way to another one")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::connections::Connections;

    #[tokio::test]
    async fn of_two_connections_with_requests_that_arrive_the_one_that_is_quiet_gives_way() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("binds");
        let address = listener.local_addr().expect("an address");
        let connections = Connections::new(2);
        // However long this test takes.
        tokio::spawn(connections.clone().wake_slow());
        let accept = async || {
            let client = TcpStream::connect(address).await.expect("connects");
            (client, connections.accept(&listener).await)
        };
        let (mut client, mut sending) = accept().await;
        let (_client, mut quiet) = accept().await;
        // The one that sends has begun first.
        let _requests = [sending.connection().begin(), quiet.connection().begin()];
        client.write_all(b"{").await.expect("sends");
        let read = timeout(Duration::from_secs(30), sending.read_u8()).await;
        assert_eq!(read.expect("arrives").expect("is read"), b'{');
        let _new = accept().await;
        let closed = quiet.read_u8().now_or_never().expect("is closed");
        assert_eq!(closed.expect_err("is closed").kind(), io::ErrorKind::ConnectionAborted);
        assert!(sending.read_u8().now_or_never().is_none());
    }
}
