//! A way to the server that can be cut: a test's network.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Passes connections on to a server for as long as it is not cut. Ends when it is dropped.
pub struct Relay {
    client: Client,
    open: Arc<watch::Sender<bool>>,
    _accepting: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn start<F, Fut>(server: SocketAddr, client_for: F) -> Result<Relay>
    where
        F: FnOnce(SocketAddr) -> Fut,
        Fut: Future<Output = Result<Client>>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a relay")?;
        let client = client_for(listener.local_addr()?).await?;
        let open = Arc::new(watch::Sender::new(true));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, Arc::clone(&open)));
        Ok(Relay { client, open, _accepting: accepting })
    }

    /// A client whose connections go through here.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, open: Arc<watch::Sender<bool>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut inbound, _)) = listener.accept().await {
        let mut state = open.subscribe();
        connections.spawn(async move {
            // Dropping both sockets is what a client sees as a broken connection.
            let passing = async {
                if let Ok(mut outbound) = TcpStream::connect(server).await {
                    let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
                }
            };
            tokio::select! {
                () = passing => {}
                _ = state.wait_for(|open| !open) => {}
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
