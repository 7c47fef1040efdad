//! A way to a server that can go silent: nothing is forwarded any more, and nobody is told; or that
//! loses what the server answers.

use std::net::SocketAddr;

use tokio::io::{copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::config::Host;

/// Forwards connections to one address. It ends with the runtime of the test.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

#[derive(Clone, Copy, PartialEq)]
struct Way {
    is_silent: bool,
    /// Counts the silences. A connection that met one stays silent.
    silences: usize,
    /// Counts the cuts. A connection that met one is closed.
    cuts: usize,
    /// Counts from when on answers are lost. A connection that met one loses them until it is cut.
    losses: usize,
}

impl Proxy {
    /// In front of nothing, and silent from the beginning.
    pub(crate) async fn silent() -> Self {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let proxy = Self::to(nobody).await;
        proxy.silence();
        proxy
    }

    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("has an address");
        let (way, _) = watch::channel(Way { is_silent: false, silences: 0, cuts: 0, losses: 0 });
        let ways = way.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server, ways.subscribe()));
            }
        });
        Self { address, way }
    }

    /// In front of the server of a URL. Answers the URL that leads through the proxy.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let config: tokio_postgres::Config = url.parse().expect("is a URL");
        let (Some(Host::Tcp(name)), Some(port)) = (config.get_hosts().first(), config.get_ports().first())
        else {
            panic!("tests need a server that is reached by TCP");
        };
        let mut found = tokio::net::lookup_host((name.as_str(), *port)).await.expect("is found");
        let proxy = Self::to(found.next().expect("has an address")).await;
        let (start, rest) = url.split_once("://").expect("is a URL");
        let (place, path) = rest.split_once('/').expect("names a database");
        let user = place.rsplit_once('@').map_or(String::new(), |(user, _)| format!("{user}@"));
        let url = format!("{start}://{user}{}/{path}", proxy.address);
        (proxy, url)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing gets through: open connections stay open, new ones are taken, and that
    /// is all that happens to them.
    pub(crate) fn silence(&self) {
        self.way.send_modify(|way| *way = Way { is_silent: true, silences: way.silences + 1, ..*way });
    }

    /// From now on the server gets all that is sent on open connections, and what it answers is lost.
    pub(crate) fn lose_answers(&self) {
        self.way.send_modify(|way| way.losses += 1);
    }

    /// The same as silence, but that open connections are closed.
    pub(crate) fn cut_off(&self) {
        self.way.send_modify(|way| *way = Way { is_silent: true, cuts: way.cuts + 1, ..*way });
    }

    /// Forwards new connections again. Those that met the silence stay as they are.
    pub(crate) fn speak(&self) {
        self.way.send_modify(|way| way.is_silent = false);
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, mut ways: watch::Receiver<Way>) {
    let began = *ways.borrow_and_update();
    if !began.is_silent {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            // First: what is to be lost does not slip through.
            biased;
            _ = ways.wait_for(|way| (way.silences, way.cuts, way.losses) != (began.silences, began.cuts, began.losses)) => {}
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
        if ways.borrow().losses > began.losses {
            // What the server sends stays unread.
            tokio::select! {
                _ = copy(&mut client, &mut server) => {}
                _ = ways.wait_for(|way| way.cuts > began.cuts) => {}
            }
            return;
        }
        if ways.borrow().cuts > began.cuts {
            return;
        }
        // Neither side is told, as long as both are held.
        std::future::pending::<()>().await;
        drop(server);
    }
    std::future::pending::<()>().await;
    drop(client);
}
