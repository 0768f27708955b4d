//! A network connection to the server that a test can cut, or make unreliable.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use kube::Client;
use tokio::{
    io::{self, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

/// Forwards connections to a server, subject to the weather. A connection is closed when the weather changes, unless that
/// [freezes](Relay::freeze) it. The relay stops on drop.
pub struct Relay {
    address: SocketAddr,
    client: Client,
    weather: Arc<watch::Sender<Weather>>,
    broken: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fair,
    /// All connections are dropped.
    Cut,
    /// All connections stay open, and nothing passes.
    Frozen,
    /// Each connection has a random fault, drawn with this seed.
    Storm(u64),
}

/// A connection's fault.
#[derive(Debug)]
struct Fault {
    /// The connection breaks after this many bytes from the server, mostly in the middle of a line.
    after: usize,
    /// Before it breaks, it is silent for this long.
    silence: Duration,
    /// Each chunk from the server is delayed by this much.
    delay: Duration,
}

impl Relay {
    pub(crate) async fn start<F, Fut>(server: SocketAddr, client_for: F) -> Result<Relay>
    where
        F: FnOnce(SocketAddr) -> Fut,
        Fut: Future<Output = Result<Client>>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listen for a relay")?;
        let address = listener.local_addr()?;
        let client = client_for(address).await?;
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let broken = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, Arc::clone(&weather), Arc::clone(&broken)));
        Ok(Relay { address, client, weather, broken, _accepting: accepting })
    }

    /// Returns a client whose connections go through the relay.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Returns the address on which it accepts connections.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes nothing any more, although all connections stay open and new ones are accepted, as if packets were lost. What is sent
    /// meanwhile never arrives.
    pub fn freeze(&self) {
        self.weather.send_replace(Weather::Frozen);
    }

    /// Breaks all connections and refuses new ones.
    pub fn cut(&self) {
        self.weather.send_replace(Weather::Cut);
    }

    /// Breaks all connections, and each new one after a while: it is closed at once or after some bytes, and may be slow,
    /// or silent before it breaks. The same seed gives the same faults, in the order in which connections are accepted.
    pub fn storm(&self, seed: u64) {
        self.weather.send_replace(Weather::Storm(seed));
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.weather.send_replace(Weather::Fair);
    }

    /// Returns how many connections storms have broken.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }
}

impl Fault {
    fn draw(random: &mut fastrand::Rng) -> Fault {
        let after = match random.u8(0..10) {
            0 => 0,
            // During the handshake, or soon after it.
            1 | 2 => random.usize(0..6_000),
            // During a list, or among the first events.
            3..6 => random.usize(6_000..60_000),
            // Later.
            _ => random.usize(60_000..300_000),
        };
        let silence = if random.bool() { Duration::ZERO } else { Duration::from_millis(random.u64(0..400)) };
        let delay =
            if random.u8(0..4) > 0 { Duration::ZERO } else { Duration::from_millis(random.u64(0..15)) };
        Fault { after, silence, delay }
    }

    /// Forwards data from the server until the fault occurs.
    async fn deliver(
        &self,
        server: &mut (impl io::AsyncRead + Unpin),
        client: &mut (impl io::AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut left = self.after;
        let mut buffer = [0; 4096];
        while left > 0 {
            let read = server.read(&mut buffer).await?.min(left);
            if read == 0 {
                return Ok(());
            }
            sleep(self.delay).await;
            client.write_all(&buffer[..read]).await?;
            left -= read;
        }
        sleep(self.silence).await;
        Ok(())
    }
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    weather: Arc<watch::Sender<Weather>>,
    broken: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    let mut storm = None;
    while let Ok((inbound, _)) = listener.accept().await {
        let mut state = weather.subscribe();
        let began = *state.borrow();
        let fault = match began {
            Weather::Fair | Weather::Cut | Weather::Frozen => None,
            Weather::Storm(seed) => {
                let (of, random) = storm.get_or_insert_with(|| (seed, fastrand::Rng::with_seed(seed)));
                if *of != seed {
                    (*of, *random) = (seed, fastrand::Rng::with_seed(seed));
                }
                Some(Fault::draw(random))
            }
        };
        let broken = Arc::clone(&broken);
        connections.spawn(async move {
            let mut passing = pin!(pass(inbound, server, fault.as_ref()));
            if matches!(began, Weather::Fair | Weather::Storm(_)) {
                tokio::select! {
                    () = &mut passing => {
                        broken.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
                        return;
                    }
                    _ = state.wait_for(|weather| *weather != began) => {}
                }
            }
            // `passing` is polled no more. The client sees a broken connection when it is dropped, and with it both sockets.
            let _ = state.wait_for(|weather| *weather != Weather::Frozen).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards a connection until it ends. It is not an error if the other side is gone.
async fn pass(mut inbound: TcpStream, server: SocketAddr, fault: Option<&Fault>) {
    let Ok(mut outbound) = TcpStream::connect(server).await else { return };
    let Some(fault) = fault else {
        let _ = copy_bidirectional(&mut inbound, &mut outbound).await;
        return;
    };
    let (mut from_client, mut to_client) = inbound.split();
    let (mut from_server, mut to_server) = outbound.split();
    tokio::select! {
        _ = io::copy(&mut from_client, &mut to_server) => {}
        _ = fault.deliver(&mut from_server, &mut to_client) => {}
    }
}
