//! A port whose other side can be changed: the suite starts its servers on ports of its own choosing, and Envoy's upstream
//! is fixed. Step 10.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Two ports: what comes in at `port` goes to the port that was last written, as a line, to `control`.
pub(crate) struct Switch {
    pub(crate) port: u16,
    pub(crate) control: u16,
    tasks: [JoinHandle<()>; 2],
}

impl Switch {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let target = Arc::new(AtomicU16::new(0));
        let (incoming, orders) =
            (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let (port, control) = (incoming.local_addr()?.port(), orders.local_addr()?.port());
        let tasks = [tokio::spawn(forward(incoming, Arc::clone(&target))), tokio::spawn(obey(orders, target))];
        Ok(Self { port, control, tasks })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn forward(incoming: TcpListener, target: Arc<AtomicU16>) {
    while let Ok((mut near, _)) = incoming.accept().await {
        let port = target.load(Ordering::SeqCst);
        tokio::spawn(async move {
            // The suite's servers listen on `localhost`, which may be either family.
            if let Ok(mut far) = TcpStream::connect(("localhost", port)).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

async fn obey(orders: TcpListener, target: Arc<AtomicU16>) {
    while let Ok((stream, _)) = orders.accept().await {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        if stream.read_line(&mut line).await.is_ok()
            && let Ok(port) = line.trim().parse()
        {
            target.store(port, Ordering::SeqCst);
            let _ = stream.write_all(b"done\n").await;
        }
    }
}
