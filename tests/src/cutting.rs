//! A bad network on loopback: a proxy in front of the daemon that delays what it carries and cuts connections off, from a
//! seed, in the middle of requests and of answers.
//!
//! Clients speak to one address all the time. What is behind it may be killed and started again elsewhere
//! ([`Cutting::point_at`]), or be several daemons that take connections in turn.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// What is carried at once. Small, so that delays spread over a body.
const PIECE_BYTES: usize = 64 << 10;

/// How bad the network is.
#[derive(Debug, Clone)]
pub struct Weather {
    pub seed: u64,
    /// The share of connections that are cut, 0 to 1.
    pub cut_share: f64,
    /// A connection that is cut while its client sends has carried so many bytes by then, heads included.
    pub sent: Range<u64>,
    /// One that is cut while it is answered has carried so many bytes of answers.
    pub answered: Range<u64>,
    /// Longest that a piece is held back.
    pub delay_max: Duration,
}

impl Weather {
    /// Nothing is cut or held back.
    pub fn fair() -> Self {
        Self { seed: 0, cut_share: 0.0, sent: 0..1, answered: 0..1, delay_max: Duration::ZERO }
    }

    /// What becomes of the connection of this number; the same for the same seed.
    pub fn fate(&self, number: u64) -> Option<Fate> {
        let mut random = self.random(number);
        if !random.random_bool(self.cut_share) {
            return None;
        }
        // Answers are short, and what is lost with one is worse: the client does not know what was done.
        let (side, range) = if random.random_bool(0.3) {
            (Side::Answers, self.answered.clone())
        } else {
            (Side::Requests, self.sent.clone())
        };
        let manner = match random.random_range(0..3) {
            0 => Manner::Close,
            1 => Manner::Reset,
            _ => Manner::Vanish,
        };
        Some(Fate { side, after: random.random_range(range), manner })
    }

    fn random(&self, number: u64) -> StdRng {
        // Multiplied, so that neighbouring seeds do not share their connections' fates.
        StdRng::seed_from_u64(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number)
    }
}

/// Where and how a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    pub side: Side,
    /// So many bytes of that side pass, and the next does not.
    pub after: u64,
    pub manner: Manner,
}

/// What a connection carries, one way and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Requests,
    Answers,
}

/// How a connection ends that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// In order, for both ends.
    Close,
    /// Reset, for both ends.
    Reset,
    /// The client's end is reset, and the server hears nothing of it: as when a phone leaves its network.
    Vanish,
}

/// The proxy. Gone with all its connections when dropped.
pub struct Cutting {
    address: String,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

/// What all connections share.
struct Line {
    weather: Weather,
    targets: Mutex<Vec<String>>,
    /// Bytes that clients have sent and that were passed on.
    carried: watch::Sender<u64>,
    cuts: AtomicU64,
    cut_all: Notify,
    /// The servers' ends of vanished connections, silent until the proxy is gone.
    vanished: Mutex<Vec<TcpStream>>,
}

/// Why nothing is carried any more.
enum Ended {
    /// As its fate was.
    Cut,
    /// An end is gone.
    Broken,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl Cutting {
    /// In front of a daemon's URL.
    pub async fn start(url: &str, weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let line = Arc::new(Line {
            weather,
            targets: Mutex::new(vec![address_of(url)]),
            carried: watch::Sender::new(0),
            cuts: AtomicU64::new(0),
            cut_all: Notify::new(),
            vanished: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, line.clone()));
        Self { address, line, accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections go to this daemon from now on. Those that are there stay with the one that they have.
    pub fn point_at(&self, url: &str) {
        self.point_at_each(&[url]);
    }

    /// Connections go to these daemons from now on, to each in turn.
    pub fn point_at_each(&self, urls: &[&str]) {
        *self.line.targets.lock().unwrap() = urls.iter().map(|url| address_of(url)).collect();
    }

    /// Resets every connection that there is.
    pub fn cut_all(&self) {
        self.line.cut_all.notify_waiters();
    }

    /// How many connections were cut as their fate was.
    pub fn cuts(&self) -> u64 {
        self.line.cuts.load(Ordering::Relaxed)
    }

    /// Bytes that clients have sent and that were passed on, heads and repeated ones included.
    pub fn carried(&self) -> u64 {
        *self.line.carried.borrow()
    }

    /// Waits until so many bytes have been passed on.
    pub async fn carried_at_least(&self, bytes: u64) {
        self.line.carried.subscribe().wait_for(|carried| *carried >= bytes).await.unwrap();
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        self.accepting.abort();
        self.line.cut_all.notify_waiters();
    }
}

fn address_of(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

async fn accept(listener: TcpListener, line: Arc<Line>) {
    for number in 0.. {
        let Ok((client, _)) = listener.accept().await else { return };
        let line = line.clone();
        tokio::spawn(async move { line.serve(client, number).await });
    }
}

impl Line {
    async fn serve(&self, mut client: TcpStream, number: u64) {
        let target = {
            let targets = self.targets.lock().unwrap();
            targets[number as usize % targets.len()].clone()
        };
        let Ok(mut server) = TcpStream::connect(target).await else {
            let _ = client.set_zero_linger();
            return;
        };
        for stream in [&client, &server] {
            // What is held back is held back by the weather alone.
            let _ = stream.set_nodelay(true);
        }
        let fate = self.weather.fate(number);
        let ended = tokio::select! {
            ended = self.carry(&mut client, &mut server, fate, number) => ended,
            () = self.cut_all.notified() => Err(Ended::Broken),
        };
        match (ended, fate) {
            (Ok(()), _) => {}
            (Err(Ended::Cut), Some(fate)) => {
                self.cuts.fetch_add(1, Ordering::Relaxed);
                self.cut(&client, server, fate.manner);
            }
            (Err(_), _) => self.cut(&client, server, Manner::Reset),
        }
    }

    /// Carries both ways until both ends have closed, or the connection's fate is met.
    async fn carry(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        fate: Option<Fate>,
        number: u64,
    ) -> Result<(), Ended> {
        let limit = |side| fate.filter(|fate| fate.side == side).map(|fate| fate.after);
        let mut random = self.weather.random(!number);
        let randoms = (StdRng::from_rng(&mut random), random);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            self.pass(from_client, to_server, Side::Requests, limit(Side::Requests), randoms.0),
            self.pass(from_server, to_client, Side::Answers, limit(Side::Answers), randoms.1),
        )?;
        Ok(())
    }

    /// Carries one way until its sender closes, or until `limit` bytes have passed.
    async fn pass(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        side: Side,
        limit: Option<u64>,
        mut random: StdRng,
    ) -> Result<(), Ended> {
        let mut piece = vec![0; PIECE_BYTES];
        let mut left = limit.unwrap_or(u64::MAX);
        loop {
            if left == 0 {
                return Err(Ended::Cut);
            }
            let most = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = from.read(&mut piece[..most]).await?;
            if read == 0 {
                to.shutdown().await?;
                return Ok(());
            }
            let longest = self.weather.delay_max.as_micros() as u64;
            if longest > 0 {
                // Not a wait for a condition: the delay is what this network does.
                tokio::time::sleep(Duration::from_micros(random.random_range(0..=longest))).await;
            }
            to.write_all(&piece[..read]).await?;
            left -= read as u64;
            if side == Side::Requests {
                self.carried.send_modify(|carried| *carried += read as u64);
            }
        }
    }

    fn cut(&self, client: &TcpStream, server: TcpStream, manner: Manner) {
        match manner {
            Manner::Close => {}
            Manner::Reset => {
                let _ = (client.set_zero_linger(), server.set_zero_linger());
            }
            Manner::Vanish => {
                let _ = client.set_zero_linger();
                self.vanished.lock().unwrap().push(server);
            }
        }
    }
}

#[cfg(test)]
#[path = "cutting/tests.rs"]
mod tests;
