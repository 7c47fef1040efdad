//! A hookbox that is killed in the middle of an answer, as its clients see it: a proxy before a hookbox that lives on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::api::harness::eventually;
use crate::support::received::{Received, read};

/// The proxy. It serves until the runtime of the test ends.
pub(super) struct Dying {
    address: SocketAddr,
    life: Arc<Life>,
}

struct Life {
    hookbox: SocketAddr,
    /// The text after which an answer breaks off; empty if nothing of the answer comes.
    last_words: &'static str,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
enum State {
    /// So many requests are answered to the end. The others are answered until the last words.
    Alive(usize),
    /// No request is answered.
    Killed,
    /// Every request is answered to the end.
    Restarted,
}

impl Dying {
    /// Starts before a hookbox. After `whole` requests, the next answer that has the last words is its last one.
    pub(super) async fn before(hookbox: SocketAddr, whole: usize, last_words: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let life = Arc::new(Life { hookbox, last_words, state: Mutex::new(State::Alive(whole)) });
        let serving = Arc::clone(&life);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let life = Arc::clone(&serving);
                tokio::spawn(async move { life.serve(client).await });
            }
        });
        Self { address, life }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until it is killed.
    pub(super) async fn killed(&self) {
        let is_killed = || matches!(*self.life.state.lock().unwrap(), State::Killed);
        eventually("the last words", || async { is_killed().then_some(()) }).await;
    }

    /// Answers every request from now on.
    pub(super) fn restart(&self) {
        *self.life.state.lock().unwrap() = State::Restarted;
    }
}

impl Life {
    /// Answers one request. None if the connection breaks off.
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        let request = read(&mut client).await?;
        let is_whole = self.next_is_whole()?;
        let mut server = TcpStream::connect(self.hookbox).await.ok()?;
        server.write_all(&bytes_of(&request)).await.ok()?;
        if is_whole {
            copy(&mut server, &mut client).await.ok()?;
            return Some(());
        }
        let (mut answer, mut passed) = (Vec::<u8>::new(), 0);
        while server.read_buf(&mut answer).await.ok()? > 0 {
            let found = memmem::find(&answer, self.last_words.as_bytes());
            let end = found.map_or(answer.len(), |at| at + self.last_words.len());
            client.write_all(&answer[passed..end]).await.ok()?;
            passed = end;
            if found.is_some() {
                *self.state.lock().unwrap() = State::Killed;
                return None;
            }
        }
        Some(())
    }

    /// Whether the next request is answered to the end; none if it is not answered.
    fn next_is_whole(&self) -> Option<bool> {
        let mut state = self.state.lock().unwrap();
        match *state {
            State::Alive(0) => Some(false),
            State::Alive(whole) => {
                *state = State::Alive(whole - 1);
                Some(true)
            }
            State::Killed => None,
            State::Restarted => Some(true),
        }
    }
}

/// The request as it is sent on. The end of the connection is that of the answer.
fn bytes_of(request: &Received) -> Vec<u8> {
    let headers = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers = headers.collect::<String>();
    let head = format!("{}\r\n{headers}connection: close\r\n\r\n", request.line);
    [head.as_bytes(), request.body.as_slice()].concat()
}
