//! A wire between Envoy and the approval service that a test makes slow, silent or broken. Serves the faults of step 8.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The state of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Bytes pass as they come.
    Whole,
    /// Every piece that the far side writes arrives so much later.
    Slow(Duration),
    /// Nothing passes, and nobody is told: bytes wait until the wire is whole again.
    Silent,
    /// Connections end, and new ones end at once.
    Broken,
}

/// A relay on a loopback port. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    link: watch::Sender<Link>,
    accept: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay to a loopback port, on one that the system chooses.
    pub async fn start(to: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (link, state) = watch::channel(Link::Whole);
        let accept = tokio::spawn(accept(listener, to, state));
        Ok(Self { port, link, accept })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on the wire is so, for open connections too.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, to: u16, link: watch::Receiver<Link>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((near, _)) = listener.accept().await else { return };
        if *link.borrow() != Link::Broken {
            connections.spawn(join(near, to, link.clone()));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Passes bytes both ways until one side ends or the wire breaks; then both ends are closed.
async fn join(near: TcpStream, to: u16, link: watch::Receiver<Link>) {
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pass(near_in, far_out, link.clone(), false) => {}
        () = pass(far_in, near_out, link, true) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut link: watch::Receiver<Link>, is_answer: bool) {
    let mut piece = [0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            broken = link.wait_for(|link| *link == Link::Broken) => match broken { Ok(_) | Err(_) => return },
        };
        let Ok(count @ 1..) = read else { return };
        let state = match link.wait_for(|link| *link != Link::Silent).await {
            Ok(state) => *state,
            Err(_) => return,
        };
        match state {
            Link::Broken => return,
            Link::Slow(pause) if is_answer => tokio::time::sleep(pause).await,
            Link::Whole | Link::Slow(_) | Link::Silent => {}
        }
        if to.write_all(piece.get(..count).unwrap_or_default()).await.is_err() {
            return;
        }
    }
}
