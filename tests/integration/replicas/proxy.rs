//! A TCP proxy that can simulate network failures: it can stop forwarding, with or without closing connections.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_postgres::config::Host;

use crate::support::client::PATIENCE;

/// Forwards connections to one address until the runtime of the test ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: watch::Sender<Way>,
    /// Notified of each connection.
    reached: Arc<Notify>,
}

#[derive(Clone, Copy, PartialEq)]
struct Way {
    is_silent: bool,
    /// The number of silences. A connection that was open at a silence stays silent.
    silences: usize,
    /// The number of cuts. A connection that was open at a cut is closed.
    cuts: usize,
}

impl Proxy {
    /// Starts a proxy without a server that is silent from the beginning.
    pub(crate) async fn silent() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        let proxy = Self::to(nowhere).await;
        proxy.silence();
        proxy
    }

    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("has an address");
        let (way, _) = watch::channel(Way { is_silent: false, silences: 0, cuts: 0 });
        let (ways, reached) = (way.clone(), Arc::new(Notify::new()));
        let told = Arc::clone(&reached);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let began = *ways.borrow();
                tokio::spawn(forward(client, server, began, ways.subscribe()));
                told.notify_one();
            }
        });
        Self { address, way, reached }
    }

    /// Starts a proxy in front of the server of a URL. Returns the URL that leads through the proxy.
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

    /// Waits until a client connects. If the proxy is silent then, the connection stays silent.
    pub(crate) async fn is_reached(&self) {
        tokio::time::timeout(PATIENCE, self.reached.notified()).await.expect("a client connects");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops forwarding. Open connections stay open and new connections are accepted, but no data passes.
    pub(crate) fn silence(&self) {
        self.way.send_modify(|way| *way = Way { is_silent: true, silences: way.silences + 1, ..*way });
    }

    /// Like [`silence`](Self::silence), but closes open connections.
    pub(crate) fn cut_off(&self) {
        self.way.send_modify(|way| *way = Way { is_silent: true, cuts: way.cuts + 1, ..*way });
    }

    /// Forwards new connections again. Connections from before the end of the silence stay silent.
    pub(crate) fn speak(&self) {
        self.way.send_modify(|way| way.is_silent = false);
    }
}

/// Forwards a connection. `began` is the state of the proxy when it was opened.
async fn forward(mut client: TcpStream, server: SocketAddr, began: Way, mut ways: watch::Receiver<Way>) {
    if !began.is_silent {
        let Ok(mut server) = TcpStream::connect(server).await else { return };
        tokio::select! {
            _ = ways.wait_for(|way| (way.silences, way.cuts) != (began.silences, began.cuts)) => {}
            _ = copy_bidirectional(&mut client, &mut server) => return,
        }
        if ways.borrow().cuts > began.cuts {
            return;
        }
        // Both connections are kept open, so that neither side notices.
        std::future::pending::<()>().await;
        drop(server);
    }
    std::future::pending::<()>().await;
    drop(client);
}
