//! Clients that send one byte a second, and come back whenever they are sent away.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::connection::Target;

/// Between two bytes of a connection, and before it is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a body that is announced and will never come.
const ANNOUNCED: u64 = 1 << 20;
/// What a body begins with: a JPEG whose first segment goes on for long, so that it could be a photo until the end.
const BEGINNING: &[u8] = &[0xff, 0xd8, 0xff, 0xfe, 0xff, 0xff];
/// How long all connections may take to be opened the first time.
const GATHERING_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether they are.
const LOOK: Duration = Duration::from_millis(10);

/// A crowd of slow clients. It goes with this value.
pub(super) struct Crowd {
    clients: JoinSet<()>,
    standing: Arc<Mutex<Standing>>,
}

/// How the crowd stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// Connections that are open.
    open: u64,
    /// Connections that were opened, again and again.
    opened: u64,
    /// Connections that the server ended.
    ended: u64,
    /// Connections that could not be opened.
    refused: u64,
    /// Answers, by status.
    answers: BTreeMap<String, u64>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open, opened, ended, refused, answers } = self;
        write!(
            f,
            "{open} open at the end, {opened} opened in all, {ended} ended by the server, {refused} not taken"
        )?;
        for (status, count) in answers {
            write!(f, ", {count} × {status}")?;
        }
        Ok(())
    }
}

impl Crowd {
    /// So many clients, from one address if it is given. Returns when each has had a connection, or has tried for long.
    pub(super) async fn gather(target: &Target, source: Option<IpAddr>, clients: u16) -> Self {
        let mut crowd = Self { clients: JoinSet::new(), standing: Arc::default() };
        for number in 0..clients {
            let client = Client {
                authority: target.authority().to_owned(),
                source,
                sends_body: number % 2 == 0,
                standing: Arc::clone(&crowd.standing),
            };
            crowd.clients.spawn(client.run());
        }
        let began = Instant::now();
        while began.elapsed() < GATHERING_TIME_MAX && lock(&crowd.standing).opened < u64::from(clients) {
            sleep(LOOK).await;
        }
        crowd
    }

    /// Sends all away; how they stood.
    pub(super) fn disperse(self) -> Standing {
        lock(&self.standing).clone()
    }
}

fn lock(standing: &Mutex<Standing>) -> std::sync::MutexGuard<'_, Standing> {
    standing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of them.
struct Client {
    authority: String,
    source: Option<IpAddr>,
    /// Or never comes to the end of its headers.
    sends_body: bool,
    standing: Arc<Mutex<Standing>>,
}

impl Client {
    async fn run(self) {
        loop {
            match self.connect().await {
                Ok(stream) => {
                    {
                        let mut standing = lock(&self.standing);
                        standing.open += 1;
                        standing.opened += 1;
                    }
                    let status = self.dawdle(stream).await;
                    let mut standing = lock(&self.standing);
                    standing.open -= 1;
                    standing.ended += 1;
                    if let Some(status) = status {
                        *standing.answers.entry(status).or_default() += 1;
                    }
                }
                Err(_) => lock(&self.standing).refused += 1,
            }
            sleep(PAUSE).await;
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let address = lookup_host(&self.authority).await?.next();
        let address = address.ok_or_else(|| std::io::Error::other("the server has no address"))?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        socket.connect(address).await
    }

    /// Sends until the server ends the connection; the status of its answer, if it gave one.
    async fn dawdle(&self, mut stream: TcpStream) -> Option<String> {
        let _ = stream.set_nodelay(true);
        let head = if self.sends_body {
            format!("POST /v1/photos HTTP/1.1\r\nHost: slow\r\nContent-Length: {ANNOUNCED}\r\n\r\n")
        } else {
            "POST /v1/photos HTTP/1.1\r\nHost: slow\r\nX-Slow: ".to_owned()
        };
        stream.write_all(head.as_bytes()).await.ok()?;
        let (mut reading, mut writing) = stream.split();
        let mut ticks = interval_at(Instant::now() + PAUSE, PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut sent, mut answer) = (0, Vec::new());
        loop {
            tokio::select! {
                read = reading.read_buf(&mut answer) => {
                    if !matches!(read, Ok(1..)) {
                        return status(&answer);
                    }
                }
                _ = ticks.tick() => {
                    let byte = if self.sends_body { BEGINNING.get(sent).copied().unwrap_or_default() } else { b'a' };
                    if writing.write_all(&[byte]).await.is_err() {
                        return status(&answer);
                    }
                    sent += 1;
                }
            }
        }
    }
}

/// Of `HTTP/1.1 408 …`.
fn status(answer: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(answer.get(..answer.len().min(64))?).ok()?;
    Some(line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_crowd_stands_and_comes_back_when_it_is_sent_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            for number in 0..5 {
                let (mut stream, peer) = listener.accept().await.unwrap();
                assert_eq!(peer.ip().to_string(), "127.0.0.9");
                if number == 0 {
                    let mut head = [0; 20];
                    stream.read_exact(&mut head).await.unwrap();
                    assert!(head.starts_with(b"POST /v1/photos"));
                    stream.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
                } else {
                    kept.push(stream);
                }
            }
            kept
        });
        let crowd = Crowd::gather(&target, Some("127.0.0.9".parse().unwrap()), 4).await;
        let kept = serving.await.unwrap();
        while lock(&crowd.standing).open < 4 {
            sleep(LOOK).await;
        }
        let standing = crowd.disperse();
        assert_eq!((standing.opened, standing.ended, standing.refused), (5, 1, 0));
        assert_eq!(standing.answers.get("408"), Some(&1));
        assert_eq!(
            standing.to_string(),
            "4 open at the end, 5 opened in all, 1 ended by the server, 0 not taken, 1 × 408"
        );
        drop(kept);
    }
}
